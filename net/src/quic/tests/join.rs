//! How a node that has nothing but a token becomes a member.

use super::*;
use crate::identity::Token;

/// What a manager's join handler does, without the cluster around it.
async fn sign(cluster: &Cluster, token: &Token, request: Bytes) -> Bytes {
    let text = String::from_utf8(request.to_vec()).unwrap();
    let (presented, csr) = text.split_once('\n').unwrap();
    if !Token::parse(presented).is_ok_and(|presented| presented.same_secret(token)) {
        return Bytes::new();
    }
    let day = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    let chain = cluster
        .ca
        .issue(csr, "new-node", Role::Worker, cluster.id, day, now)
        .unwrap();
    Bytes::from(chain)
}

#[tokio::test]
async fn a_node_joins_with_a_token_and_is_a_member_at_once() {
    let cluster = Arc::new(Cluster::new("c1"));
    let token = Token::generate(cluster.ca.digest());
    let server = cluster.door("m1", Role::Manager);
    let (signer, secret) = (Arc::clone(&cluster), token.clone());
    let router = echo_routes().route(OPEN, Access::Anonymous, move |connection| {
        let (signer, secret) = (Arc::clone(&signer), secret.clone());
        async move {
            let answer = move |_peer, request| {
                let (signer, secret) = (Arc::clone(&signer), secret.clone());
                async move { sign(&signer, &secret, request).await }
            };
            serve_calls(connection, 1, 4096, answer).await;
        }
    });
    server.serve(router).unwrap();

    let joiner = Door::bind_anonymous(loopback()).unwrap();
    let connection = joiner
        .connect_pinned(address(&server), *token.digest(), OPEN, PATIENCE)
        .await
        .unwrap();
    assert_eq!(connection.peer().node_id(), Some("m1"));
    let key = NodeKey::generate().unwrap();
    let request = Bytes::from(format!("{token}\n{}", key.csr().unwrap()));
    let chain = call(&connection, request, PATIENCE, 1 << 16).await.unwrap();
    let chain = String::from_utf8(chain.to_vec()).unwrap();
    let identity = NodeIdentity::from_pem(&chain, key, cluster.ca.root_pem()).unwrap();
    assert!(identity.trusts(token.digest()));
    joiner.adopt(identity).unwrap();
    joiner.serve(echo_routes()).unwrap();

    let out = joiner.connect(address(&server), "m1", ECHO, PATIENCE).await;
    assert_eq!(
        ask(&out.unwrap(), "as a member").await.unwrap(),
        "as a member"
    );
    let back = server
        .connect(address(&joiner), "new-node", ECHO, PATIENCE)
        .await;
    assert_eq!(
        ask(&back.unwrap(), "dialled back").await.unwrap(),
        "dialled back"
    );
}

#[tokio::test]
async fn a_manager_under_another_root_than_the_tokens_is_refused() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let joiner = Door::bind_anonymous(loopback()).unwrap();
    for bit in [0, 100, 255] {
        let mut digest = cluster.ca.digest();
        digest[bit / 8] ^= 1 << (bit % 8);
        let error = joiner
            .connect_pinned(address(&server), digest, OPEN, PATIENCE)
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::WrongRoot { .. }), "{error:?}");
    }
    assert_eq!(server.stats().connections, 0);
}

#[tokio::test]
async fn showing_the_right_root_without_being_under_it_is_not_enough() {
    let (real, fake) = (Cluster::new("c1"), Cluster::new("c1"));
    let impostor = fake.identity("m1", Role::Manager);
    let chain = format!("{}{}", impostor.chain_pem(), real.ca.root_pem());
    let impostor =
        NodeIdentity::from_pem(&chain, impostor.key().clone(), fake.ca.root_pem()).unwrap();
    let server = door_with(impostor, Limits::default());
    server.serve(echo_routes()).unwrap();
    let joiner = Door::bind_anonymous(loopback()).unwrap();
    let error = joiner
        .connect_pinned(address(&server), real.ca.digest(), OPEN, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::NotTrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn a_worker_cannot_pass_for_a_manager_to_one_who_joins() {
    let cluster = Cluster::new("c1");
    let worker = cluster.door("w1", Role::Worker);
    worker.serve(echo_routes()).unwrap();
    let joiner = Door::bind_anonymous(loopback()).unwrap();
    let error = joiner
        .connect_pinned(address(&worker), cluster.ca.digest(), OPEN, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::NotManager { .. }), "{error:?}");
}

#[tokio::test]
async fn without_an_identity_a_door_neither_dials_members_nor_lets_anyone_in() {
    let cluster = Cluster::new("c1");
    let server = cluster.serving_manager("m1");
    let nobody = Door::bind_anonymous(loopback()).unwrap();
    nobody.serve(echo_routes()).unwrap();
    let error = nobody
        .connect(address(&server), "m1", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(error, DialError::NoIdentity);
    let error = server
        .connect(address(&nobody), "x", ECHO, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        matches!(error, DialError::NotTrustedThere { .. }),
        "{error:?}"
    );
}
