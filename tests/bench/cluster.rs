//! A cluster in memory: state, leader and clock; agents that do at once what they are told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use swarmr::plan::Agenda;
use swarmr::spec::policy::UpdateConfig;
use swarmr::spec::service::{
    Placement, PlacementPreference, Replicated, ResourceRequirements, Resources, SpreadOver,
};
use swarmr::spec::{
    Availability, ClusterId, ClusterSpec, Mode, Nanos, NetworkId, NodeId, NodeSpec, Role,
    ServiceId, ServiceSpec, TaskId, Timestamp,
};
use swarmr::state::cluster::{Authority, JoinTokens};
use swarmr::state::command::{AddNode, InitCluster, NodeObservation, ServiceChange, TaskReport};
use swarmr::state::node::{NodeDescription, NodeState};
use swarmr::state::service::RolloutState;
use swarmr::state::task::{ContainerStatus, TaskState};
use swarmr::state::{Command, Op, State};

/// How large a cluster is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) nodes: u64,
    pub(crate) services: u64,
    pub(crate) replicas: u64,
}

impl Size {
    pub(crate) const fn tasks(self) -> u64 {
        self.services * self.replicas
    }
}

/// Reports that agents make at a time.
const BATCH: usize = 10_000;
const CPU: i64 = 1_000_000_000;
const GIB: i64 = 1 << 30;

#[derive(Debug)]
pub(crate) struct Cluster {
    state: State,
    agenda: Agenda,
    now: Timestamp,
    size: Size,
    next_id: u128,
}

impl Cluster {
    /// Nodes, and services that have no tasks yet.
    pub(crate) fn of(size: Size) -> Self {
        let mut cluster = Self::without_services(size);
        for n in 0..size.services {
            cluster.create(service(&format!("service-{n}"), size.replicas));
        }
        cluster
    }

    /// Nodes of which nine tenths are taken, all tasks running.
    pub(crate) fn nearly_full(nodes: u64) -> Self {
        let size = Size {
            nodes,
            services: 10,
            replicas: nodes * 6 / 10,
        };
        let mut cluster = Self::without_services(size);
        for n in 0..size.services {
            let mut spec = service(&format!("service-{n}"), size.replicas);
            let resources = spec.task_template.resources.get_or_insert_default();
            if let Some(reservations) = &mut resources.reservations {
                reservations.nano_cpus = 64 * CPU / 10;
            }
            cluster.create(spec);
        }
        cluster.settle();
        cluster.run_all();
        cluster
    }

    fn without_services(size: Size) -> Self {
        let mut cluster = Self {
            state: State::default(),
            agenda: Agenda::new_leader(),
            now: Timestamp(1_700_000_000_000_000_000),
            size,
            next_id: 1,
        };
        cluster.apply(init());
        let first = NodeId::from_bits(1);
        cluster.ready(first, Availability::Drain);
        for n in 0..size.nodes {
            let id = cluster.id();
            let mut node = add_node(id);
            node.description.hostname = format!("n{n}");
            cluster.apply(Op::AddNode(Box::new(node)));
            cluster.ready(NodeId::from_bits(id), Availability::Active);
            cluster.label(NodeId::from_bits(id), n);
        }
        cluster
    }

    fn id(&mut self) -> u128 {
        self.next_id += 1;
        // As random ids are: spread over the whole range, in no order.
        self.next_id
            .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }

    fn apply(&mut self, op: Op) {
        let command = Command { at: self.now, op };
        self.state.apply(self.state.index() + 1, command);
    }

    fn ready(&mut self, node: NodeId, availability: Availability) {
        self.apply(Op::ObserveNodes(vec![NodeObservation {
            node,
            state: Some((NodeState::Ready, String::new())),
            description: None,
            addr: None,
        }]));
        self.change_node(node, |spec| spec.availability = availability);
    }

    fn change_node(&mut self, id: NodeId, change: impl FnOnce(&mut NodeSpec)) {
        let node = self.state.node(id).expect("a node");
        let (version, mut spec) = (node.meta.version, node.spec.clone());
        change(&mut spec);
        self.apply(Op::UpdateNode {
            id,
            version,
            spec,
            drain_limit: None,
        });
    }

    /// Three zones; every third node is of the kind that the services do not want.
    fn label(&mut self, node: NodeId, n: u64) {
        let kind = if n.is_multiple_of(3) { "slow" } else { "fast" };
        let zone = format!("z{}", n / 3 % 3);
        self.change_node(node, |spec| {
            spec.labels.insert("kind".to_owned(), kind.to_owned());
            spec.labels.insert("zone".to_owned(), zone);
        });
    }

