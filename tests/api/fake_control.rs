//! A daemon of one manager without Raft: what is proposed is applied to a state in memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use swarmr::api::Control;
use swarmr::api::control::{
    Consensus, InitRequest, JoinRequest, LifecycleError, ProposeError, Standing, Unavailable,
};
use swarmr::api::wire::doctor::Examination;
use swarmr::api::wire::planning::{Explanation, Rehearsal};
use swarmr::daemon::planning;
use swarmr::spec::service::Labels;
use swarmr::spec::{
    Availability, ClusterId, ClusterSpec, NetworkId, NodeId, Role, ServiceId, TaskId, Timestamp,
};
use swarmr::state::cluster::{Authority, JoinTokens};
use swarmr::state::command::{AddNode, Change, InitCluster, NewTask, NodeObservation, TaskReport};
use swarmr::state::node::{NodeDescription, NodeState};
use swarmr::state::rare::Rare;
use swarmr::state::task::{ContainerStatus, DesiredState, Slot, TaskState};
use swarmr::state::{Command, Op, Rejected, Reply, Service, State};
use tokio::sync::watch;

pub(crate) const WORKER_TOKEN: &str =
    "SWMTKN-1-4v1nz8pnziz5kzgrz9hqmnp5czn41rkqo5zo1eijq9vqp2k6bw-0kja2g8lvskjopm1mc7d983d0";

/// How the managers behave.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) no_quorum: AtomicBool,
    /// Proposals end without anybody knowing how.
    pub(crate) unknown: AtomicBool,
    pub(crate) panics: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct FakeControl {
    state: Mutex<State>,
    publisher: watch::Sender<Arc<State>>,
    standing: Mutex<Standing>,
    consensus: Mutex<Consensus>,
    ids: AtomicU64,
    pub(crate) faults: Faults,
}

impl FakeControl {
    /// In no cluster.
    pub(crate) fn outside() -> Self {
        Self {
            state: Mutex::default(),
            publisher: watch::channel(Arc::default()).0,
            standing: Mutex::new(Standing::Inactive),
            consensus: Mutex::default(),
            ids: AtomicU64::new(1),
            faults: Faults::default(),
        }
    }

    /// The only manager, and node, of a cluster with a recorded root.
    pub(crate) fn manager(fixture: &crate::api::harness::Recorded) -> Self {
        let control = Self::outside();
        control.begin(
            fixture.cluster,
            fixture.node,
            fixture.ingress,
            fixture.root_pem.clone(),
            ClusterSpec::default(),
        );
        control
    }

    /// Goes on from where another manager stopped, once its state has been seen.
    pub(crate) fn take_over(&self, other: &Self) {
        *lock(&self.state) = State::clone(&other.state());
        self.publisher.send_replace(other.state());
        self.set_standing(lock(&other.standing).clone());
        self.set_consensus(lock(&other.consensus).clone());
    }

    pub(crate) fn set_standing(&self, standing: Standing) {
        *lock(&self.standing) = standing;
    }

    pub(crate) fn set_consensus(&self, consensus: Consensus) {
        *lock(&self.consensus) = consensus;
    }

    /// Applies one command; a refusal is the test's own mistake.
    pub(crate) fn apply(&self, op: Op) -> u64 {
        match self.try_apply(op) {
            Reply::Rejected(rejected) => panic!("the state refused: {rejected}"),
            Reply::Planned { skipped, .. } => {
                assert_eq!(skipped, 0, "the state skipped a change");
                self.state().index()
            }
            _ => self.state().index(),
        }
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.publisher.borrow().clone()
    }

    /// A worker that is ready.
    pub(crate) fn add_worker(&self, id: NodeId, hostname: &str) {
        self.apply(Op::AddNode(Box::new(AddNode {
            id,
            role: Role::Worker,
            availability: Availability::Active,
            addr: "10.99.0.2:2377".to_owned(),
            data_path_addr: [10, 99, 0, 2].into(),
            description: description(hostname),
        })));
        self.node_state(id, NodeState::Ready);
    }

