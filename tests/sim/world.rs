//! The cluster: state, leader and clock, moved on step by step.

use std::net::Ipv4Addr;

use swarmr::plan::{Agenda, Plan};
use swarmr::spec::device::Device;
use swarmr::spec::generic::GenericResource;
use swarmr::spec::network::Subnet;
use swarmr::spec::{
    Availability, ClusterId, ClusterSpec, Nanos, NetworkId, NodeId, NodeSpec, RequestId, Role,
    ServiceId, ServiceSpec, TaskId, Timestamp,
};
use swarmr::state::check::{check, check_slots};
use swarmr::state::cluster::{Authority, JoinTokens};
use swarmr::state::command::{AddNode, InitCluster, NodeObservation, ServiceChange};
use swarmr::state::node::{NodeDescription, NodeState};
use swarmr::state::{Change, Command, Op, Reply, State, Task};

use super::agents::Agents;

/// When the simulated time begins.
pub(super) const START: Timestamp = Timestamp(1_700_000_000_000_000_000);
/// How often agents do something.
const TICK: Nanos = Nanos::from_secs(1);
/// Ticks without any news after which time runs faster; longer than any container's patience.
const QUIET: u32 = 120;
/// Passes in which a leader must come to rest, whatever has happened.
const PASSES: usize = 12;

/// Where nothing changes, everything is looked at only so often: what a leader must wake for by
/// itself is found out so many looks later at the latest.
const RESTING: u32 = 8;

/// Called with the state before a plan is applied, and the plan.
pub(super) type Observer = Box<dyn FnMut(&State, &Plan)>;

pub(super) struct World {
    pub(super) state: State,
    pub(super) agents: Agents,
    pub(super) now: Timestamp,
    agenda: Agenda,
    /// What the leader's last passes said of rollouts.
    pub(super) last: Vec<Plan>,
    /// All commands so far, to be applied again.
    pub(super) log: Vec<Command>,
    observer: Option<Observer>,
    next_id: u128,
    /// Where everything was last looked at, and how often that was left out since.
    looked: (u64, u32),
}

/// What a node has.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) cpus: i64,
    pub(super) memory_gib: i64,
    pub(super) architecture: String,
    pub(super) has: Vec<GenericResource>,
    pub(super) devices: Vec<Device>,
    pub(super) plugins: Vec<(String, String)>,
}