    fn create(&mut self, spec: ServiceSpec) -> ServiceId {
        let id = ServiceId::from_bits(self.id());
        self.apply(Op::CreateService {
            id,
            spec: Box::new(spec),
        });
        id
    }

    /// Lets the leader act until it finds nothing to do; how many tasks it placed.
    pub(crate) fn settle(&mut self) -> u64 {
        let mut placed = 0;
        loop {
            let changes = self.agenda.pass(&self.state, self.now).changes;
            if changes.is_empty() {
                return placed;
            }
            placed += changes
                .iter()
                .filter(|change| change.placed_on().is_some())
                .count() as u64;
            self.apply(Op::Plan(changes));
        }
    }

    /// Agents start whatever was given to them, and stop what is to stop.
    fn act(&mut self, services: &[ServiceId]) -> bool {
        let mut reports = Vec::new();
        for service in services {
            for task in self.state.tasks_of(*service) {
                let Some(node) = task.node.filter(|_| !task.has_ended()) else {
                    continue;
                };
                let state = if task.is_wanted() {
                    TaskState::Running
                } else {
                    TaskState::Shutdown
                };
                if task.status.state != state {
                    reports.push(report(node, task.id, state, self.now));
                }
            }
        }
        let news = !reports.is_empty();
        while !reports.is_empty() {
            let rest = reports.split_off(reports.len().min(BATCH));
            self.apply(Op::Report(std::mem::replace(&mut reports, rest)));
        }
        news
    }

    /// Every task comes to run.
    pub(crate) fn run_all(&mut self) {
        let services: Vec<ServiceId> = self.state.services().map(|service| service.id).collect();
        while self.act(&services) {
            self.settle();
        }
    }

    /// On the nodes that services want, no service has two tasks more on one than on another.
    pub(crate) fn check_balance(&self) {
        let wanted: Vec<NodeId> = self
            .state
            .nodes()
            .filter(|node| {
                node.spec
                    .labels
                    .get("kind")
                    .is_some_and(|kind| kind == "fast")
            })
            .map(|node| node.id)
            .collect();
        for service in self.state.services() {
            let mut counts: BTreeMap<NodeId, u64> = wanted.iter().map(|node| (*node, 0)).collect();
            for task in self.state.tasks_of(service.id) {
                let node = task.node.expect("a node");
                *counts.get_mut(&node).expect("a node that is wanted") += 1;
            }
            let (most, least) = (counts.values().max(), counts.values().min());
            let apart = most.zip(least).map_or(0, |(most, least)| most - least);
            assert!(apart <= 1, "{} is uneven", service.name());
        }
        for node in self.state.nodes() {
            let used = self.state.usage(node.id).nano_cpus;
            assert!(used <= node.description.nano_cpus, "over-committed");
        }
    }

    /// A task of the n-th service fails and is replaced: the time to decide and write that.
    pub(crate) fn exit_one(&mut self, n: u64) -> Duration {
        let task = self.some_task(n);
        let (id, node) = (task.0, task.1);
        self.apply(Op::Report(vec![report(
            node,
            id,
            TaskState::Failed,
            self.now,
        )]));
        let start = Instant::now();
        self.settle();
        start.elapsed()
    }

    fn some_task(&self, n: u64) -> (TaskId, NodeId) {
        let services = self.size.services;
        let service = self
            .state
            .services()
            .nth(usize::try_from(n * 37 % services).unwrap_or(0))
            .expect("a service");
        let task = self
            .state
            .tasks_of(service.id)
            .filter(|task| task.status.state == TaskState::Running)
            .nth(usize::try_from(n % self.size.replicas).unwrap_or(0) / 2)
            .expect("a running task");
        (task.id, task.node.expect("a node"))
    }

    /// A node gets a label that nobody asks for.
    pub(crate) fn relabel(&mut self, n: u64) -> Duration {
        let id = self.nth_node(n);
        let start = Instant::now();
        self.change_node(id, |spec| {
            spec.labels.insert("note".to_owned(), n.to_string());
        });
        self.settle();
        start.elapsed()
    }

    fn nth_node(&self, n: u64) -> NodeId {
        let place = usize::try_from(n * 101 % self.size.nodes).unwrap_or(0);
        self.state.nodes().nth(place).expect("a node").id
    }