    pub(crate) fn node_state(&self, node: NodeId, state: NodeState) {
        self.apply(Op::ObserveNodes(vec![NodeObservation {
            node,
            state: Some((state, String::new())),
            description: None,
            addr: None,
        }]));
    }

    /// One task of the service's current spec, put on a node and reported in that state.
    pub(crate) fn run_task(
        &self,
        service: ServiceId,
        slot: Slot,
        node: NodeId,
        state: TaskState,
    ) -> TaskId {
        self.task(service, slot, node, DesiredState::Running, state)
    }

    pub(crate) fn task(
        &self,
        service: ServiceId,
        slot: Slot,
        node: NodeId,
        desired: DesiredState,
        state: TaskState,
    ) -> TaskId {
        // Cut off on purpose.
        let id = TaskId::of(service, self.fresh_id() as u64);
        let spec_version = self.state().service(service).unwrap().spec_version;
        self.apply(Op::Plan(vec![
            Change::CreateTask(NewTask {
                id,
                service,
                slot,
                spec_version,
                node: None,
                desired,
                gate: Rare::default(),
                restarts: Rare::default(),
                in_rollout: false,
                in_move: false,
                taken_at: None,
            }),
            Change::Assign { task: id, node },
        ]));
        self.report(id, node, state);
        id
    }

    pub(crate) fn set_desired(&self, task: TaskId, desired: DesiredState) {
        self.apply(Op::Plan(vec![Change::SetDesired { task, desired }]));
    }

    pub(crate) fn report(&self, task: TaskId, node: NodeId, state: TaskState) {
        let (message, container) = match state {
            TaskState::Running => ("started", Some(container(task))),
            TaskState::Shutdown => ("shutdown", Some(container(task))),
            TaskState::Ready => ("prepared", None),
            _ => ("", None),
        };
        self.apply(Op::Report(vec![TaskReport {
            node,
            task,
            state,
            at: self.now(),
            message: message.to_owned(),
            err: String::new(),
            container,
        }]));
    }

    fn begin(
        &self,
        cluster: ClusterId,
        node: NodeId,
        ingress: NetworkId,
        root_pem: String,
        spec: ClusterSpec,
    ) {
        self.apply(Op::InitCluster(Box::new(InitCluster {
            id: cluster,
            spec,
            authority: Authority {
                root_pem,
                key_pem: String::new(),
            },
            join_tokens: JoinTokens {
                worker: WORKER_TOKEN.to_owned(),
                manager: WORKER_TOKEN.replace("0kja2g8lvsk", "414vd7h8hzx"),
            },
            address_pools: vec!["10.0.0.0/8".parse().unwrap()],
            subnet_prefix: 24,
            data_path_port: 4789,
            seed: 7,
            ingress,
            first_node: AddNode {
                id: node,
                role: Role::Manager,
                availability: Availability::Active,
                addr: "10.99.0.1:2377".to_owned(),
                data_path_addr: [10, 99, 0, 1].into(),
                description: description("eco1"),
            },
            first_raft_id: 1,
        })));
        self.node_state(node, NodeState::Ready);
        self.set_standing(Standing::Member {
            node,
            cluster,
            role: Role::Manager,
            addr: "10.99.0.1:2377".to_owned(),
            managers: vec![(node, "10.99.0.1:2377".to_owned())],
        });
        self.set_consensus(Consensus {
            term: 1,
            leader: Some(node),
            voters: vec![node],
            ..Consensus::default()
        });
    }

