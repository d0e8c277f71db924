//! Nodes: joining, leaving, and what is seen of them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{Applied, check_version, not_found};
use crate::spec::constraint::Constraint;
use crate::spec::{Availability, Mode, Nanos, NodeId, NodeSpec, Role, ServiceId, Timestamp};
use crate::state::command::{AddNode, NodeObservation, Reply};
use crate::state::node::{NodeState, NodeStatus, RaftMember};
use crate::state::object::Meta;
use crate::state::rejected::{Kind, Rejected};
use crate::state::task::{DesiredState, TaskState};
use crate::state::{Node, Service, State, tunnel};

impl State {
    pub(super) fn add_node(&mut self, index: u64, at: Timestamp, add: AddNode) -> Applied {
        if self.nodes.contains_key(&add.id) {
            return Err(Rejected::NameTaken {
                kind: Kind::Node,
                name: add.id.to_string(),
            });
        }
        let node = Node {
            id: add.id,
            meta: Meta::new(index, at),
            spec: NodeSpec {
                role: add.role,
                availability: add.availability,
                ..NodeSpec::default()
            },
            description: add.description,
            status: NodeStatus {
                state: NodeState::Unknown,
                message: String::new(),
                since: at,
            },
            addr: add.addr,
            data_path_addr: add.data_path_addr,
            tunnel_addr: self.free_tunnel_addr(),
            member: None,
            drain_deadline: None,
            availability_since: at,
        };
        self.nodes.insert(add.id, Arc::new(node));
        self.nodes_changed(index, &[(add.id, None)]);
        Ok(Reply::Written { version: index })
    }

