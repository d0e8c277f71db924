//! Strangers who send much and finish nothing.

use std::net::SocketAddr;

use futures::FutureExt;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::*;

/// Forwards what it is sent to `target` and drops what `target` answers: to the
/// target, each dial through it looks like a handshake that is never finished.
async fn one_way_relay(target: SocketAddr, tasks: &mut JoinSet<()>) -> SocketAddr {
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    let address = socket.local_addr().unwrap();
    tasks.spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if from != target {
                let _ = socket.send_to(&buffer[..length], target).await;
            }
        }
    });
    address
}

fn flood(attacker: &Door, relay: SocketAddr, digest: [u8; 32], tasks: &mut JoinSet<()>) {
    for _ in 0..64 {
        let attacker = attacker.clone();
        tasks.spawn(async move {
            loop {
                let _ = attacker
                    .connect_pinned(relay, digest, OPEN, Duration::from_secs(2))
                    .await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_handshakes_are_bounded_and_do_not_keep_a_node_out() {
    let cluster = Cluster::new("c1");
    let limits = Limits {
        validate_above: 8,
        ..Limits::default()
    };
    let server = door_with(cluster.identity("m1", Role::Manager), limits);
    server.serve(echo_routes()).unwrap();
    let attacker = Door::bind_anonymous(loopback()).unwrap();
    let mut tasks = JoinSet::new();
    let relay = one_way_relay(address(&server), &mut tasks).await;
    flood(&attacker, relay, cluster.ca.digest(), &mut tasks);
    eventually("the door asks for proof", || server.stats().validated > 50).await;

    let client = cluster.door("w1", Role::Worker);
    for _ in 0..5 {
        assert!(server.stats().pending <= 8 + 1);
        let connection = client
            .connect(address(&server), "m1", ECHO, PATIENCE)
            .await
            .unwrap();
        assert_eq!(ask(&connection, "hello").await.unwrap(), "hello");
    }
    tasks.shutdown().await;
    drop(attacker);
    eventually("the doorway is empty again", || server.stats().pending == 0).await;
}

#[tokio::test]
async fn packets_that_are_no_quic_are_ignored() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let before = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    let noise = UdpSocket::bind(loopback()).await.unwrap();
    for round in 0..2_000_u32 {
        let mut packet: Vec<u8> = (0..1 + round % 1400).map(|_| rand::random()).collect();
        // Some with the long header of version 1, some with a short one.
        if round % 3 == 0 && packet.len() > 4 {
            packet[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
        }
        noise.send_to(&packet, address(&server)).await.unwrap();
    }
    assert_eq!(ask(&before, "still up").await.unwrap(), "still up");
    let after = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    assert_eq!(ask(&after, "and open").await.unwrap(), "and open");
    assert_eq!(server.stats().connections, 2);
}

#[tokio::test]
async fn connections_without_a_certificate_are_bounded_per_address() {
    let cluster = Cluster::new("c1");
    let limits = Limits {
        max_anonymous_per_address: 2,
        ..Limits::default()
    };
    let server = door_with(cluster.identity("m1", Role::Manager), limits);
    server.serve(echo_routes()).unwrap();
    let stranger = Door::bind_anonymous(loopback()).unwrap();
    let connect = || stranger.connect_pinned(address(&server), cluster.ca.digest(), OPEN, PATIENCE);
    let _held = [connect().await.unwrap(), connect().await.unwrap()];
    assert!(matches!(
        connect().await.unwrap_err(),
        DialError::Refused {
            code: RefusalCode::Busy,
            ..
        }
    ));
    let member = cluster.door("w1", Role::Worker);
    assert!(
        member
            .connect(address(&server), "m1", ECHO, PATIENCE)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_stranger_cannot_hold_more_streams_than_allowed() {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    let (router, _) = counting(Router::new(), OPEN, Access::Anonymous);
    server.serve(router).unwrap();
    let stranger = Door::bind_anonymous(loopback()).unwrap();
    let connection = stranger
        .connect_pinned(address(&server), cluster.ca.digest(), OPEN, PATIENCE)
        .await
        .unwrap();
    let mut held = Vec::new();
    for _ in 0..limits::ANONYMOUS_STREAMS {
        held.push(within("a stream", connection.open_bi()).await.unwrap());
    }
    // All places were granted at once, so one more would be there already.
    assert!(connection.open_bi().now_or_never().is_none());
}
