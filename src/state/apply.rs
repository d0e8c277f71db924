//! Applying one command. Total and deterministic: no clock, no randomness, no panic; a refused
//! command leaves everything as it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cluster::JoinTokens;
use super::command::{
    AddNode, Command, InitCluster, NodeObservation, Op, Reply, ServiceChange, TaskReport,
};
use super::node::{NodeState, NodeStatus, RaftMember};
use super::object::{Config, Meta};
use super::rejected::{Kind, Rejected};
use super::service::{Endpoint, Previous, Rollout, RolloutState};
use super::task::{DesiredState, TaskState};
use super::{Cluster, Node, Service, State};
use crate::spec::service::Mode;
use crate::spec::{
    ClusterSpec, ConfigId, ConfigSpec, Nanos, NetworkId, NetworkSpec, NodeId, NodeSpec, Role,
    ServiceId, ServiceSpec, Timestamp,
};

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
            Op::UpdateNode { id, version, spec } => self.update_node(index, at, id, version, spec),
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
            Op::RemoveService { id } => self.remove_service(index, at, id),
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

    fn init_cluster(&mut self, index: u64, at: Timestamp, init: InitCluster) -> Applied {
        if self.cluster.is_some() {
            return Err(Rejected::ClusterExists);
        }
        self.cluster = Some(Arc::new(Cluster {
            id: init.id,
            meta: Meta::new(index, at),
            spec: init.spec,
            authority: init.authority,
            join_tokens: init.join_tokens,
            address_pools: init.address_pools,
            subnet_prefix: init.subnet_prefix,
            data_path_port: init.data_path_port,
            seed: init.seed,
        }));
        let node = init.first_node.id;
        self.add_node(index, at, init.first_node)?;
        self.set_member(index, at, node, Some(init.first_raft_id))?;
        let ingress = NetworkSpec {
            name: "ingress".to_owned(),
            ingress: true,
            ..NetworkSpec::default()
        };
        self.create_network(index, at, init.ingress, ingress)
    }

    fn update_cluster(
        &mut self,
        index: u64,
        at: Timestamp,
        version: u64,
        spec: ClusterSpec,
        worker_token: Option<String>,
        manager_token: Option<String>,
    ) -> Applied {
        let cluster = self.cluster.as_mut().ok_or(Rejected::NoCluster)?;
        check_version(Kind::Cluster, "default", cluster.meta.version, version)?;
        let cluster = Arc::make_mut(cluster);
        cluster.spec = spec;
        cluster.join_tokens = JoinTokens {
            worker: worker_token.unwrap_or_else(|| cluster.join_tokens.worker.clone()),
            manager: manager_token.unwrap_or_else(|| cluster.join_tokens.manager.clone()),
        };
        cluster.meta.write(index, at);
        Ok(Reply::Written { version: index })
    }

    fn add_node(&mut self, index: u64, at: Timestamp, add: AddNode) -> Applied {
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
            member: None,
        };
        self.nodes.insert(add.id, Arc::new(node));
        self.node_changed(index);
        Ok(Reply::Written { version: index })
    }

    fn update_node(
        &mut self,
        index: u64,
        at: Timestamp,
        id: NodeId,
        version: u64,
        spec: NodeSpec,
    ) -> Applied {
        let managers = self.nodes.values().filter(|node| node.is_manager()).count();
        let node = self
            .nodes
            .get_mut(&id)
            .ok_or_else(|| not_found(Kind::Node, &id))?;
        check_version(Kind::Node, &id.to_string(), node.meta.version, version)?;
        if node.is_manager() && spec.role == Role::Worker && managers == 1 {
            return Err(Rejected::LastManager {
                name: node.description.hostname.clone(),
            });
        }
        let node = Arc::make_mut(node);
        node.spec = spec;
        node.meta.write(index, at);
        self.node_changed(index);
        Ok(Reply::Written { version: index })
    }

    fn remove_node(&mut self, index: u64, at: Timestamp, id: NodeId, force: bool) -> Applied {
        let managers = self.nodes.values().filter(|node| node.is_manager()).count();
        let node = self
            .nodes
            .get(&id)
            .ok_or_else(|| not_found(Kind::Node, &id))?;
        let name = node.description.hostname.clone();
        if node.is_manager() && managers == 1 {
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
                task.status.message = "node removed".to_owned();
                task.desired = task.desired.max(DesiredState::Shutdown);
            });
        }
        self.nodes.remove(&id);
        self.node_changed(index);
        Ok(Reply::Done)
    }

    fn observe_nodes(&mut self, index: u64, at: Timestamp, news: Vec<NodeObservation>) -> Applied {
        for observation in news {
            let Some(node) = self.nodes.get_mut(&observation.node) else {
                continue;
            };
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
        self.node_changed(index);
        Ok(Reply::Done)
    }

    fn set_member(
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

    fn create_service(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        spec: ServiceSpec,
    ) -> Applied {
        // Proposed again after its first answer was lost; it may have been removed since.
        let made = self.services.get(&id).or_else(|| self.departed.get(&id));
        if let Some(made) = made {
            return Ok(Reply::Written {
                version: made.meta.version,
            });
        }
        if self.service_names.contains_key(&spec.name) {
            return Err(Rejected::NameTaken {
                kind: Kind::Service,
                name: spec.name,
            });
        }
        self.check_networks(&spec)?;
        let endpoint = self.allocate_endpoint(id, &spec, &Endpoint::default())?;
        let spec = Arc::new(spec);
        self.service_names.insert(spec.name.clone(), id);
        let service = Service {
            id,
            meta: Meta::new(index, at),
            specs: std::iter::once((index, spec.clone())).collect(),
            spec,
            spec_version: index,
            previous: None,
            endpoint,
            rollout: None,
        };
        self.put_service(index, service);
        Ok(Reply::Written { version: index })
    }

    fn update_service(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        version: u64,
        spec: ServiceSpec,
    ) -> Applied {
        let service = self
            .services
            .get(&id)
            .ok_or_else(|| not_found(Kind::Service, &id))?
            .clone();
        check_version(Kind::Service, service.name(), service.meta.version, version)?;
        let unchangeable = |what: &str| Rejected::Unchangeable {
            name: service.name().to_owned(),
            what: what.to_owned(),
        };
        if spec.name != service.spec.name {
            return Err(unchangeable("the name"));
        }
        if std::mem::discriminant::<Mode>(&spec.mode) != std::mem::discriminant(&service.spec.mode)
        {
            return Err(unchangeable("the mode"));
        }
        self.check_networks(&spec)?;
        let endpoint = self.allocate_endpoint(id, &spec, &service.endpoint)?;
        let redeploys = redeploys(&service.spec, &spec);
        let resumes = !redeploys && resumes(&service, &spec);
        let mut service = Arc::unwrap_or_clone(service);
        service.previous = previous(&service, &spec, redeploys);
        service.spec = Arc::new(spec);
        service.endpoint = endpoint;
        if let Some(rollout) = service.rollout.as_mut().filter(|_| resumes) {
            let (state, message) = if rollout.state.is_rollback() {
                (RolloutState::RollbackStarted, "rollback resumed")
            } else {
                (RolloutState::Updating, "update resumed")
            };
            *rollout = started(state, rollout.target, at, message);
        }
        if redeploys {
            service.spec_version = index;
            service.rollout = Some(started(
                RolloutState::Updating,
                index,
                at,
                "update in progress",
            ));
        }
        service
            .specs
            .insert(service.spec_version, service.spec.clone());
        service.meta.write(index, at);
        self.put_service(index, service);
        self.drop_unused_specs(id);
        Ok(Reply::Written { version: index })
    }

    fn roll_back_service(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        version: u64,
    ) -> Applied {
        let service = self
            .services
            .get(&id)
            .ok_or_else(|| not_found(Kind::Service, &id))?;
        check_version(Kind::Service, service.name(), service.meta.version, version)?;
        self.start_rollback(index, at, id, "manually requested rollback")?;
        Ok(Reply::Written { version: index })
    }

    /// Makes the previous spec current again. An automatic rollback leaves nothing to roll back to,
    /// and so does a manual one: it never oscillates.
    pub(super) fn start_rollback(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        message: &str,
    ) -> Applied {
        let service = self
            .services
            .get(&id)
            .ok_or_else(|| not_found(Kind::Service, &id))?
            .clone();
        let no_previous = || Rejected::NoPreviousSpec {
            name: service.name().to_owned(),
        };
        let previous = service.previous.clone().ok_or_else(no_previous)?;
        // Networks of the old spec may be gone by now; a rollback to them cannot be done.
        self.check_networks(&previous.spec)?;
        let endpoint = self.allocate_endpoint(id, &previous.spec, &service.endpoint)?;
        let mut service = Arc::unwrap_or_clone(service);
        service.spec = previous.spec;
        service.spec_version = previous.spec_version;
        service.previous = None;
        service.endpoint = endpoint;
        service
            .specs
            .insert(service.spec_version, service.spec.clone());
        service.rollout = Some(started(
            RolloutState::RollbackStarted,
            service.spec_version,
            at,
            message,
        ));
        service.meta.write(index, at);
        self.put_service(index, service);
        self.drop_unused_specs(id);
        Ok(Reply::Written { version: index })
    }

    fn remove_service(&mut self, index: u64, at: Timestamp, id: ServiceId) -> Applied {
        let service = self
            .services
            .remove(&id)
            .ok_or_else(|| not_found(Kind::Service, &id))?;
        self.service_names.remove(&service.spec.name);
        for (network, address) in &service.endpoint.virtual_addresses {
            self.change_network(*network, |network| network.release(*address));
        }
        let tasks: Vec<_> = self.tasks_of(id).map(|task| task.id).collect();
        for task in tasks {
            let never_ran = self
                .tasks
                .get(&task)
                .is_some_and(|task| task.node.is_none());
            if never_ran {
                self.delete_task(index, task);
            } else {
                self.change_task(index, at, task, |task| task.desired = DesiredState::Remove);
            }
        }
        let networks: BTreeSet<NetworkId> = self.networks_of(&service.spec).into_iter().collect();
        self.settle_gateways(&networks);
        self.touch_waiting(index);
        if self.tasks_of(id).next().is_none() {
            self.touched.forget(id, index);
        } else {
            self.departed.insert(id, service);
            self.touched.service(id, index);
        }
        Ok(Reply::Done)
    }

    fn check_networks(&self, spec: &ServiceSpec) -> Result<(), Rejected> {
        for network in spec.networks() {
            let known = network
                .target
                .parse()
                .is_ok_and(|id: NetworkId| self.networks.contains_key(&id));
            if !known {
                return Err(Rejected::NotFound {
                    kind: Kind::Network,
                    name: network.target.clone(),
                });
            }
        }
        Ok(())
    }

    fn put_service(&mut self, index: u64, service: Service) {
        let id = service.id;
        let networks: BTreeSet<NetworkId> = self
            .networks_of(&service.spec)
            .into_iter()
            .chain(
                self.services
                    .get(&id)
                    .map(|former| self.networks_of(&former.spec))
                    .into_iter()
                    .flatten(),
            )
            .collect();
        self.services.insert(id, Arc::new(service));
        self.settle_gateways(&networks);
        // It may hold addresses or ports now that others wait for, or have given some back.
        self.touch_waiting(index);
        self.touched.service(id, index);
    }

    /// Forgets specs that no task, and no rollback, refers to any more.
    pub(super) fn drop_unused_specs(&mut self, id: ServiceId) {
        let used: BTreeSet<u64> = self.tasks_of(id).map(|task| task.spec_version).collect();
        if let Some(service) = self.services.get_mut(&id) {
            let current = service.spec_version;
            if service
                .specs
                .keys()
                .any(|version| *version != current && !used.contains(version))
            {
                Arc::make_mut(service)
                    .specs
                    .retain(|version, _| *version == current || used.contains(version));
            }
        }
    }

    fn create_network(
        &mut self,
        index: u64,
        at: Timestamp,
        id: NetworkId,
        spec: NetworkSpec,
    ) -> Applied {
        // Proposed again after its first answer was lost.
        if let Some(made) = self.networks.get(&id) {
            return Ok(Reply::Written {
                version: made.meta.version,
            });
        }
        if self.network_names.contains_key(&spec.name) {
            return Err(Rejected::NameTaken {
                kind: Kind::Network,
                name: spec.name,
            });
        }
        let network = self.new_network(id, spec, Meta::new(index, at))?;
        self.network_names.insert(network.spec.name.clone(), id);
        self.networks.insert(id, Arc::new(network));
        self.touched.everything(index);
        Ok(Reply::Written { version: index })
    }

    fn remove_network(&mut self, id: NetworkId) -> Applied {
        let network = self
            .networks
            .get(&id)
            .ok_or_else(|| not_found(Kind::Network, &id))?;
        let user = self
            .services
            .values()
            .find(|service| self.networks_of(&service.spec).contains(&id))
            .map(|service| format!("service {}", service.name()))
            .or_else(|| {
                network.held.values().find_map(|holder| match holder {
                    super::network::Holder::Task(task) => Some(format!("task {task}")),
                    _ => None,
                })
            });
        if let Some(by) = user {
            return Err(Rejected::InUse {
                kind: Kind::Network,
                name: network.name().to_owned(),
                by,
            });
        }
        if let Some(network) = self.networks.remove(&id) {
            self.network_names.remove(&network.spec.name);
        }
        self.touched.everything(self.index);
        Ok(Reply::Done)
    }

    fn create_config(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ConfigId,
        spec: ConfigSpec,
    ) -> Applied {
        // Proposed again after its first answer was lost.
        if let Some(made) = self.configs.get(&id) {
            return Ok(Reply::Written {
                version: made.meta.version,
            });
        }
        if self.config_names.contains_key(&spec.name) {
            return Err(Rejected::NameTaken {
                kind: Kind::Config,
                name: spec.name,
            });
        }
        self.config_names.insert(spec.name.clone(), id);
        self.configs.insert(
            id,
            Arc::new(Config {
                id,
                meta: Meta::new(index, at),
                spec,
            }),
        );
        Ok(Reply::Written { version: index })
    }

    fn update_config(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ConfigId,
        version: u64,
        spec: ConfigSpec,
    ) -> Applied {
        let config = self
            .configs
            .get_mut(&id)
            .ok_or_else(|| not_found(Kind::Config, &id))?;
        check_version(
            Kind::Config,
            &config.spec.name,
            config.meta.version,
            version,
        )?;
        let same_payload = spec.data.0.is_empty() || spec.data == config.spec.data;
        if spec.name != config.spec.name
            || !same_payload
            || spec.templating != config.spec.templating
        {
            return Err(Rejected::Immutable {
                kind: Kind::Config,
                name: config.spec.name.clone(),
            });
        }
        let config = Arc::make_mut(config);
        config.spec.labels = spec.labels;
        config.meta.write(index, at);
        Ok(Reply::Written { version: index })
    }

    fn remove_config(&mut self, id: ConfigId) -> Applied {
        let config = self
            .configs
            .remove(&id)
            .ok_or_else(|| not_found(Kind::Config, &id))?;
        self.config_names.remove(&config.spec.name);
        Ok(Reply::Done)
    }

    fn report(&mut self, index: u64, at: Timestamp, reports: Vec<TaskReport>) -> Applied {
        for report in reports {
            let news = self.tasks.get(&report.task).is_some_and(|task| {
                task.node == Some(report.node)
                    && (report.state > task.status.state
                        || (report.state == task.status.state && differs(task, &report)))
            });
            if news {
                self.change_task(index, at, report.task, |task| take_report(task, at, report));
            }
        }
        Ok(Reply::Done)
    }

    /// A change of nodes can show in every service's placement.
    fn node_changed(&mut self, index: u64) {
        let networks = self.mesh_networks();
        self.settle_gateways(&networks);
        let services: Vec<ServiceId> = self.services.keys().copied().collect();
        for service in services {
            self.touched.service(service, index);
        }
        self.touched.everything(index);
    }
}

/// Whether a change of the spec means new tasks. A change of scale, of labels or of policies does not.
fn redeploys(old: &ServiceSpec, new: &ServiceSpec) -> bool {
    old.task_template != new.task_template
        || old.networks != new.networks
        || old.endpoint_spec != new.endpoint_spec
}

/// Whether an update of the policies alone sets a paused rollout going again.
fn resumes(service: &Service, new: &ServiceSpec) -> bool {
    let paused = service
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_paused());
    paused
        && (service.spec.update_config != new.update_config
            || service.spec.rollback_config != new.rollback_config)
}

