//! Calls.

use std::sync::atomic::AtomicBool;

use super::*;

async fn pair(router: Router) -> (Door, Door, Connection) {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    server.serve(router).unwrap();
    let client = cluster.door("w1", Role::Worker);
    let connection = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    (server, client, connection)
}

#[tokio::test]
async fn answers_of_all_sizes_arrive_whole() {
    let (_server, _client, connection) = pair(echo_routes()).await;
    for size in [0, 1, 3, 4, 1_000, 65_536, 1 << 20] {
        let request: Bytes = (0..size).map(|n: u32| n as u8).collect();
        let answer = call(&connection, request.clone(), PATIENCE, 1 << 20).await;
        assert_eq!(answer.unwrap(), request);
    }
}

#[tokio::test]
async fn a_silent_peer_costs_the_caller_its_deadline_and_no_more() {
    let silent = Router::new().route(ECHO, Access::Node, |connection| async move {
        serve_calls(connection, 4, 100, |_, _| std::future::pending()).await;
    });
    let (_server, _client, connection) = pair(silent).await;
    let deadline = Duration::from_millis(50);
    let asking = call(&connection, Bytes::from_static(b"?"), deadline, 100);
    let error = within("the deadline", asking).await.unwrap_err();
    assert_eq!(error, CallError::Timeout { within: deadline });
    assert!(!error.was_not_carried_out());
    assert!(connection.lost().is_none());
}

#[tokio::test]
async fn a_peer_that_was_killed_costs_the_caller_its_deadline_and_no_more() {
    let cluster = Cluster::new("c1");
    let server = Killable::start(cluster.identity("m1", Role::Manager), Limits::default());
    let client = cluster.door("w1", Role::Worker);
    let connection = client
        .connect(server.address, "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    server.kill();
    let deadline = Duration::from_millis(50);
    let asking = call(&connection, Bytes::from_static(b"?"), deadline, 100);
    let error = within("the deadline", asking).await.unwrap_err();
    assert_eq!(error, CallError::Timeout { within: deadline });
}

#[tokio::test]
async fn messages_beyond_the_limits_are_refused_without_being_read() {
    let (_server, _client, connection) = pair(echo_routes()).await;
    let request = Bytes::from(vec![1; (1 << 20) + 1]);
    let got = request.len();
    let error = call(&connection, request, PATIENCE, 1 << 21).await;
    assert_eq!(error.unwrap_err(), CallError::RequestTooLarge { got });
    let error = call(&connection, Bytes::from(vec![1; 100]), PATIENCE, 99).await;
    assert_eq!(
        error.unwrap_err(),
        CallError::AnswerTooLarge {
            got: 100,
            allowed: 99
        }
    );
    assert_eq!(ask(&connection, "fine").await.unwrap(), "fine");
}

#[tokio::test]
async fn a_request_that_breaks_off_is_never_taken_for_a_whole_one() {
    let called = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&called);
    let router = Router::new().route(ECHO, Access::Node, move |connection| {
        let seen = Arc::clone(&seen);
        async move {
            let handler = move |_, request: Bytes| {
                seen.fetch_or(request != "whole", Ordering::SeqCst);
                async { request }
            };
            serve_calls(connection, 4, 1000, handler).await;
        }
    });
    let (_server, _client, connection) = pair(router).await;
    for torn in [&b""[..], b"\0", b"\0\0\0\x05", b"\0\0\0\x05whol"] {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(torn).await.unwrap();
        // Ends the stream as if all had been said.
        drop(send);
        assert!(within("refused", receive.read_to_end(100)).await.is_err());
    }
    assert_eq!(ask(&connection, "whole").await.unwrap(), "whole");
    assert!(!called.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_handler_that_panics_costs_one_call() {
    let router = Router::new().route(ECHO, Access::Node, |connection| async move {
        let handler = |_, request: Bytes| async move {
            assert_ne!(request, "boom", "as the test wants it");
            request
        };
        serve_calls(connection, 1, 100, handler).await;
    });
    let (_server, _client, connection) = pair(router).await;
    assert_eq!(ask(&connection, "boom").await, Err(CallError::GivenUp));
    assert_eq!(ask(&connection, "fine").await.unwrap(), "fine");
}

#[tokio::test]
async fn no_more_handlers_run_at_once_than_allowed() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let router = Router::new().route(ECHO, Access::Node, move |connection| {
        let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
        async move {
            let handler = move |_, request| {
                let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
                async move {
                    peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    request
                }
            };
            serve_calls(connection, 3, 100, handler).await;
        }
    });
    let (_server, _client, connection) = pair(router).await;
    let calls = (0..100).map(|_| ask(&connection, "?"));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn handlers_that_never_end_do_not_outlive_their_connection() {
    let alive = Arc::new(());
    let inside = Arc::clone(&alive);
    let router = Router::new().route(ECHO, Access::Node, move |connection| {
        let inside = Arc::clone(&inside);
        async move {
            let handler = move |_, request| {
                let inside = Arc::clone(&inside);
                async move {
                    std::future::pending::<()>().await;
                    drop(inside);
                    request
                }
            };
            serve_calls(connection, 2, 100, handler).await;
        }
    });
    let (server, _client, connection) = pair(router).await;
    let before = Arc::strong_count(&alive);
    let deadline = Duration::from_millis(20);
    let calls = (0..4).map(|_| call(&connection, Bytes::new(), deadline, 100));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_err));
    eventually("both places are taken", || {
        Arc::strong_count(&alive) == before + 2
    })
    .await;
    connection.close("enough");
    eventually("nothing is left", || server.stats().connections == 0).await;
    eventually("no handler is left", || Arc::strong_count(&alive) == 2).await;
}

#[tokio::test]
async fn a_call_on_a_closed_connection_says_that_nothing_was_sent() {
    let (_server, _client, connection) = pair(echo_routes()).await;
    connection.close("done");
    let error = ask(&connection, "?").await.unwrap_err();
    assert_eq!(error, CallError::NotSent(ConnectionLost::Here));
    assert!(error.was_not_carried_out());
}
