//! Tests of `apply`: tables of single rules, and what holds after any commands whatever.

mod addresses;
mod any;
mod rules;

use std::net::Ipv4Addr;

use super::cluster::{Authority, JoinTokens};
use super::command::{AddNode, InitCluster, NewTask};
use super::node::NodeDescription;
use super::rare::Rare;
use super::task::{DesiredState, Slot};
use super::{Command, Op, Reply, State};
use crate::spec::network::Subnet;
use crate::spec::service::{EndpointSpec, NetworkAttachmentConfig, PortConfig, PublishMode};
use crate::spec::{
    Availability, ClusterId, ClusterSpec, NetworkId, NodeId, Role, ServiceId, ServiceSpec, TaskId,
    Timestamp,
};

/// A state, and the next log index.
#[derive(Debug, Clone, Default)]
struct Log {
    state: State,
    now: i64,
}

impl Log {
    /// A cluster with one manager, node 1, which is ready.
    fn started() -> Self {
        let mut log = Self::default();
        let reply = log.apply(init());
        assert!(matches!(reply, Reply::Written { .. }), "{reply:?}");
        log.ready(1);
        log
    }

    fn apply(&mut self, op: Op) -> Reply {
        self.now += 1_000;
        let at = Timestamp(self.now);
        self.state.apply(self.state.index() + 1, Command { at, op })
    }

    fn ready(&mut self, id: u128) {
        self.observe(id, super::node::NodeState::Ready);
    }

    fn observe(&mut self, id: u128, state: super::node::NodeState) {
        self.apply(Op::ObserveNodes(vec![super::command::NodeObservation {
            node: node(id),
            state: Some((state, String::new())),
            description: None,
            addr: None,
        }]));
    }

    /// A ready worker.
    fn worker(&mut self, id: u128) {
        self.apply(Op::AddNode(Box::new(add_node(id, Role::Worker))));
        self.ready(id);
    }

    fn create(&mut self, id: u128, spec: ServiceSpec) -> Reply {
        self.apply(Op::CreateService {
            id: service(id),
            spec: Box::new(spec),
        })
    }

    fn version_of(&self, id: u128) -> u64 {
        let service = self.state.service(service(id)).expect("the service");
        service.meta.version
    }

    /// How many changes were taken.
    fn plan(&mut self, changes: Vec<super::Change>) -> u64 {
        match self.apply(Op::Plan(changes)) {
            Reply::Planned { taken, .. } => taken,
            other => panic!("{other:?}"),
        }
    }

    /// A task of that service's current spec, assigned to a node.
    fn placed(&mut self, id: u128, of: u128, slot: u64, on: u128) {
        let new = new_task(&self.state, id, of, slot);
        let assign = super::Change::Assign {
            task: task_of(of, id),
            node: node(on),
        };
        assert_eq!(self.plan(vec![super::Change::CreateTask(new), assign]), 2);
    }

    /// A running task of that service's current spec, on node 1.
    fn running(&mut self, id: u128, of: u128, slot: u64) {
        self.placed(id, of, slot, 1);
        self.report(task_of(of, id), super::task::TaskState::Running);
    }

    fn report(&mut self, task: TaskId, state: super::task::TaskState) {
        let at = Timestamp(self.now);
        self.apply(Op::Report(vec![super::command::TaskReport {
            node: node(1),
            task,
            state,
            at,
            message: String::new(),
            err: String::new(),
            container: None,
        }]));
    }
}

fn node(id: u128) -> NodeId {
    NodeId::from_bits(id)
}

fn service(id: u128) -> ServiceId {
    ServiceId::from_bits(id)
}

/// A task of service 1.
fn task(id: u128) -> TaskId {
    task_of(1, id)
}

fn task_of(of: u128, id: u128) -> TaskId {
    TaskId::of(service(of), u64::try_from(id).expect("a small number"))
}

fn network(id: u128) -> NetworkId {
    NetworkId::from_bits(id)
}

fn init() -> Op {
    let pool: Subnet = "10.0.0.0/24".parse().expect("a subnet");
    Op::InitCluster(Box::new(InitCluster {
        id: ClusterId::from_bits(1),
        spec: ClusterSpec::default(),
        authority: Authority {
            root_pem: "root".to_owned(),
            key_pem: "key".to_owned(),
        },
        join_tokens: JoinTokens {
            worker: "worker".to_owned(),
            manager: "manager".to_owned(),
        },
        address_pools: vec![pool],
        subnet_prefix: 28,
        data_path_port: 4789,
        seed: 7,
        ingress: network(1),
        first_node: add_node(1, Role::Manager),
        first_raft_id: 1,
    }))
}

fn add_node(id: u128, role: Role) -> AddNode {
    AddNode {
        id: node(id),
        role,
        availability: Availability::Active,
        addr: "192.0.2.1:2377".to_owned(),
        data_path_addr: Ipv4Addr::new(192, 0, 2, 1),
        description: NodeDescription {
            hostname: format!("n{id}"),
            nano_cpus: 4_000_000_000,
            ..NodeDescription::default()
        },
    }
}

fn named(name: &str) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        ..ServiceSpec::default()
    }
}

fn image(mut spec: ServiceSpec, image: &str) -> ServiceSpec {
    image.clone_into(&mut spec.task_template.container_spec.image);
    spec
}

fn on_network(mut spec: ServiceSpec, id: u128) -> ServiceSpec {
    spec.task_template.networks = vec![NetworkAttachmentConfig {
        target: network(id).to_string(),
        ..NetworkAttachmentConfig::default()
    }];
    spec
}

fn publishing(mut spec: ServiceSpec, port: u16, publish_mode: PublishMode) -> ServiceSpec {
    spec.endpoint_spec = Some(EndpointSpec {
        mode: None,
        ports: vec![PortConfig {
            target_port: 80,
            published_port: port,
            publish_mode,
            ..PortConfig::default()
        }],
    });
    spec
}

fn new_task(state: &State, id: u128, of: u128, slot: u64) -> NewTask {
    let version = state
        .service(service(of))
        .map_or(0, |service| service.spec_version);
    NewTask {
        id: task_of(of, id),
        service: service(of),
        slot: Slot::Replica(slot),
        spec_version: version,
        node: None,
        desired: DesiredState::Running,
        gate: Rare::default(),
        in_rollout: false,
        in_move: false,
        taken_at: None,
        restarts: Rare::default(),
    }
}