    /// Where all are taken, which is more nodes than a cluster has, encrypted networks do not reach
    /// the node.
    fn free_tunnel_addr(&self) -> Ipv4Addr {
        let taken: Vec<_> = self.nodes.values().map(|node| node.tunnel_addr).collect();
        tunnel::next_address(&taken).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    pub(super) fn update_node(
        &mut self,
        index: u64,
        at: Timestamp,
        id: NodeId,
        version: u64,
        spec: NodeSpec,
        drain_limit: Option<Nanos>,
    ) -> Applied {
        let node = self.nodes.get(&id);
        let before = node.ok_or_else(|| not_found(Kind::Node, &id))?.clone();
        check_version(Kind::Node, &id.to_string(), before.meta.version, version)?;
        if spec.role == Role::Worker && self.is_last_manager(&before) {
            return Err(Rejected::LastManager {
                name: before.description.hostname.clone(),
            });
        }
        let mut node = Node::clone(&before);
        if node.spec.availability != spec.availability {
            node.availability_since = at;
        }
        node.spec = spec;
        node.drain_deadline = match node.spec.availability {
            Availability::Drain => {
                drain_limit.map_or(node.drain_deadline, |limit| Some(at + limit))
            }
            Availability::Active | Availability::Pause => None,
        };
        node.meta.write(index, at);
        self.nodes.insert(id, Arc::new(node));
        self.nodes_changed(index, &[(id, Some(before))]);
        Ok(Reply::Written { version: index })
    }

    pub(super) fn remove_node(
        &mut self,
        index: u64,
        at: Timestamp,
        id: NodeId,
        force: bool,
    ) -> Applied {
        let node = self
            .nodes
            .get(&id)
            .ok_or_else(|| not_found(Kind::Node, &id))?;
        let name = node.description.hostname.clone();
        if self.is_last_manager(node) {
            return Err(Rejected::LastManager { name });
        }
        if node.is_manager() && !force {
            return Err(Rejected::StillManager { name });
        }
        if !node.is_down() && !force {
            return Err(Rejected::NodeNotDown { name });
        }
        let lost: Vec<_> = self
            .tasks_on(id)
            .filter(|task| !task.has_ended())
            .map(|task| task.id)
            .collect();
        for task in lost {
            self.change_task(index, at, task, |task| {
                task.status.state = TaskState::Orphaned;
                task.status.applied_at = at;
                task.status.message = "node removed".into();
                task.desired = task.desired.max(DesiredState::Shutdown);
            });
        }
        let before = self.nodes.remove(&id);
        self.nodes_changed(index, &[(id, before)]);
        Ok(Reply::Done)
    }

    pub(super) fn observe_nodes(
        &mut self,
        index: u64,
        at: Timestamp,
        news: Vec<NodeObservation>,
    ) -> Applied {
        let mut seen = Vec::with_capacity(news.len());
        for observation in news {
            let Some(node) = self.nodes.get_mut(&observation.node) else {
                continue;
            };
            seen.push((observation.node, Some(node.clone())));
            let node = Arc::make_mut(node);
            if let Some((state, message)) = observation.state {
                let since = if node.status.state == state {
                    node.status.since
                } else {
                    at
                };
                node.status = NodeStatus {
                    state,
                    message,
                    since,
                };
            }
            if let Some(description) = observation.description {
                node.description = description;
            }
            if let Some(addr) = observation.addr {
                node.addr = addr;
            }
            node.meta.write(index, at);
        }
        self.nodes_changed(index, &seen);
        Ok(Reply::Done)
    }

    pub(super) fn set_member(
        &mut self,
        index: u64,
        at: Timestamp,
        id: NodeId,
        raft_id: Option<u64>,
    ) -> Applied {
        let node = self
            .nodes
            .get_mut(&id)
            .ok_or_else(|| not_found(Kind::Node, &id))?;
        let node = Arc::make_mut(node);
        node.member = raft_id.map(|raft_id| RaftMember { raft_id });
        node.meta.write(index, at);
        self.touched.everything(index);
        Ok(Reply::Written { version: index })
    }

    /// Looks at all nodes for managers' sake only: most changes are of workers.
    fn is_last_manager(&self, node: &Node) -> bool {
        let managers = || self.nodes.values().filter(|node| node.is_manager());
        node.is_manager() && managers().nth(1).is_none()
    }

    /// Lets those services look again to which a change of nodes can matter: they have tasks
    /// there, or some that wait for a node or are to leave one, or want one on every node. `nodes`
    /// are those that changed, with what they were before.
    fn nodes_changed(&mut self, index: u64, nodes: &[(NodeId, Option<Arc<Node>>)]) {
        for (node, _) in nodes {
            self.index_node(*node);
        }
        let networks = self.mesh_networks();
        self.settle_gateways(&networks);
        let on_every_node =
            |service: &Service| matches!(service.spec.mode, Mode::Global(_) | Mode::GlobalJob(_));
        let concerned: BTreeSet<ServiceId> = nodes
            .iter()
            .flat_map(|(node, before)| self.concerned_on(*node, before.as_deref()))
            .chain(self.services_waiting_for_nodes())
            .chain(self.services_leaving_nodes())
            .chain(self.balanced.iter().copied())
            .chain(
                self.services
                    .values()
                    .filter(|service| on_every_node(service))
                    .map(|service| service.id),
            )
            .collect();
        for service in concerned {
            self.touched.service(service, index);
        }
        for (node, _) in nodes {
            self.touched.node(*node, index);
        }
        self.touched.everything(index);
    }

    /// The services with tasks on a node that has changed, but for those to which it is the same:
    /// where only labels differ, those that ask for none of these.
    fn concerned_on(&self, id: NodeId, before: Option<&Node>) -> BTreeSet<ServiceId> {
        let here: BTreeSet<ServiceId> = self.tasks_on(id).map(|task| task.service).collect();
        let (Some(before), Some(after)) = (before, self.nodes.get(&id)) else {
            return here;
        };
        let mut relabelled = before.clone();
        relabelled.meta = after.meta;
        relabelled.spec.labels.clone_from(&after.spec.labels);
        if relabelled != **after {
            return here;
        }
        let suits_both_or_none = |constraint: &String| {
            let constraint: Result<Constraint, _> = constraint.parse();
            constraint.is_ok_and(|it| it.holds(&before.facts()) == it.holds(&after.facts()))
        };
        let concerned = |id: &ServiceId| {
            self.services.get(id).is_none_or(|service| {
                let mut specs = service.specs.values();
                !specs.all(|spec| {
                    spec.task_template
                        .constraints()
                        .iter()
                        .all(suits_both_or_none)
                })
            })
        };
        here.into_iter().filter(concerned).collect()
    }

    /// Files a node by whether its tasks may stay.
    pub(super) fn index_node(&mut self, id: NodeId) {
        let node = self.nodes.get(&id);
        let drained = node.is_some_and(|node| node.is_drained());
        let down = node.is_some_and(|node| node.is_down());
        for (set, is_in) in [(&mut self.drained, drained), (&mut self.down, down)] {
            if is_in {
                set.insert(id);
            } else {
                set.remove(&id);
            }
        }
    }
}
