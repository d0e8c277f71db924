//! What a manager answers to other nodes' calls.

use crate::message::control::{Answer, Ask};
use crate::spec::{NodeId, Role};
use crate::state::command::{NodeObservation, Op};
use crate::state::node::{NodeState, NodeStatus};

use super::authority;
use super::store::{HereError, Store};

/// Answers one call. `from` and `role` are what the caller's certificate says.
pub(super) async fn answer(store: &Store, from: NodeId, role: Role, question: Ask) -> Answer {
    match question {
        Ask::Ping => Answer::Done,
        Ask::Propose(op) if may_propose(store, from, role) => propose(store, *op).await,
        Ask::Propose(_) => Answer::Refused(format!("node {from} is not a manager")),
        Ask::Renew { csr_pem } => renew(store, from, &csr_pem).await,
        Ask::Leave { force } => leave(store, from, force).await,
        Ask::IsMember { raft_id } => is_member(store, raft_id).await,
        Ask::Examine { .. } => Answer::Refused(format!("node {from} is not a manager")),
        Ask::PrepareMember { .. } => {
            Answer::Refused("this manager is in the Raft group already".to_owned())
        }
    }
}

/// Both the certificate and the replicated state must say so: a demoted manager is none from that
/// moment.
fn may_propose(store: &Store, from: NodeId, role: Role) -> bool {
    role == Role::Manager
        && store
            .state()
            .node(from)
            .is_some_and(|node| node.is_manager())
}

async fn propose(store: &Store, op: Op) -> Answer {
    match store.propose_here(op).await {
        Ok((reply, index)) => Answer::Proposed { reply, index },
        Err(HereError::NotLeader | HereError::NoQuorum) => not_leader(store),
        Err(HereError::Refused(why) | HereError::TooLarge(why)) => Answer::Refused(why),
        Err(HereError::Unknown(why)) => Answer::Unknown(why),
    }
}

fn not_leader(store: &Store) -> Answer {
    Answer::NotLeader {
        leader: store
            .status()
            .leader
            .and_then(|leader| leader.label.parse().ok()),
    }
}

async fn is_member(store: &Store, raft_id: u64) -> Answer {
    if store.raft().read_barrier().await.is_err() {
        return not_leader(store);
    }
    let status = store.status();
    let mut all = status.members.iter().chain(&status.learners);
    Answer::Member(all.any(|member| member.id == raft_id))
}

async fn renew(store: &Store, from: NodeId, csr_pem: &str) -> Answer {
    let state = match store.read().await {
        Ok(state) => state,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let (Some(cluster), Some(node)) = (state.cluster(), state.node(from)) else {
        return Answer::Refused(format!("node {from} is not part of this cluster"));
    };
    match authority::issue(cluster, csr_pem, from, node.spec.role) {
        Ok(chain_pem) => Answer::Renewed {
            chain_pem,
            roots_pem: cluster.authority.root_pem.clone(),
        },
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// A node that goes: a manager is demoted first, which takes it out of the Raft group.
async fn leave(store: &Store, from: NodeId, force: bool) -> Answer {
    let state = store.state();
    let Some(node) = state.node(from) else {
        return Answer::Done;
    };
    if node.is_manager() && !force {
        return Answer::Refused(format!("node {from} is a manager"));
    }
    if node.is_manager() {
        let spec = crate::spec::NodeSpec {
            role: Role::Worker,
            ..node.spec.clone()
        };
        let demote = Op::UpdateNode {
            id: from,
            version: node.meta.version,
            spec,
            drain_limit: None,
        };
        match store.propose(demote).await {
            Ok(crate::state::Reply::Rejected(why)) => return Answer::Refused(why.to_string()),
            Ok(_) => {}
            Err(error) => return Answer::Unknown(error.to_string()),
        }
    }
    let gone = NodeObservation {
        node: from,
        state: Some((NodeState::Down, NodeStatus::LEFT.to_owned())),
        description: None,
        addr: None,
    };
    match store.propose(Op::ObserveNodes(vec![gone])).await {
        Ok(_) => Answer::Done,
        Err(error) => Answer::Unknown(error.to_string()),
    }
}