    fn try_apply(&self, op: Op) -> Reply {
        let mut state = lock(&self.state);
        let index = state.index() + 1;
        let reply = state.apply(index, Command { at: self.now(), op });
        self.publisher.send_replace(Arc::new(state.clone()));
        reply
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn container(task: TaskId) -> ContainerStatus {
    ContainerStatus {
        id: format!("{:064x}", task.bits()).as_str().into(),
        pid: 4242,
        exit_code: 0,
    }
}

fn description(hostname: &str) -> NodeDescription {
    NodeDescription {
        hostname: hostname.to_owned(),
        architecture: "x86_64".to_owned(),
        os: "linux".to_owned(),
        nano_cpus: 2_000_000_000,
        memory_bytes: 25_276_510_208,
        engine_version: "20.10.24+dfsg1".to_owned(),
        engine_labels: if hostname == "eco1" {
            Labels::new()
        } else {
            [("disk".to_owned(), "ssd".to_owned())].into()
        },
        plugins: vec![
            ("Log".to_owned(), "json-file".to_owned()),
            ("Network".to_owned(), "bridge".to_owned()),
            ("Network".to_owned(), "overlay".to_owned()),
            ("Volume".to_owned(), "local".to_owned()),
        ],
        ..NodeDescription::default()
    }
}

#[async_trait]
impl Control for FakeControl {
    async fn examine(
        &self,
        _node: NodeId,
        _addr: &str,
        _mend: bool,
    ) -> Result<Examination, String> {
        Ok(Examination::default())
    }

    fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    fn local_state(&self) -> Arc<State> {
        self.state()
    }

    fn watch_state(&self) -> watch::Receiver<Arc<State>> {
        self.publisher.subscribe()
    }

    async fn read(&self) -> Result<Arc<State>, Unavailable> {
        assert!(!self.faults.panics.load(Ordering::Relaxed), "told to panic");
        match self.standing() {
            Standing::Member {
                role: Role::Worker, ..
            } => Err(Unavailable::NotManager),
            Standing::Member { .. } if self.faults.no_quorum.load(Ordering::Relaxed) => Err(
                Unavailable::NoQuorum("no quorum: 1 of 3 managers answer".to_owned()),
            ),
            Standing::Member { .. } => Ok(self.state()),
            Standing::Inactive | Standing::Pending => Err(Unavailable::NotInCluster),
        }
    }

    async fn propose(&self, op: Op) -> Result<Reply, ProposeError> {
        self.read().await?;
        if self.faults.unknown.load(Ordering::Relaxed) {
            return Err(ProposeError::Unknown("the leader was lost".to_owned()));
        }
        Ok(self.try_apply(op))
    }

    async fn init(&self, request: InitRequest) -> Result<NodeId, LifecycleError> {
        if self.standing() != Standing::Inactive {
            return Err(LifecycleError::AlreadyMember);
        }
        let node = NodeId::from_bits(self.fresh_id());
        self.begin(
            ClusterId::from_bits(self.fresh_id()),
            node,
            NetworkId::from_bits(self.fresh_id()),
            String::new(),
            request.spec,
        );
        Ok(node)
    }

    async fn join(&self, request: JoinRequest) -> Result<NodeId, LifecycleError> {
        if self.standing() != Standing::Inactive {
            return Err(LifecycleError::AlreadyMember);
        }
        if request.token != WORKER_TOKEN {
            return Err(LifecycleError::Denied(
                "the join token was refused".to_owned(),
            ));
        }
        Err(LifecycleError::Unreachable(format!(
            "nobody answers at {}",
            request.remote_addrs.join(", ")
        )))
    }

    async fn leave(&self, force: bool) -> Result<(), LifecycleError> {
        match self.standing() {
            Standing::Inactive => Err(LifecycleError::NotMember),
            _ if !force => Err(LifecycleError::Unsafe(
                "this is the last manager: leaving ends the cluster; use --force".to_owned(),
            )),
            _ => {
                self.set_standing(Standing::Inactive);
                Ok(())
            }
        }
    }

    fn fresh_token(&self) -> Result<String, Unavailable> {
        Ok(format!("SWMTKN-1-fresh-{}", self.fresh_id()))
    }

    /// Spread over the whole range, so that ids differ in their first character too.
    fn fresh_id(&self) -> u128 {
        let ordinal = u128::from(self.ids.fetch_add(1, Ordering::Relaxed));
        ordinal.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }

    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(i64::try_from(since_epoch.as_nanos()).unwrap())
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

    fn consensus(&self) -> Consensus {
        lock(&self.consensus).clone()
    }
}
