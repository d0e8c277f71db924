//! Standing connections.

use super::*;

const MAX: usize = 1 << 20;

fn pool(door: &Door) -> Pool {
    Pool::new(door, PoolOptions::default())
}

async fn question(pool: &Pool, node: &str) -> Result<Bytes, CallError> {
    let deadline = Duration::from_secs(2);
    pool.call(node, ECHO, Bytes::from_static(b"?"), deadline, MAX)
        .await
}

#[tokio::test]
async fn callers_share_one_connection_and_one_dial() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let pool = pool(&client);
    pool.set_address("m1", address(&server));
    let calls = (0..50).map(|_| pool.call("m1", ECHO, Bytes::from_static(b"?"), PATIENCE, MAX));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), "?");
    }
    assert_eq!(client.stats().connections, 1);
    assert_eq!(server.stats().connections, 1);
}

#[tokio::test]
async fn each_protocol_has_its_own_connection() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("m2", Role::Manager);
    let pool = pool(&client);
    pool.set_address("m1", address(&server));
    let one = pool.get("m1", ECHO, PATIENCE).await.unwrap();
    let two = pool.get("m1", CONTROL, PATIENCE).await.unwrap();
    assert_eq!((one.alpn(), two.alpn()), (ECHO, CONTROL));
    assert_eq!(client.stats().connections, 2);
}

#[tokio::test]
async fn a_node_without_an_address_is_an_error_at_once() {
    let cluster = Cluster::new("c1");
    let client = cluster.door("w1", Role::Worker);
    let error = question(&pool(&client), "m1").await.unwrap_err();
    let expected = DialError::NoAddress {
        node_id: "m1".to_owned(),
    };
    assert_eq!(error, CallError::NoConnection(expected));
}

#[tokio::test]
async fn a_node_that_moved_is_called_at_its_new_address() {
    let cluster = Cluster::new("c1");
    let (old, new) = (cluster.serving_manager("m1"), cluster.serving_manager("m1"));
    let client = cluster.door("w1", Role::Worker);
    let pool = pool(&client);
    pool.set_address("m1", address(&old));
    let before = pool.get("m1", ECHO, PATIENCE).await.unwrap();
    pool.set_address("m1", address(&new));
    let after = pool.get("m1", ECHO, PATIENCE).await.unwrap();
    assert_eq!(before.peer().addr, address(&old));
    assert_eq!(after.peer().addr, address(&new));
}

#[tokio::test]
async fn a_connection_that_was_closed_is_replaced() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let pool = pool(&client);
    pool.set_address("m1", address(&server));
    let first = pool.get("m1", ECHO, PATIENCE).await.unwrap();
    server.disconnect("w1");
    within("told of it", first.closed()).await;
    assert_eq!(question(&pool, "m1").await.unwrap(), "?");
}

#[tokio::test]
async fn refusals_reach_every_caller() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let pool = pool(&client);
    pool.set_address("m1", address(&server));
    let gets = (0..10).map(|_| pool.get("m1", CONTROL, PATIENCE));
    for result in futures::future::join_all(gets).await {
        let error = result.unwrap_err();
        assert!(
            matches!(
                error,
                DialError::Refused {
                    code: RefusalCode::ManagerRequired,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_dead_node_costs_each_caller_its_own_deadline() {
    let cluster = Cluster::new("c1");
    let client = cluster.door("w1", Role::Worker);
    let nobody = std::net::UdpSocket::bind(loopback()).unwrap();
    let pool = pool(&client);
    pool.set_address("m1", nobody.local_addr().unwrap());
    let deadline = Duration::from_millis(50);
    let asking = pool.call("m1", ECHO, Bytes::new(), deadline, MAX);
    let error = within("the deadline", asking).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::NoConnection(DialError::Unreachable { .. })
        ),
        "{error:?}"
    );
    assert!(error.was_not_carried_out());
}

#[tokio::test]
async fn a_pool_finds_a_peer_that_was_killed_and_came_back_on_the_same_port() {
    let cluster = Cluster::new("c1");
    let identity = cluster.identity("m1", Role::Manager);
    let first = Killable::start(identity.clone(), patient_limits());
    let client = door_with(cluster.identity("w1", Role::Worker), patient_limits());
    let pool = pool(&client);
    pool.set_address("m1", first.address);
    let old = pool.get("m1", ECHO, PATIENCE).await.unwrap();
    let address = first.address;
    first.kill();
    assert!(question(&pool, "m1").await.is_err());

    let _second = rebind(identity, address).await;
    let again = async {
        while question(&pool, "m1").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("an answer", again).await;
    // Not by timeout: it was told, although its peer could say no farewell.
    assert_eq!(old.lost(), Some(ConnectionLost::Reset));
}

/// So long that only a reset can end a connection within a test.
fn patient_limits() -> Limits {
    Limits {
        idle_timeout: Duration::from_secs(300),
        keep_alive: Duration::from_millis(50),
        ..Limits::default()
    }
}

/// The old socket goes away when the last task of its runtime does.
async fn rebind(identity: NodeIdentity, address: SocketAddr) -> Door {
    let binding = async {
        loop {
            let credentials = Credentials::new(identity.clone()).unwrap();
            match Door::bind_with(address, credentials, patient_limits()) {
                Ok(door) => return door,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let door = within("the port is free", binding).await;
    door.serve(echo_routes()).unwrap();
    door
}
