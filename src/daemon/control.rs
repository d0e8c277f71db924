//! The daemon as the API sees it.

use std::sync::Arc;

use async_trait::async_trait;
use swarmr_net::identity::{Ca, Token};
use tokio::sync::watch;

use super::{Daemon, lifecycle, planning};
use crate::api::control::{
    Consensus, Control, InitRequest, JoinRequest, LifecycleError, ProposeError, Standing,
    Unavailable,
};
use crate::api::wire::planning::{Explanation, Rehearsal};
use crate::manager::{Manager, peers};
use crate::message::control::{Answer, Ask};
use crate::message::examination::Examination;
use crate::spec::{NodeId, Role, ServiceId, Timestamp};
use crate::state::{Op, Rejected, Reply, Service, State};

/// A voter that the leader has not heard of for this long is shown as unreachable.
const UNREACHABLE_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// For another node to look at all that it has, and to mend it.
const EXAMINE_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

impl Daemon {
    fn manager(&self) -> Result<Arc<Manager>, Unavailable> {
        let node = self.node.borrow().clone();
        match node {
            None => Err(Unavailable::NotInCluster),
            // A demoted node's manager runs on until the others do without it; for clients it is none.
            Some(node) => match node.manager() {
                Some(manager) if node.role() == Role::Manager => Ok(manager),
                _ if node.role() == Role::Manager => Err(Unavailable::NoQuorum(
                    "this node is about to become a manager: retry in a moment".to_owned(),
                )),
                _ => Err(Unavailable::NotManager),
            },
        }
    }
}

#[async_trait]
impl Control for Daemon {
    fn standing(&self) -> Standing {
        let node = self.node.borrow().clone();
        let Some(node) = node else {
            return if self.lifecycle.try_read().is_ok() {
                Standing::Inactive
            } else {
                Standing::Pending
            };
        };
        let settings = node.settings();
        Standing::Member {
            node: node.id,
            cluster: node.cluster,
            role: node.role(),
            addr: settings.advertise.to_string(),
            managers: settings
                .managers
                .into_iter()
                .map(|manager| (manager.node, manager.addr))
                .collect(),
        }
    }

    fn local_state(&self) -> Arc<State> {
        self.manager()
            .map(|manager| manager.state())
            .unwrap_or_default()
    }

    fn watch_state(&self) -> watch::Receiver<Arc<State>> {
        self.states.subscribe()
    }

    async fn read(&self) -> Result<Arc<State>, Unavailable> {
        self.manager()?.store().read().await
    }

    async fn propose(&self, op: Op) -> Result<Reply, ProposeError> {
        self.manager()?.store().propose(op).await
    }

    async fn init(&self, request: InitRequest) -> Result<NodeId, LifecycleError> {
        self.init_cluster(request).await
    }

    async fn join(&self, request: JoinRequest) -> Result<NodeId, LifecycleError> {
        self.join_cluster(request).await
    }

    async fn leave(&self, force: bool) -> Result<(), LifecycleError> {
        self.leave_cluster(force).await
    }

    fn fresh_token(&self) -> Result<String, Unavailable> {
        let state = self.manager()?.state();
        let cluster = state.cluster().ok_or(Unavailable::NotInCluster)?;
        let authority = Ca::from_pem(&cluster.authority.root_pem, &cluster.authority.key_pem)
            .map_err(|error| Unavailable::NoQuorum(error.to_string()))?;
        Ok(Token::generate(authority.digest()).to_string())
    }

    fn fresh_id(&self) -> u128 {
        lifecycle::fresh_id()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn explain(&self, state: &State, service: &Service) -> Explanation {
        planning::explain(state, service, self.now())
    }

    fn rehearse(
        &self,
        state: &State,
        op: Op,
        service: (ServiceId, &str),
    ) -> Result<Rehearsal, Rejected> {
        planning::rehearse(state, op, service, self.now())
    }

    async fn examine(&self, node: NodeId, addr: &str, mend: bool) -> Result<Examination, String> {
        let here = self.node.borrow().clone();
        let here = here.ok_or_else(|| Unavailable::NotInCluster.to_string())?;
        if node == here.id {
            return Ok(here.agent.examine(mend).await);
        }
        let question = Ask::Examine { mend };
        match peers::ask(&here.pool, node, addr, &question, EXAMINE_WITHIN).await {
            Ok(Answer::Examined(examination)) => Ok(*examination),
            Ok(Answer::Refused(why)) => Err(why),
            Ok(other) => Err(format!("an answer that was not asked for: {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn consensus(&self) -> Consensus {
        let Ok(manager) = self.manager() else {
            return Consensus::default();
        };
        let status = manager.store().status();
        let id_of = |member: &swarmr_raft::Member| member.label.parse::<NodeId>().ok();
        let silent = |member: &&swarmr_raft::Member| match status.peers.get(&member.id) {
            Some(peer) => peer
                .last_ack
                .is_none_or(|at| at.elapsed() > UNREACHABLE_AFTER),
            None => false,
        };
        Consensus {
            term: status.term,
            leader: status.leader.as_ref().and_then(id_of),
            voters: status.members.iter().filter_map(id_of).collect(),
            unreachable: status
                .members
                .iter()
                .filter(silent)
                .filter_map(id_of)
                .collect(),
            last_log_index: status.last_log.unwrap_or(0),
            applied_index: status.applied.unwrap_or(0),
        }
    }
}
