//! Streams of frames.

use futures::FutureExt;

use super::*;

const MAX: usize = 1 << 20;

async fn sessions(max_frame: usize) -> (Door, Door, Connection) {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    let router = Router::new().route(
        ECHO,
        Access::Node,
        move |connection: Connection| async move {
            while let Ok(mut stream) = connection.accept_framed(max_frame).await {
                while let Ok(Some(frame)) = stream.recv().await {
                    if stream.send(frame).await.is_err() {
                        break;
                    }
                }
                let (sender, _receiver) = stream.split();
                // The other side may be gone already.
                let _ = sender.finish().await;
            }
        },
    );
    server.serve(router).unwrap();
    let client = cluster.door("w1", Role::Worker);
    let connection = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    (server, client, connection)
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_whole_and_in_order() {
    let (_server, _client, connection) = sessions(MAX).await;
    let mut stream = connection.open_framed(MAX).await.unwrap();
    for size in [0, 1, 1_000, 65_535, 65_536, MAX] {
        let frame = Bytes::from(vec![size as u8; size]);
        stream.send(frame.clone()).await.unwrap();
        let echoed = within("the echo", stream.recv()).await.unwrap();
        assert_eq!(echoed, Some(frame));
    }
    let (sender, mut receiver) = stream.split();
    sender.finish().await.unwrap();
    assert_eq!(within("the end", receiver.recv()).await, Ok(None));
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_refused_by_both_sides() {
    let (_server, _client, connection) = sessions(100).await;
    let mut careful = connection.open_framed(100).await.unwrap();
    let too_large = FrameError::TooLarge {
        got: 101,
        allowed: 100,
    };
    assert_eq!(
        careful.send(Bytes::from(vec![0; 101])).await,
        Err(too_large)
    );
    careful.send(Bytes::from_static(b"fine")).await.unwrap();
    assert_eq!(careful.recv().await.unwrap().unwrap(), "fine");
    drop(careful);

    let mut careless = connection.open_framed(1000).await.unwrap();
    careless.send(Bytes::from(vec![0; 101])).await.unwrap();
    // The receiver ends the stream instead of reading on.
    let end = within("the end", careless.recv()).await;
    assert_eq!(end, Ok(None));
    assert!(connection.lost().is_none());
}

#[tokio::test]
async fn an_announced_gigabyte_is_refused_before_it_is_sent() {
    let (_server, _client, connection) = sessions(100).await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&(1_u32 << 30).to_be_bytes()).await.unwrap();
    let stopped = within("the refusal", send.stopped()).await.unwrap();
    assert_eq!(stopped.map(quinn::VarInt::into_inner), Some(1));
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_torn() {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    let router = Router::new().route(ECHO, Access::Node, |connection: Connection| async move {
        let (mut send, _receive) = connection.accept_bi().await.unwrap();
        send.write_all(b"\0\0\0\x05abc").await.unwrap();
        send.finish().unwrap();
        connection.closed().await;
    });
    server.serve(router).unwrap();
    let client = cluster.door("w1", Role::Worker);
    let connection = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    let mut stream = connection.open_framed(MAX).await.unwrap();
    stream.send(Bytes::from_static(b"go")).await.unwrap();
    let torn = within("the end", stream.recv()).await;
    assert_eq!(torn, Err(FrameError::Torn));
}

#[tokio::test]
async fn dropping_a_send_or_a_receive_loses_and_tears_nothing() {
    let (_server, _client, connection) = sessions(MAX).await;
    let (mut sender, mut receiver) = connection.open_framed(MAX).await.unwrap().split();
    let sending = async move {
        for number in 0..200_u32 {
            let frame = Bytes::from(vec![number as u8; 50_000]);
            // Polled once: as much goes out as there is room for.
            if sender.send(frame).now_or_never().is_none() {
                tokio::task::yield_now().await;
            }
        }
        sender.finish().await.unwrap();
    };
    let receiving = async move {
        let mut numbers = Vec::new();
        loop {
            match receiver.recv().now_or_never() {
                None => tokio::task::yield_now().await,
                Some(Ok(Some(frame))) => {
                    assert_eq!(frame.len(), 50_000);
                    assert!(frame.iter().all(|byte| *byte == frame[0]));
                    numbers.push(frame[0]);
                }
                Some(end) => {
                    assert_eq!(end, Ok(None));
                    return numbers;
                }
            }
        }
    };
    let both = async { tokio::join!(sending, receiving) };
    let ((), numbers) = within("all frames", both).await;
    let expected: Vec<u8> = (0..200).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn a_stream_keeps_its_connection_up() {
    let (_server, _client, connection) = sessions(MAX).await;
    let mut stream = connection.open_framed(MAX).await.unwrap();
    drop(connection);
    stream.send(Bytes::from_static(b"still")).await.unwrap();
    assert_eq!(stream.recv().await.unwrap().unwrap(), "still");
}
