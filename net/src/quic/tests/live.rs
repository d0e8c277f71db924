//! What happens to connections that are up when identities change.

use super::*;
use crate::identity::PeerIdentity;

#[tokio::test]
async fn a_renewed_certificate_is_shown_next_while_old_connections_live_on() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("w1", Role::Worker);
    let connect = || client.connect(address(&server), "m1", ECHO, PATIENCE);
    let before = connect().await.unwrap();
    let first = before.peer_certificate();
    server.adopt(cluster.identity("m1", Role::Manager)).unwrap();
    let after = connect().await.unwrap();
    assert_ne!(after.peer_certificate(), first);
    assert_eq!(ask(&before, "old").await.unwrap(), "old");
    assert_eq!(ask(&after, "new").await.unwrap(), "new");

    client.adopt(cluster.identity("w1", Role::Worker)).unwrap();
    assert_eq!(ask(&before, "still").await.unwrap(), "still");
    assert!(connect().await.is_ok());
}

#[tokio::test]
async fn a_root_that_is_added_is_trusted_from_the_next_handshake_on() {
    let (old, new) = (Cluster::new("c1"), Cluster::new("c1"));
    let server = old.serving_manager("m1");
    let both = format!("{}{}", old.ca.root_pem(), new.ca.root_pem());
    let client = door_with(
        new.identity_trusting("w1", Role::Worker, &both),
        Limits::default(),
    );
    let connect = || client.connect(address(&server), "m1", ECHO, PATIENCE);
    assert!(connect().await.is_err());
    server
        .adopt(old.identity_trusting("m1", Role::Manager, &both))
        .unwrap();
    assert!(connect().await.is_ok());
}

#[tokio::test]
async fn disconnect_closes_live_connections_of_that_node_only() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let (one, two) = (
        cluster.door("w1", Role::Worker),
        cluster.door("w2", Role::Worker),
    );
    let connect = |door: Door| {
        let server = address(&server);
        async move { door.connect(server, "m1", ECHO, PATIENCE).await.unwrap() }
    };
    let gone = [connect(one.clone()).await, connect(one.clone()).await];
    let kept = connect(two.clone()).await;
    assert_eq!(server.stats().connections, 3);

    assert_eq!(server.disconnect("w1"), 2);
    for connection in &gone {
        let lost = within("told of it", connection.closed()).await;
        assert!(
            matches!(&lost, ConnectionLost::ByPeer(refusal) if refusal.code == RefusalCode::Disconnected),
            "{lost:?}"
        );
    }
    assert_eq!(ask(&kept, "still here").await.unwrap(), "still here");
    eventually("they are forgotten", || server.stats().connections == 1).await;
}

#[tokio::test]
async fn disconnect_closes_connections_that_we_dialled_too() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let client = cluster.door("m2", Role::Manager);
    let connection = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    assert_eq!(client.disconnect("m1"), 1);
    assert_eq!(connection.lost(), Some(ConnectionLost::Here));
    drop(connection);
    assert_eq!(client.stats().connections, 0);
}

#[tokio::test]
async fn a_removed_node_is_refused_at_the_door_and_when_dialled() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let removed = cluster.door("w1", Role::Worker);
    removed.serve(echo_routes()).unwrap();
    server.set_admission(|peer: &PeerIdentity, _access| match peer.node_id.as_str() {
        "w1" => Err(Refusal::not_admitted("w1 was removed")),
        _ => Ok(()),
    });
    let error = removed
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, DialError::Refused { code: RefusalCode::NotAdmitted, text, .. } if text == "w1 was removed"),
        "{error:?}"
    );
    let error = server
        .connect(address(&removed), "w1", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::NotTrusted { .. }), "{error:?}");
    assert_eq!(server.stats().connections, 0);
}

#[tokio::test]
async fn a_demoted_manager_loses_manager_connections_and_keeps_the_others() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let demoted = cluster.door("m2", Role::Manager);
    let connect = |alpn| demoted.connect(address(&server), "m1", alpn, PATIENCE);
    let control = connect(CONTROL).await.unwrap();
    let plain = connect(ECHO).await.unwrap();
    server.set_admission(|peer: &PeerIdentity, access| {
        if peer.node_id == "m2" && access == Access::Manager {
            return Err(Refusal::not_admitted("m2 is a worker now"));
        }
        Ok(())
    });
    assert_eq!(server.recheck(), 1);
    within("told of it", control.closed()).await;
    assert_eq!(ask(&plain, "as a worker").await.unwrap(), "as a worker");
    assert!(matches!(
        connect(CONTROL).await.unwrap_err(),
        DialError::Refused {
            code: RefusalCode::NotAdmitted,
            ..
        }
    ));
}

#[tokio::test]
async fn one_node_cannot_hold_more_connections_than_allowed() {
    let cluster = Cluster::new("c1");
    let limits = Limits {
        max_connections_per_node: 2,
        ..Limits::default()
    };
    let server = door_with(cluster.identity("m1", Role::Manager), limits);
    server.serve(echo_routes()).unwrap();
    let greedy = cluster.door("w1", Role::Worker);
    let connect = || greedy.connect(address(&server), "m1", ECHO, PATIENCE);
    let mut held = vec![connect().await.unwrap(), connect().await.unwrap()];
    assert!(matches!(
        connect().await.unwrap_err(),
        DialError::Refused {
            code: RefusalCode::Busy,
            ..
        }
    ));
    let other = cluster.door("w2", Role::Worker);
    assert!(
        other
            .connect(address(&server), "m1", ECHO, PATIENCE)
            .await
            .is_ok()
    );
    held.pop();
    eventually("the place is free", || server.stats().connections < 2).await;
    assert!(connect().await.is_ok());
}

#[tokio::test]
async fn a_connection_without_a_certificate_ends_after_its_lifetime() {
    let cluster = Cluster::new("c1");
    let limits = Limits {
        anonymous_lifetime: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = door_with(cluster.identity("m1", Role::Manager), limits);
    server.serve(echo_routes()).unwrap();
    let stranger = Door::bind_anonymous(loopback()).unwrap();
    let connection = stranger
        .connect_pinned(address(&server), cluster.ca.digest(), OPEN, PATIENCE)
        .await
        .unwrap();
    let lost = within("its time is over", connection.closed()).await;
    assert!(
        matches!(&lost, ConnectionLost::ByPeer(refusal) if refusal.code == RefusalCode::LifetimeOver),
        "{lost:?}"
    );
    eventually("its place is free", || server.stats().anonymous == 0).await;
}

#[tokio::test]
async fn datagrams_pass_in_both_directions_and_too_large_ones_are_refused() {
    let cluster = Cluster::new("c1");
    let server = cluster.door("m1", Role::Manager);
    let router = Router::new().route(ECHO, Access::Node, |connection: Connection| async move {
        while let Ok(datagram) = connection.read_datagram().await {
            if connection.send_datagram(datagram).is_err() {
                return;
            }
        }
    });
    server.serve(router).unwrap();
    let client = cluster.door("w1", Role::Worker);
    let connection = client
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap();
    let datagram = Bytes::from(vec![7; 1100]);
    connection.send_datagram(datagram.clone()).unwrap();
    let echoed = within("the echo", connection.read_datagram())
        .await
        .unwrap();
    assert_eq!(echoed, datagram);
    assert!(matches!(
        connection.send_datagram(Bytes::from(vec![0; 70_000])),
        Err(DatagramError::TooLarge { got: 70_000, .. })
    ));
}
