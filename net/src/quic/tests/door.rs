//! Opening, closing, and where a door can stand.

use super::*;

#[tokio::test]
async fn a_door_can_call_itself() {
    let cluster = Cluster::new("c1");
    let door = cluster.serving_manager("m1");
    let connection = door
        .connect(address(&door), "m1", CONTROL, PATIENCE)
        .await
        .unwrap();
    assert_eq!(ask(&connection, "me").await.unwrap(), "me");
}

#[tokio::test]
async fn a_door_on_the_wildcard_serves_and_dials() {
    let cluster = Cluster::new("c1");
    let wildcard = "0.0.0.0:0".parse().unwrap();
    let credentials = Credentials::new(cluster.identity("m1", Role::Manager)).unwrap();
    let server = Door::bind(wildcard, credentials).unwrap();
    server.serve(echo_routes()).unwrap();
    let port = address(&server).port();
    let client = cluster.door("w1", Role::Worker);
    client.serve(echo_routes()).unwrap();
    let there = client
        .connect(format!("127.0.0.1:{port}"), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    assert_eq!(ask(&there, "there").await.unwrap(), "there");
    let back = server
        .connect(address(&client), "w1", ECHO, PATIENCE)
        .await
        .unwrap();
    assert_eq!(ask(&back, "back").await.unwrap(), "back");
}

#[tokio::test]
async fn a_name_is_resolved_and_a_bad_one_explained() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let port = address(&server).port();
    let named = client
        .connect(format!("localhost:{port}"), "m1", ECHO, PATIENCE)
        .await;
    assert!(named.is_ok(), "{named:?}");
    for bad in ["no-port", "127.0.0.1:99999", ""] {
        let error = client.connect(bad, "m1", ECHO, PATIENCE).await.unwrap_err();
        assert!(
            matches!(&error, DialError::Unreachable { address, .. } if address == bad),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn nobody_there_is_said_within_the_deadline() {
    let cluster = Cluster::new("c1");
    let client = cluster.door("w1", Role::Worker);
    let nobody = std::net::UdpSocket::bind(loopback()).unwrap();
    let target = nobody.local_addr().unwrap();
    let dialling = client.connect(target, "m1", ECHO, Duration::from_millis(50));
    let error = within("the deadline", dialling).await.unwrap_err();
    assert!(
        matches!(&error, DialError::Unreachable { reason, .. } if reason.contains(&target.port().to_string())),
        "{error:?}"
    );
}

#[tokio::test]
async fn closing_tells_peers_ends_handlers_and_frees_the_port() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let port = address(&server);
    let client = cluster.door("w1", Role::Worker);
    let connection = client.connect(port, "m1", ECHO, PATIENCE).await.unwrap();
    within("the close", server.close(Duration::from_secs(5))).await;
    let lost = within("told of it", connection.closed()).await;
    assert!(
        matches!(&lost, ConnectionLost::ByPeer(refusal) if refusal.code == RefusalCode::ShuttingDown),
        "{lost:?}"
    );
    let error = server
        .connect(address(&client), "w1", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(error, DialError::Closed);
    drop(server);
    eventually("the port is free", || {
        std::net::UdpSocket::bind(port).is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_dropped_when_the_door_closes() {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    let alive = Arc::new(());
    let inside = Arc::clone(&alive);
    let router = Router::new().route(ECHO, Access::Node, move |connection| {
        let inside = Arc::clone(&inside);
        async move {
            std::future::pending::<()>().await;
            drop((inside, connection));
        }
    });
    server.serve(router).unwrap();
    let client = cluster.door("w1", Role::Worker);
    let _connection = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    eventually("the handler runs", || Arc::strong_count(&alive) == 3).await;
    within("the close", server.close(Duration::from_millis(50))).await;
    assert_eq!(Arc::strong_count(&alive), 2);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_door() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let port = address(&server);
    let client = cluster.door("w1", Role::Worker);
    let connection = client.connect(port, "m1", ECHO, PATIENCE).await.unwrap();
    drop(server);
    within("told of it", connection.closed()).await;
    eventually("the port is free", || {
        std::net::UdpSocket::bind(port).is_ok()
    })
    .await;
}

#[tokio::test]
async fn routes_can_be_replaced_while_connections_stay() {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    server
        .serve(Router::new().route(ECHO, Access::Node, echo))
        .unwrap();
    let client = cluster.door("m2", Role::Manager);
    let connect = |alpn| client.connect(address(&server), "m1", alpn, PATIENCE);
    let before = connect(ECHO).await.unwrap();
    assert!(connect(CONTROL).await.is_err());
    server
        .serve(Router::new().route(CONTROL, Access::Manager, echo))
        .unwrap();
    assert!(connect(CONTROL).await.is_ok());
    assert!(connect(ECHO).await.is_err());
    assert_eq!(ask(&before, "still").await.unwrap(), "still");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::UdpSocket::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = Door::bind_anonymous(address).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()));
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_lost_after_the_idle_timeout() {
    let cluster = Cluster::new("c1");
    let limits = Limits {
        keep_alive: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = Killable::start(cluster.identity("m1", Role::Manager), Limits::default());
    let client = door_with(cluster.identity("w1", Role::Worker), limits);
    let connection = client
        .connect(server.address, "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    server.kill();
    let lost = within("the loss", connection.closed()).await;
    assert_eq!(lost, ConnectionLost::Silent);
}
