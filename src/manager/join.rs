//! Taking nodes in: a certificate for whoever shows a token, then a place in the cluster for whoever
//! answers on the address it gave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use swarmr_net::quic::{Connection, Peer, serve_calls};
use tokio::time::Instant;

use super::authority;
use super::peers::ask;
use super::store::Store;
use crate::message::control::{Answer, Ask};
use crate::message::join::{AdmitReply, AdmitRequest, Grant, JoinReply, JoinRequest};
use crate::spec::{NodeId, Role};
use crate::state::command::{AddNode, Op};
use crate::state::{Reply, codec};

/// How long a fresh certificate may be used to be admitted.
const GRANT_LIVES: Duration = Duration::from_secs(120);
/// Certificates that may wait for admission here; more are refused until some are used or expire.
const GRANTS_MAX: usize = 1_000;
/// How long the node that wants to be admitted may take to answer when dialled back.
const DIAL_BACK: Duration = Duration::from_secs(3);
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Certificates granted here to nodes that are no members yet. A removed node's certificate is not
/// among them, so it is not let in again.
#[derive(Debug, Default)]
pub(super) struct Grants {
    waiting: Mutex<BTreeMap<NodeId, (Role, Instant)>>,
}

impl Grants {
    fn add(&self, node: NodeId, role: Role) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (_, since)| since.elapsed() < GRANT_LIVES);
        if waiting.len() >= GRANTS_MAX {
            return false;
        }
        waiting.insert(node, (role, Instant::now()));
        true
    }

    fn role(&self, node: NodeId) -> Option<Role> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting
            .get(&node)
            .filter(|(_, since)| since.elapsed() < GRANT_LIVES)
            .map(|(role, _)| *role)
    }

    fn used(&self, node: NodeId) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&node);
    }
}

/// Answers one joining node that has nothing but a token.
pub(super) async fn serve_join(
    connection: Connection,
    store: Store,
    grants: Arc<Grants>,
    fresh_id: fn() -> u128,
) {
    serve_calls(connection, 1, REQUEST_BYTES_MAX, move |peer, request| {
        let (store, grants) = (store.clone(), grants.clone());
        async move {
            let reply = match codec::decode::<JoinRequest>(&request) {
                Ok(request) => {
                    grant(
                        &store,
                        &grants,
                        &peer,
                        &request,
                        NodeId::from_bits(fresh_id()),
                    )
                    .await
                }
                Err(error) => JoinReply::Denied(format!("the request cannot be read: {error}")),
            };
            Bytes::from(codec::encode(&reply).unwrap_or_default())
        }
    })
    .await;
}

async fn grant(
    store: &Store,
    grants: &Grants,
    peer: &Peer,
    request: &JoinRequest,
    node: NodeId,
) -> JoinReply {
    // A rotated token is refused from the moment its rotation was acknowledged.
    let state = match store.read().await {
        Ok(state) => state,
        Err(error) => return JoinReply::Unavailable(error.to_string()),
    };
    let Some(cluster) = state.cluster() else {
        return JoinReply::Unavailable("this manager has no cluster yet".to_owned());
    };
    let role = match authority::role_for_token(cluster, &request.token) {
        Ok(role) => role,
        Err(why) => {
            tracing::warn!(from = %peer.addr, why, "a node was not let in");
            return JoinReply::Denied(why);
        }
    };
    match authority::issue(cluster, &request.csr_pem, node, role) {
        Ok(chain_pem) if grants.add(node, role) => JoinReply::Granted(Box::new(Grant {
            node,
            cluster: cluster.id,
            role,
            chain_pem,
            roots_pem: cluster.authority.root_pem.clone(),
            observed: peer.addr.ip(),
        })),
        Ok(_) => JoinReply::Unavailable(
            "too many nodes are joining at once: retry in two minutes".to_owned(),
        ),
        Err(error) => JoinReply::Denied(error.to_string()),
    }
}

/// Answers one node that has its certificate and wants its place.
pub(super) async fn serve_admit(connection: Connection, store: Store, grants: Arc<Grants>) {
    serve_calls(connection, 1, REQUEST_BYTES_MAX, move |peer, request| {
        let (store, grants) = (store.clone(), grants.clone());
        async move {
            let reply = match codec::decode::<AdmitRequest>(&request) {
                Ok(request) => admit(&store, &grants, &peer, request).await,
                Err(error) => AdmitReply::Refused(format!("the request cannot be read: {error}")),
            };
            Bytes::from(codec::encode(&reply).unwrap_or_default())
        }
    })
    .await;
}

async fn admit(store: &Store, grants: &Grants, peer: &Peer, request: AdmitRequest) -> AdmitReply {
    let node = peer
        .identity
        .as_ref()
        .and_then(|identity| identity.node_id.parse::<NodeId>().ok());
    let Some((node, role)) = node.and_then(|node| Some((node, grants.role(node)?))) else {
        return AdmitReply::Refused(
            "this certificate was not granted here lately: join again".to_owned(),
        );
    };
    match ask(store.pool(), node, &request.addr, &Ask::Ping, DIAL_BACK).await {
        Ok(Answer::Done) => {}
        Ok(other) => return AdmitReply::Refused(format!("the node answered {other:?}")),
        Err(error) => {
            store.pool().remove(&node.to_string());
            return AdmitReply::Unreachable(format!(
                "this manager cannot reach the joining node at {} (UDP): {error}. Open that UDP port on it, or give \
                 --advertise-addr with an address that other nodes can reach",
                request.addr
            ));
        }
    }
    let add = AddNode {
        id: node,
        role,
        availability: request.availability,
        addr: request.addr,
        data_path_addr: request.data_path_addr,
        description: request.description,
    };
    match store.propose(Op::AddNode(Box::new(add))).await {
        Ok(Reply::Rejected(why)) => AdmitReply::Refused(why.to_string()),
        Ok(_) => {
            grants.used(node);
            AdmitReply::Admitted {
                managers: store.state().manager_addrs(),
            }
        }
        Err(error) => AdmitReply::Refused(error.to_string()),
    }
}