/// What a rollback returns to after an update. While a rollout is unfinished, an update that only
/// scales, labels or changes policies must not make its half-deployed spec the one to return to:
/// what it was before stays, with the new scale.
fn previous(service: &Service, new: &ServiceSpec, redeploys: bool) -> Option<Previous> {
    let unfinished = service
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_active() || rollout.state.is_paused());
    if redeploys || !unfinished {
        return Some(Previous {
            spec: service.spec.clone(),
            spec_version: service.spec_version,
        });
    }
    service.previous.clone().map(|mut previous| {
        Arc::make_mut(&mut previous.spec).mode = new.mode.clone();
        previous
    })
}

fn started(state: RolloutState, target: u64, at: Timestamp, message: &str) -> Rollout {
    Rollout {
        state,
        target,
        started_at: at,
        completed_at: None,
        message: message.to_owned(),
        slots: 0,
        failures: 0,
        counted_until: at,
        settled_at: None,
    }
}

fn differs(task: &super::Task, report: &TaskReport) -> bool {
    task.status.container != report.container
        || task.status.err != report.err
        || task.status.message != report.message
}

fn take_report(task: &mut super::Task, at: Timestamp, report: TaskReport) {
    if report.state > task.status.state {
        task.status.applied_at = at;
        if report.state == TaskState::Running {
            task.running_since = Some(at);
        }
    }
    task.status.state = report.state;
    task.status.at = report.at;
    task.status.message = report.message;
    task.status.err = report.err;
    task.status.container = report.container.or_else(|| task.status.container.take());
}

fn not_found(kind: Kind, id: &impl ToString) -> Rejected {
    Rejected::NotFound {
        kind,
        name: id.to_string(),
    }
}

fn check_version(kind: Kind, name: &str, current: u64, sent: u64) -> Result<(), Rejected> {
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
