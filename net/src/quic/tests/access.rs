//! Who may speak what, and who is believed to be whom.

use super::*;

#[tokio::test]
async fn a_node_reaches_the_node_that_it_names() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let connection = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    let peer = connection.peer();
    assert_eq!(peer.node_id(), Some("m1"));
    assert_eq!(peer.identity.as_ref().unwrap().role, Role::Manager);
    assert_eq!(peer.addr, address(&server));
    assert_eq!(ask(&connection, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn the_server_learns_who_calls() {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    let who = |peer: Arc<Peer>, _request| async move {
        Bytes::from(peer.node_id().unwrap_or("nobody").to_owned())
    };
    let router = Router::new().route(ECHO, Access::Anonymous, move |connection| async move {
        serve_calls(connection, 4, 100, who).await;
    });
    server.serve(router).unwrap();
    let client = cluster.door("w1", Role::Worker);
    let known = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    assert_eq!(ask(&known, "who am I").await.unwrap(), "w1");
    let unknown = client
        .connect_pinned(address(&server), cluster.ca.digest(), ECHO, PATIENCE)
        .await
        .unwrap();
    assert_eq!(ask(&unknown, "who am I").await.unwrap(), "nobody");
}

#[tokio::test]
async fn another_node_than_the_named_one_is_refused() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let error = client
        .connect(address(&server), "m2", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        DialError::WrongNode {
            address: address(&server).to_string(),
            expected: "m2".to_owned(),
            got: "m1".to_owned()
        }
    );
}

#[tokio::test]
async fn a_worker_cannot_reach_a_manager_route_and_its_handler_never_runs() {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    let (router, runs) = counting(Router::new(), CONTROL, Access::Manager);
    server.serve(router).unwrap();

    let worker = cluster.door("w1", Role::Worker);
    let error = worker
        .connect(address(&server), "m1", CONTROL, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, DialError::Refused { code: RefusalCode::ManagerRequired, text, .. } if text.contains("worker")),
        "{error:?}"
    );
    assert_eq!(runs.load(Ordering::SeqCst), 0);

    let manager = cluster.door("m2", Role::Manager);
    let connection = manager
        .connect(address(&server), "m1", CONTROL, PATIENCE)
        .await
        .unwrap();
    eventually("the handler runs", || runs.load(Ordering::SeqCst) == 1).await;
    drop(connection);
}

#[tokio::test]
async fn without_a_certificate_only_anonymous_routes_are_open() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let stranger = Door::bind_anonymous(loopback()).unwrap();
    let digest = cluster.ca.digest();
    for alpn in [ECHO, CONTROL] {
        let error = stranger
            .connect_pinned(address(&server), digest, alpn, PATIENCE)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                DialError::Refused {
                    code: RefusalCode::CertificateRequired,
                    ..
                }
            ),
            "{alpn}: {error:?}"
        );
    }
    let connection = stranger
        .connect_pinned(address(&server), digest, OPEN, PATIENCE)
        .await
        .unwrap();
    assert_eq!(ask(&connection, "hello").await.unwrap(), "hello");
    assert_eq!(server.stats().anonymous, 1);
}

#[tokio::test]
async fn nodes_of_two_clusters_refuse_each_other() {
    let (ours, theirs) = (Cluster::new("c1"), Cluster::new("c2"));
    let server = ours.serving_manager("m1");
    let stranger = theirs.door("m1", Role::Manager);
    let error = stranger
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::NotTrusted { .. }), "{error:?}");

    // One that does not mind who we are is refused by us.
    let both = format!("{}{}", theirs.ca.root_pem(), ours.ca.root_pem());
    let identity = theirs.identity_trusting("m1", Role::Manager, &both);
    let careless = door_with(identity, Limits::default());
    for alpn in [OPEN, ECHO, CONTROL] {
        let error = careless
            .connect(address(&server), "m1", alpn, PATIENCE)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                DialError::NotTrusted { .. } | DialError::NotTrustedThere { .. }
            ),
            "{alpn}: {error:?}"
        );
    }
    assert_eq!(server.stats().connections, 0);
}

#[tokio::test]
async fn a_certificate_of_the_same_cluster_id_but_another_root_is_refused() {
    let (ours, theirs) = (Cluster::new("c1"), Cluster::new("c1"));
    let server = ours.serving_manager("m1");
    let both = format!("{}{}", theirs.ca.root_pem(), ours.ca.root_pem());
    let identity = theirs.identity_trusting("m2", Role::Manager, &both);
    let forger = door_with(identity, Limits::default());
    let error = forger
        .connect(address(&server), "m1", OPEN, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        matches!(error, DialError::NotTrustedThere { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn any_manager_will_do_but_no_worker() {
    let cluster = Cluster::new("c1");
    let manager = cluster.serving_manager("m1");
    let worker = cluster.door("w1", Role::Worker);
    worker.serve(echo_routes()).unwrap();
    let client = cluster.door("w2", Role::Worker);
    let connection = client
        .connect_any_manager(address(&manager), ECHO, PATIENCE)
        .await
        .unwrap();
    assert_eq!(connection.peer().node_id(), Some("m1"));
    let error = client
        .connect_any_manager(address(&worker), ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, DialError::NotManager { got, .. } if got == "w1"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_protocol_that_the_peer_does_not_speak_is_named() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let error = client
        .connect(address(&server), "m1", "test-unknown/1", PATIENCE)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, DialError::Refused { code: RefusalCode::UnknownProtocol, text, .. } if text.contains("test-unknown/1")),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_both_directions() {
    let cluster = Cluster::new("c1");
    let key = NodeKey::generate().unwrap();
    let day = Duration::from_secs(24 * 3600);
    let chain = cluster
        .ca
        .issue(
            &key.csr().unwrap(),
            "old",
            Role::Worker,
            "c1",
            Duration::from_secs(1),
            SystemTime::now() - day / 2,
        )
        .unwrap();
    let expired = NodeIdentity::from_pem(&chain, key, cluster.ca.root_pem()).unwrap();
    let old = door_with(expired, Limits::default());
    old.serve(echo_routes()).unwrap();
    let server = cluster.serving_manager("m1");
    let error = old
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        matches!(error, DialError::NotTrustedThere { .. }),
        "{error:?}"
    );
    let error = server
        .connect(address(&old), "old", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, DialError::NotTrusted { reason, .. } if reason.contains("expired")),
        "{error:?}"
    );
}
