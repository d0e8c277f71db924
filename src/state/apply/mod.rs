//! Applying one command. Total and deterministic: no clock, no randomness, no panic; a refused
//! command leaves everything as it was. One file per kind of object.

mod cluster;
mod configs;
mod jobs;
mod networks;
mod nodes;
mod outfit;
mod plan;
mod reports;
mod rollback;
mod services;
mod steer;

use super::State;
use super::command::{Command, Op, Reply, ServiceChange};
use super::rejected::{Kind, Rejected};
use crate::spec::Nanos;

type Applied = Result<Reply, Rejected>;

impl State {
    /// Applies the command of log entry `index`.
    pub fn apply(&mut self, index: u64, command: Command) -> Reply {
        self.index = index;
        let at = command.at.max(self.clock + Nanos(1));
        let applied = match command.op {
            Op::InitCluster(init) => {
                let before = self.clone();
                let applied = self.init_cluster(index, at, *init);
                if applied.is_err() {
                    *self = before;
                }
                applied
            }
            Op::UpdateCluster {
                version,
                spec,
                worker_token,
                manager_token,
            } => self.update_cluster(index, at, version, *spec, worker_token, manager_token),
            Op::AddNode(node) => match self.nodes.get(&node.id) {
                // Proposed again after its first answer was lost: an id is minted for one node.
                Some(known) => Ok(Reply::Written {
                    version: known.meta.version,
                }),
                None => self.add_node(index, at, *node),
            },
            Op::UpdateNode {
                id,
                version,
                spec,
                drain_limit,
            } => self.update_node(index, at, id, version, spec, drain_limit),
            Op::RemoveNode { id, force } => self.remove_node(index, at, id, force),
            Op::ObserveNodes(news) => self.observe_nodes(index, at, news),
            Op::SetMember { node, raft_id } => self.set_member(index, at, node, raft_id),
            Op::CreateService { id, spec } => self.create_service(index, at, id, *spec),
            Op::UpdateService {
                id,
                version,
                change,
            } => match *change {
                ServiceChange::Spec(spec) => self.update_service(index, at, id, version, spec),
                ServiceChange::RollBack => self.roll_back_service(index, at, id, version),
            },
            Op::SteerService { id, steer } => self.steer_service(index, at, id, steer),
            Op::RunJob { id, request } => self.run_job(index, at, id, request),
            Op::RemoveService { id } => self.remove_service(index, at, id),
            Op::Rebalance { service } => self.set_rebalance(index, at, service, true),
            Op::CreateNetwork { id, spec } => self.create_network(index, at, id, *spec),
            Op::RemoveNetwork { id } => self.remove_network(id),
            Op::CreateConfig { id, spec } => self.create_config(index, at, id, *spec),
            Op::UpdateConfig { id, version, spec } => {
                self.update_config(index, at, id, version, *spec)
            }
            Op::RemoveConfig { id } => self.remove_config(id),
            Op::Report(reports) => self.report(index, at, reports),
            Op::Plan(changes) => Ok(self.apply_plan(index, at, changes)),
        };
        match applied {
            Ok(reply) => {
                self.clock = at;
                reply
            }
            Err(rejected) => Reply::Rejected(rejected),
        }
    }
}

pub(super) fn not_found(kind: Kind, id: &impl ToString) -> Rejected {
    Rejected::NotFound {
        kind,
        name: id.to_string(),
    }
}

pub(super) fn check_version(
    kind: Kind,
    name: &str,
    current: u64,
    sent: u64,
) -> Result<(), Rejected> {
    if current == sent {
        Ok(())
    } else {
        Err(Rejected::Stale {
            kind,
            name: name.to_owned(),
            current,
            sent,
        })
    }
}