impl World {
    /// A cluster of one node, `n1`, that is a manager.
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            state: State::default(),
            agents: Agents::new(),
            now: START,
            agenda: Agenda::new_leader(),
            last: Vec::new(),
            log: Vec::new(),
            observer: None,
            next_id: 1,
            looked: (0, 0),
        };
        let pool: Subnet = "10.0.0.0/8".parse().expect("a subnet");
        let (id, ingress) = (world.id(), world.id());
        let mut first = world.node_to_add(&Machine::named("n1"));
        first.role = Role::Manager;
        let node = first.id;
        world.propose(Op::InitCluster(Box::new(InitCluster {
            id: ClusterId::from_bits(id),
            spec: ClusterSpec::default(),
            authority: Authority {
                root_pem: String::new(),
                key_pem: String::new(),
            },
            join_tokens: JoinTokens {
                worker: String::new(),
                manager: String::new(),
            },
            address_pools: vec![pool],
            subnet_prefix: 24,
            data_path_port: 4789,
            seed,
            ingress: NetworkId::from_bits(ingress),
            first_node: first,
            first_raft_id: 1,
        })));
        world.observe(node, NodeState::Ready);
        world
    }

    pub(super) fn watch_plans(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    pub(super) fn id(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    /// Applies a command and checks that the state is sound after it.
    pub(super) fn propose(&mut self, op: Op) -> Reply {
        let command = Command { at: self.now, op };
        self.log.push(command.clone());
        let index = self.log.len() as u64;
        let reply = self.state.apply(index, command);
        let violations = check(&self.state);
        assert!(violations.is_empty(), "{violations:#?}");
        reply
    }

    /// Lets the leader plan until it finds nothing to do.
    pub(super) fn plan(&mut self) {
        self.last.clear();
        for _ in 0..PASSES {
            let plan = self.agenda.pass(&self.state, self.now);
            let changes = plan.changes.clone();
            let rests = self.look_at_everything(&changes);
            self.last.push(plan.clone());
            if changes.is_empty() {
                assert!(rests, "an agenda that has missed a reason");
                return;
            }
            if let Some(observer) = &mut self.observer {
                observer(&self.state, &plan);
            }
            self.lose(&changes);
            self.propose(Op::Plan(changes));
        }
        panic!("the leader finds no rest: {:#?}", self.last.last());
    }

    /// A plan that gets lost on its way is made again.
    fn lose(&mut self, changes: &[Change]) {
        let again = self.agenda.clone().pass(&self.state, self.now).changes;
        assert_eq!(decisions(changes), decisions(&again), "a plan is forgotten");
    }

    /// Looking at what changed finds what looking at everything finds. Whether there is nothing.
    fn look_at_everything(&mut self, changes: &[Change]) -> bool {
        let (index, left_out) = self.looked;
        if changes.is_empty() && index == self.state.index() && left_out < RESTING {
            self.looked.1 += 1;
            return true;
        }
        self.looked = (self.state.index(), 0);
        let whole = Agenda::new_leader().pass(&self.state, self.now).changes;
        assert_eq!(
            decisions(changes),
            decisions(&whole),
            "an agenda that has missed something"
        );
        if changes.is_empty() {
            let violations = check_slots(&self.state);
            assert!(violations.is_empty(), "{violations:#?}");
        }
        whole.is_empty()
    }

    /// Lets time pass: agents act every second, the leader plans when something has happened and
    /// when it asked to be woken. `seen` is called whenever the leader has come to rest.
    pub(super) fn advance(&mut self, length: Nanos, mut seen: impl FnMut(&Self)) {
        let end = self.now + length;
        // Times of the state run ahead of the clock by the nanoseconds that order commands.
        let slack = Nanos::from_millis(1);
        self.plan();
        seen(self);
        let mut quiet = 0;
        loop {
            let passed = (self.now - START).0 / TICK.0;
            // Where nothing has happened for long, agents are asked less often.
            let ticks = if quiet > QUIET { 60 } else { 1 };
            let tick = START + Nanos((passed + ticks) * TICK.0);
            let wake = self.agenda.wake_at().filter(|wake| *wake <= end + slack);
            let next = wake.map_or(tick, |wake| wake.min(tick));
            if next > end + slack {
                self.now = self.now.max(end);
                return;
            }
            self.now = next.max(self.now);
            let mut reported = false;
            if next == tick {
                let reports = self.agents.act(&self.state, self.now);
                reported = !reports.is_empty();
                if reported {
                    self.propose(Op::Report(reports));
                }
            }
            let index = self.state.index();
            self.plan();
            seen(self);
            quiet = if reported || self.state.index() > index {
                0
            } else {
                quiet + 1
            };
        }
    }

    /// Time passes in which nobody leads. Containers go on; what they come to is heard of later.
    pub(super) fn jump(&mut self, to: Timestamp) {
        let seconds = (to - self.now).0 / TICK.0;
        // Longer than any container has a next step.
        for _ in 0..seconds.clamp(0, 300) {
            self.agents.act(&self.state, self.now);
        }
        self.now = self.now.max(to);
    }

    pub(super) fn run_job(&mut self, id: ServiceId) -> Reply {
        let request = RequestId::from_bits(self.id());
        self.propose(Op::RunJob { id, request })
    }

    /// The leader makes a plan, but is gone before more than its first changes are in the log.
    pub(super) fn crash_halfway(&mut self, count: usize) {
        let mut plan = self.agenda.pass(&self.state, self.now);
        plan.changes.truncate(count);
        if !plan.changes.is_empty() {
            if let Some(observer) = &mut self.observer {
                observer(&self.state, &plan);
            }
            self.propose(Op::Plan(plan.changes));
        }
        self.crash_leader();
    }

    /// Another manager becomes the leader. It has the state from a snapshot and nothing else.
    pub(super) fn crash_leader(&mut self) {
        let snapshot = self.state.to_snapshot().expect("a snapshot");
        self.state = State::from_snapshot(&snapshot).expect("the same state");
        self.agenda = Agenda::new_leader();
    }

    pub(super) fn add_node(&mut self, machine: &Machine) -> NodeId {
        let add = self.node_to_add(machine);
        let id = add.id;
        self.propose(Op::AddNode(Box::new(add)));
        self.observe(id, NodeState::Ready);
        id
    }

    fn node_to_add(&mut self, machine: &Machine) -> AddNode {
        let id = self.id();
        // Ids are counted up from one, a few hundred at most.
        let host = u8::try_from(id % 250).unwrap_or(0) + 1;
        AddNode {
            id: NodeId::from_bits(id),
            role: Role::Worker,
            availability: Availability::Active,
            addr: format!("192.0.2.{host}:2377"),
            data_path_addr: Ipv4Addr::new(192, 0, 2, host),
            description: NodeDescription {
                hostname: machine.name.clone(),
                architecture: machine.architecture.clone(),
                os: "linux".to_owned(),
                nano_cpus: machine.cpus * 1_000_000_000,
                memory_bytes: machine.memory_gib << 30,
                generic_resources: machine.has.clone(),
                devices: machine.devices.clone(),
                plugins: machine.plugins.clone(),
                ..NodeDescription::default()
            },
        }
    }

    pub(super) fn observe(&mut self, node: NodeId, state: NodeState) {
        self.agents.set_up(node, state == NodeState::Ready);
        self.propose(Op::ObserveNodes(vec![NodeObservation {
            node,
            state: Some((state, String::new())),
            description: None,
            addr: None,
        }]));
    }

    pub(super) fn set_availability(&mut self, node: NodeId, availability: Availability) -> Reply {
        self.change_node(node, None, |spec| spec.availability = availability)
    }

    pub(super) fn set_role(&mut self, node: NodeId, role: Role) -> Reply {
        self.change_node(node, None, |spec| spec.role = role)
    }

    pub(super) fn drain(&mut self, node: NodeId, drain_limit: Option<Nanos>) -> Reply {
        self.change_node(node, drain_limit, |spec| {
            spec.availability = Availability::Drain;
        })
    }

    fn change_node(
        &mut self,
        node: NodeId,
        drain_limit: Option<Nanos>,
        change: impl FnOnce(&mut NodeSpec),
    ) -> Reply {
        let Some(found) = self.state.node(node) else {
            return Reply::Done;
        };
        let (version, mut spec) = (found.meta.version, found.spec.clone());
        change(&mut spec);
        self.propose(Op::UpdateNode {
            id: node,
            version,
            spec,
            drain_limit,
        })
    }

    /// The node says that it has that many CPUs now.
    pub(super) fn resize_node(&mut self, node: NodeId, cpus: u64) {
        self.describe_node(node, |description| {
            description.nano_cpus = i64::try_from(cpus).unwrap_or(0) * 1_000_000_000;
        });
    }

    /// The node says something else of itself now.
    pub(super) fn describe_node(
        &mut self,
        node: NodeId,
        change: impl FnOnce(&mut NodeDescription),
    ) {
        let Some(found) = self.state.node(node) else {
            return;
        };
        let mut description = found.description.clone();
        change(&mut description);
        self.propose(Op::ObserveNodes(vec![NodeObservation {
            node,
            state: None,
            description: Some(description),
            addr: None,
        }]));
    }

    pub(super) fn label_node(&mut self, node: NodeId, label: &str, value: &str) -> Reply {
        let Some(found) = self.state.node(node) else {
            return Reply::Done;
        };
        let (version, mut spec) = (found.meta.version, found.spec.clone());
        spec.labels.insert(label.to_owned(), value.to_owned());
        self.propose(Op::UpdateNode {
            id: node,
            version,
            spec,
            drain_limit: None,
        })
    }

    pub(super) fn create_service(&mut self, spec: ServiceSpec) -> Reply {
        let id = ServiceId::from_bits(self.id());
        self.propose(Op::CreateService {
            id,
            spec: Box::new(spec),
        })
    }

    pub(super) fn change_service(&mut self, id: ServiceId, change: ServiceChange) -> Reply {
        let version = self
            .state
            .service(id)
            .map_or(0, |service| service.meta.version);
        self.propose(Op::UpdateService {
            id,
            version,
            change: Box::new(change),
        })
    }

    /// The newest wanted task of a slot, as `web.2` or `web.n1`.
    pub(super) fn task_named(&self, name: &str) -> Option<TaskId> {
        let (service, slot) = name.rsplit_once('.')?;
        let service = self.state.find_service(service).ok()?;
        self.state
            .tasks_of(service.id)
            .filter(|task| task.is_wanted() && self.slot_name(task) == slot)
            .max_by_key(|task| task.meta.created_at)
            .map(|task| task.id)
    }

    /// The newest task of a slot that is not wanted any more and has not ended.
    pub(super) fn task_given_up(&self, name: &str) -> Option<TaskId> {
        let (service, slot) = name.rsplit_once('.')?;
        let service = self.state.find_service(service).ok()?;
        self.state
            .tasks_of(service.id)
            .filter(|task| !task.is_wanted() && !task.has_ended() && self.slot_name(task) == slot)
            .max_by_key(|task| task.meta.created_at)
            .map(|task| task.id)
    }

    /// The slot's number, or for a global service the node's name; of a job with its run: `0#3`.
    pub(super) fn slot_name(&self, task: &Task) -> String {
        let slot = match task.slot.node() {
            Some(node) => self.node_name(node),
            None => task.slot.to_string(),
        };
        match task.slot.run() {
            Some(run) => format!("{slot}#{run}"),
            None => slot,
        }
    }

    pub(super) fn node_name(&self, node: NodeId) -> String {
        self.state.node(node).map_or_else(
            || "(gone)".to_owned(),
            |node| node.description.hostname.clone(),
        )
    }

    /// The changes of the leader's passes since it last rested.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.last.iter().flat_map(|plan| &plan.changes)
    }
}

impl Machine {
    pub(super) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cpus: 4,
            memory_gib: 8,
            has: Vec::new(),
            devices: Vec::new(),
            plugins: Vec::new(),
            architecture: "x86_64".to_owned(),
        }
    }
}

/// What is decided, but not what is said of tasks that wait.
fn decisions(changes: &[Change]) -> Vec<&Change> {
    let reason = |change: &&Change| matches!(change, Change::SetWaiting { .. });
    changes.iter().filter(|change| !reason(change)).collect()
}