    /// The tasks of a node that goes silent get other nodes.
    pub(crate) fn lose_node(&mut self, n: u64) -> Duration {
        let busy = (n..n + self.size.nodes)
            .map(|n| self.nth_node(n))
            .find(|node| self.state.usage(*node).active > 0)
            .expect("a node with tasks");
        let lost = self.state.usage(busy).active;
        let start = Instant::now();
        self.apply(Op::ObserveNodes(vec![NodeObservation {
            node: busy,
            state: Some((NodeState::Down, "silent".to_owned())),
            description: None,
            addr: None,
        }]));
        let placed = self.settle();
        let time = start.elapsed();
        assert!(placed >= lost, "{placed} of {lost} tasks were placed again");
        time
    }

    /// One more service of one task: the time to decide where it goes and to write that.
    pub(crate) fn place_one(&mut self, n: u64) -> Duration {
        let id = self.create(service(&format!("one-{n}"), 1));
        let start = Instant::now();
        let plan = self.agenda.pass(&self.state, self.now);
        self.apply(Op::Plan(plan.changes));
        let time = start.elapsed();
        self.settle();
        self.act(&[id]);
        self.settle();
        time
    }

    /// The first service gets another image; until the update has ended.
    pub(crate) fn roll(&mut self) {
        let service = self.state.services().next().expect("a service").clone();
        let mut spec = (*service.spec).clone();
        spec.task_template.container_spec.image = "web:2".to_owned();
        self.apply(Op::UpdateService {
            id: service.id,
            version: service.meta.version,
            change: Box::new(ServiceChange::Spec(spec)),
        });
        for _ in 0..100_000 {
            self.settle();
            if !self.act(&[service.id]) {
                self.now = self.now + Nanos::from_secs(1);
                let rollout = self
                    .state
                    .service(service.id)
                    .and_then(|it| it.rollout.as_ref());
                if rollout.is_some_and(|it| it.state == RolloutState::Completed) {
                    return;
                }
            }
        }
        panic!("the update does not end");
    }
}

fn init() -> Op {
    Op::InitCluster(Box::new(InitCluster {
        id: ClusterId::from_bits(1),
        spec: ClusterSpec::default(),
        authority: Authority {
            root_pem: String::new(),
            key_pem: String::new(),
        },
        join_tokens: JoinTokens {
            worker: String::new(),
            manager: String::new(),
        },
        address_pools: vec!["10.0.0.0/8".parse().expect("a subnet")],
        subnet_prefix: 16,
        data_path_port: 4789,
        seed: 7,
        ingress: NetworkId::from_bits(1),
        first_node: AddNode {
            role: Role::Manager,
            ..add_node(1)
        },
        first_raft_id: 1,
    }))
}

fn add_node(id: u128) -> AddNode {
    AddNode {
        id: NodeId::from_bits(id),
        role: Role::Worker,
        availability: Availability::Active,
        addr: "192.0.2.1:2377".to_owned(),
        data_path_addr: Ipv4Addr::new(192, 0, 2, 1),
        description: NodeDescription {
            hostname: "first".to_owned(),
            architecture: "x86_64".to_owned(),
            os: "linux".to_owned(),
            nano_cpus: 64 * CPU,
            memory_bytes: 256 * GIB,
            ..NodeDescription::default()
        },
    }
}

/// Reserves some CPU and memory, wants two thirds of the nodes, spreads over three zones.
fn service(name: &str, replicas: u64) -> ServiceSpec {
    let mut spec = ServiceSpec {
        name: name.to_owned(),
        mode: Mode::Replicated(Replicated {
            replicas: Some(replicas),
        }),
        update_config: Some(UpdateConfig {
            parallelism: 100,
            ..UpdateConfig::default()
        }),
        ..ServiceSpec::default()
    };
    let template = &mut spec.task_template;
    template.container_spec.image = "web:1".to_owned();
    template.resources = Some(ResourceRequirements {
        limits: None,
        reservations: Some(Resources {
            nano_cpus: CPU / 10,
            memory_bytes: GIB / 2,
            ..Resources::default()
        }),
    });
    template.placement = Some(Placement {
        constraints: vec!["node.labels.kind!=slow".to_owned()],
        preferences: vec![PlacementPreference {
            spread: Some(SpreadOver {
                spread_descriptor: "node.labels.zone".to_owned(),
            }),
        }],
        ..Placement::default()
    });
    spec
}

fn report(node: NodeId, task: TaskId, state: TaskState, at: Timestamp) -> TaskReport {
    TaskReport {
        node,
        task,
        state,
        at,
        message: "started".to_owned(),
        err: String::new(),
        container: Some(ContainerStatus {
            id: format!("{:064x}", task.bits()).as_str().into(),
            pid: 4242,
            exit_code: 0,
        }),
    }
}
