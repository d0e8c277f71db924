//! Random histories: what may happen to a cluster, in any order.

use proptest::prelude::*;
use swarmr::spec::device::Device;
use swarmr::spec::extension;
use swarmr::spec::generic::GenericResource;
use swarmr::spec::{Availability, Mode, NodeId, ServiceId};
use swarmr::state::command::{ServiceChange, Steer};
use swarmr::state::node::NodeState;
use swarmr::state::task::TaskState;
use swarmr::state::{Op, Service};

use super::agents::Image;
use super::specs::{Words, spec};
use super::world::{Machine, World};
use swarmr::spec::Nanos;

/// One thing that happens. Numbers choose among what there is at the time.
#[expect(clippy::large_enum_variant, reason = "a few of each history")]
#[derive(Debug, Clone)]
pub(super) enum Event {
    AddNode,
    NodeDown(usize),
    NodeUp(usize),
    RemoveNode(usize),
    Availability(usize, Availability),
    Drain(usize, u8),
    LabelNode(usize, bool),
    Create(Shape),
    Update(usize, u8),
    Scale(usize, u64),
    Constrain(usize, bool),
    Strategy(usize, bool),
    /// A node comes to have that many, or as many as all had at first.
    Inventory(usize, bool),
    RollBack(usize),
    RollBackTo(usize, u64),
    Steer(usize, Verb),
    Rebalance(usize),
    RemoveService(usize),
    Fail(usize),
    Complete(usize),
    Behave(u8, Image),
    LimitHistory(i64),
    /// Runs a job now.
    Run(usize),
    /// Suspends a job's schedule, or takes that back.
    Suspend(usize, bool),
    LeaderCrash,
    /// The leader crashes when so many of its decisions are written down.
    CrashHalfway(u8),
    Advance(u8),
    /// Nobody leads and nothing happens for so many seconds.
    Jump(u8),
}

/// What a user asks of a service beside changing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Promote,
    Finish,
    Pause,
    Resume,
    Restart,
    Stop,
    Start,
}

/// A service as it is created; what is not in an event stays for its life.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) global: bool,
    /// Tasks are there to end.
    pub(super) job: Option<JobShape>,
    pub(super) replicas: u64,
    pub(super) start_first: bool,
    /// 0 is no limit.
    pub(super) parallelism: u64,
    pub(super) delay_s: u64,
    pub(super) on_failure: &'static str,
    pub(super) ratio: &'static str,
    pub(super) condition: &'static str,
    pub(super) attempts: u64,
    pub(super) restart_delay_s: u64,
    pub(super) cpus: u64,
    pub(super) max_per_node: u64,
    pub(super) spread: bool,
    /// Of the two that each node has.
    pub(super) generic: u64,
    pub(super) gpus: u64,
    pub(super) host_port: bool,
    pub(super) binpack: bool,
    /// The tasks of these services keep apart from each other.
    pub(super) apart: bool,
    /// They have the label that others keep apart from.
    pub(super) labelled: bool,
    /// They are rather, or only, near to those that have it.
    pub(super) near: &'static str,
    /// Of updates and rollbacks; 0 is none.
    pub(super) deadline_s: u64,
    pub(super) steps: &'static str,
    pub(super) max_delay_s: u64,
    pub(super) rebalance: bool,
    /// The n-th of the services that there are by then, and how far it must be.
    pub(super) depends: Option<(usize, &'static str)>,
}

/// What makes a service a job.
#[derive(Debug, Clone)]
pub(super) struct JobShape {
    pub(super) concurrent: u64,
    /// With a schedule: every minute.
    pub(super) concurrency: Option<&'static str>,
    pub(super) history: u64,
}

impl JobShape {
    fn put(&self, words: &mut Words) {
        let mut put = |key: &str, value: String| {
            words.insert(key.to_owned(), value);
        };
        put("concurrent", self.concurrent.to_string());
        if let Some(concurrency) = self.concurrency {
            put("cron", "*_*_*_*_*".to_owned());
            put("concurrency", concurrency.to_owned());
            put("missed-window", "90s".to_owned());
            put("runs", self.history.to_string());
        }
    }
}

impl Shape {
    /// A service that goes on for ever, whose tasks any node takes.
    pub(super) const fn serve(&mut self, replicas: u64) {
        self.replicas = replicas;
        self.global = false;
        self.job = None;
        self.condition = "any";
        self.attempts = 0;
        self.max_per_node = 0;
        self.cpus = 0;
        self.generic = 0;
        self.gpus = 0;
        self.host_port = false;
        self.apart = false;
        self.near = "";
    }

    pub(super) fn words(&self) -> Words {
        let mut words = Words::new();
        let mut put = |key: &str, value: String| {
            words.insert(key.to_owned(), value);
        };
        let mode = match (self.global, &self.job) {
            (false, None) => "replicated",
            (true, None) => "global",
            (false, Some(_)) => "replicated-job",
            (true, Some(_)) => "global-job",
        };
        put("mode", mode.to_owned());
        put("replicas", self.replicas.to_string());
        put("image", "app:1".to_owned());
        for prefix in ["", "rollback-"] {
            let order = if self.start_first {
                "start-first"
            } else {
                "stop-first"
            };
            put(&format!("{prefix}order"), order.to_owned());
            put(
                &format!("{prefix}parallelism"),
                self.parallelism.to_string(),
            );
            put(&format!("{prefix}delay"), format!("{}s", self.delay_s));
            put(&format!("{prefix}on-failure"), self.on_failure.to_owned());
            put(&format!("{prefix}ratio"), self.ratio.to_owned());
        }
        put("condition", self.condition.to_owned());
        put("attempts", self.attempts.to_string());
        put("restart-delay", format!("{}s", self.restart_delay_s));
        if self.cpus > 0 {
            put("cpus", self.cpus.to_string());
        }
        put("max-per-node", self.max_per_node.to_string());
        for prefix in ["", "rollback-"] {
            put(
                &format!("{prefix}deadline"),
                format!("{}s", self.deadline_s),
            );
        }
        if !self.steps.is_empty() {
            put("steps", self.steps.to_owned());
        }
        if self.max_delay_s > 0 {
            // No less than the first delay.
            let longest = self.max_delay_s.max(self.restart_delay_s);
            put("max-delay", format!("{longest}s"));
        }
        if self.rebalance {
            put("rebalance", "auto".to_owned());
        }
        if self.spread {
            put("spread", "node.labels.zone".to_owned());
        }
        if self.generic > 0 {
            put("generic", format!("ssd:{}", self.generic));
        }
        if self.gpus > 0 {
            put("gpus", self.gpus.to_string());
        }
        if self.host_port {
            put("host-port", "80".to_owned());
        }
        if self.binpack {
            put("strategy", "binpack".to_owned());
        }
        if self.apart || self.labelled {
            put("labels", "app:x".to_owned());
        }
        if self.apart {
            put("apart", "app:x".to_owned());
        }
        if !self.near.is_empty() {
            put(
                "near",
                format!("app:x,topology:node.labels.zone,{}", self.near),
            );
        }
        if let Some(job) = &self.job {
            job.put(&mut words);
        }
        words
    }
}

/// A progress deadline that is short enough to be seen.
pub(super) const DEADLINE_S: u64 = 12;

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let rollout = (
        any::<bool>(),
        0..4u64,
        0..4u64,
        prop::sample::select(vec!["pause", "continue", "rollback"]),
        prop::sample::select(vec!["0", "0.3", "1"]),
    );
    let restart = (
        prop::sample::select(vec!["any", "any", "any", "on-failure", "none"]),
        prop::sample::select(vec![0, 0, 2]),
        0..4u64,
    );
    let placement = (
        prop::sample::select(vec![0, 0, 1, 3]),
        prop::sample::select(vec![0, 0, 1]),
        any::<bool>(),
        prop::option::weighted(
            0.3,
            (
                0..4usize,
                prop::sample::select(vec!["started", "healthy", "healthy,update"]),
            ),
        ),
        prop::bool::weighted(0.3),
    );
    let beyond = (
        prop::sample::select(vec![0, DEADLINE_S, DEADLINE_S]),
        prop::sample::select(vec!["", "", "50%", "1,60%", "1:3s", "20%:2s,3"]),
        prop::sample::select(vec![0, 4]),
    );
    let inventory = (
        prop::sample::select(vec![0, 0, 0, 1, 2]),
        prop::sample::select(vec![0, 0, 0, 1, 2]),
        prop::bool::weighted(0.1),
    );
    let neighbours = (
        any::<bool>(),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.3),
        prop::sample::select(vec!["", "", "", "preferred", "required"]),
    );
    let job = (
        1..4u64,
        prop::sample::select(vec![
            None,
            None,
            Some("allow"),
            Some("forbid"),
            Some("replace"),
        ]),
        0..4u64,
    );
    (
        0..6u8,
        0..6u64,
        rollout,
        restart,
        placement,
        inventory,
        neighbours,
        (beyond, job),
    )
        .prop_map(
            |(
                mode,
                replicas,
                rollout,
                restart,
                placement,
                inventory,
                neighbours,
                (beyond, job),
            )| Shape {
                global: mode == 0 || mode == 1,
                job: (mode == 1 || mode == 2).then_some(JobShape {
                    concurrent: job.0,
                    concurrency: job.1,
                    history: job.2,
                }),
                replicas,
                start_first: rollout.0,
                parallelism: rollout.1,
                delay_s: rollout.2,
                on_failure: rollout.3,
                ratio: rollout.4,
                condition: restart.0,
                attempts: restart.1,
                restart_delay_s: restart.2,
                cpus: placement.0,
                max_per_node: placement.1,
                spread: placement.2,
                depends: placement.3,
                rebalance: placement.4,
                generic: inventory.0,
                gpus: inventory.1,
                host_port: inventory.2,
                binpack: neighbours.0,
                apart: neighbours.1,
                labelled: neighbours.2,
                near: neighbours.3,
                deadline_s: beyond.0,
                steps: beyond.1,
                max_delay_s: beyond.2,
            },
        )
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let which = 0..6usize;
    let behaviour = prop::sample::select(vec![
        Image::Works,
        Image::Missing,
        Image::Fails,
        Image::Hangs,
        Image::Crashes(2),
        Image::Exits(3),
    ]);
    let availability = prop::sample::select(vec![
        Availability::Active,
        Availability::Active,
        Availability::Pause,
        Availability::Drain,
    ]);
    let verb = prop::sample::select(vec![
        Verb::Promote,
        Verb::Promote,
        Verb::Finish,
        Verb::Pause,
        Verb::Resume,
        Verb::Restart,
        Verb::Stop,
        Verb::Start,
        Verb::Start,
    ]);
    prop_oneof![
        1 => Just(Event::AddNode),
        2 => which.clone().prop_map(Event::NodeDown),
        3 => which.clone().prop_map(Event::NodeUp),
        1 => which.clone().prop_map(Event::RemoveNode),
        2 => (which.clone(), availability).prop_map(|(node, to)| Event::Availability(node, to)),
        2 => (which.clone(), 0..20u8).prop_map(|(node, limit)| Event::Drain(node, limit)),
        1 => (which.clone(), any::<bool>()).prop_map(|(node, zone)| Event::LabelNode(node, zone)),
        2 => shape().prop_map(Event::Create),
        5 => (which.clone(), 1..5u8).prop_map(|(service, image)| Event::Update(service, image)),
        3 => (which.clone(), 0..7u64).prop_map(|(service, count)| Event::Scale(service, count)),
        1 => (which.clone(), any::<bool>()).prop_map(|(service, on)| Event::Constrain(service, on)),
        1 => (which.clone(), any::<bool>()).prop_map(|(service, on)| Event::Strategy(service, on)),
        1 => (which.clone(), any::<bool>()).prop_map(|(node, all)| Event::Inventory(node, all)),
        1 => which.clone().prop_map(Event::RollBack),
        1 => (which.clone(), 1..5u64).prop_map(|(service, to)| Event::RollBackTo(service, to)),
        4 => (which.clone(), verb).prop_map(|(service, verb)| Event::Steer(service, verb)),
        1 => which.clone().prop_map(Event::Rebalance),
        1 => which.clone().prop_map(Event::RemoveService),
        3 => which.clone().prop_map(Event::Fail),
        1 => which.clone().prop_map(Event::Complete),
        3 => (1..5u8, behaviour).prop_map(|(image, behaviour)| Event::Behave(image, behaviour)),
        1 => (-1..4i64).prop_map(Event::LimitHistory),
        1 => which.clone().prop_map(Event::Run),
        1 => (which.clone(), any::<bool>()).prop_map(|(service, on)| Event::Suspend(service, on)),
        1 => (1..200u8).prop_map(Event::Jump),
        2 => Just(Event::LeaderCrash),
        1 => (0..8u8).prop_map(Event::CrashHalfway),
        12 => (1..12u8).prop_map(Event::Advance),
    ]
}

/// A machine with two of each.
pub(super) fn equipped(name: &str) -> Machine {
    let gpu = |id: &str| Device {
        kind: "gpu".to_owned(),
        id: id.to_owned(),
        path: format!("/dev/gpu{id}"),
        ..Device::default()
    };
    Machine {
        has: vec![GenericResource::discrete("ssd", 2)],
        devices: vec![gpu("0"), gpu("1")],
        ..Machine::named(name)
    }
}

impl World {
    /// Lets one thing happen, as far as it can, and the leader act on it.
    pub(super) fn happen(&mut self, event: &Event, mut seen: impl FnMut(&Self)) {
        match event {
            Event::AddNode => {
                let name = format!("n{}", self.state.nodes().count() + 1);
                self.add_node(&equipped(&name));
            }
            Event::NodeDown(n) => self.nth_node(*n, |world, node| {
                world.observe(node, NodeState::Down);
            }),
            Event::NodeUp(n) => self.nth_node(*n, |world, node| {
                world.observe(node, NodeState::Ready);
            }),
            Event::RemoveNode(n) => self.nth_node(*n, |world, node| {
                world.propose(Op::RemoveNode {
                    id: node,
                    force: false,
                });
            }),
            Event::Availability(n, to) => self.nth_node(*n, |world, node| {
                world.set_availability(node, *to);
            }),
            Event::Drain(n, limit) => self.nth_node(*n, |world, node| {
                world.drain(node, Some(Nanos::from_secs(i64::from(*limit))));
            }),
            Event::LabelNode(n, zone) => self.nth_node(*n, |world, node| {
                world.label_node(node, "zone", if *zone { "a" } else { "b" });
            }),
            Event::Create(shape) => {
                let name = format!("s{}", self.id());
                let mut words = shape.words();
                let services: Vec<_> = self.state.services().cloned().collect();
                if let Some((n, condition)) = shape.depends
                    && let Some(other) = services.get(n % services.len().max(1))
                {
                    let dependency = format!("{}:{condition}", other.name());
                    words.insert("depends".to_owned(), dependency);
                }
                self.create_service(spec(&name, &words));
            }
            Event::Update(n, image) => self.nth_service(*n, |world, service| {
                let mut spec = (*service.spec).clone();
                spec.task_template.container_spec.image = format!("app:{image}");
                world.change_service(service.id, ServiceChange::Spec(spec));
            }),
            Event::Scale(n, count) => self.nth_service(*n, |world, service| {
                let mut spec = (*service.spec).clone();
                match &mut spec.mode {
                    Mode::Replicated(replicated) => replicated.replicas = Some(*count),
                    Mode::ReplicatedJob(job) => job.total_completions = Some(*count),
                    Mode::Global(_) | Mode::GlobalJob(_) => return,
                }
                world.change_service(service.id, ServiceChange::Spec(spec));
            }),
            Event::Constrain(n, on) => self.nth_service(*n, |world, service| {
                let mut spec = (*service.spec).clone();
                let placement = spec.task_template.placement.get_or_insert_default();
                placement.constraints.clear();
                if *on {
                    let constraint = "node.labels.zone!=b".to_owned();
                    placement.constraints.push(constraint);
                }
                world.change_service(service.id, ServiceChange::Spec(spec));
            }),
            Event::Strategy(n, binpack) => self.nth_service(*n, |world, service| {
                let mut spec = (*service.spec).clone();
                spec.swarmr.get_or_insert_default().strategy = if *binpack {
                    extension::Strategy::Binpack
                } else {
                    extension::Strategy::Spread
                };
                world.change_service(service.id, ServiceChange::Spec(spec));
            }),
            Event::Inventory(n, all) => self.nth_node(*n, |world, node| {
                let mut machine = equipped("");
                if !all {
                    machine.has = vec![GenericResource::discrete("ssd", 1)];
                    machine.devices.truncate(1);
                }
                world.describe_node(node, |description| {
                    description.generic_resources = machine.has;
                    description.devices = machine.devices;
                });
            }),
            Event::RollBack(n) => self.nth_service(*n, |world, service| {
                world.change_service(service.id, ServiceChange::RollBack);
            }),
            Event::RollBackTo(n, revision) => self.nth_service(*n, |world, service| {
                let steer = Steer::RollBackTo {
                    revision: *revision,
                };
                world.propose(Op::SteerService {
                    id: service.id,
                    steer,
                });
            }),
            Event::Steer(n, verb) => self.nth_service(*n, |world, service| {
                world.steer(service, *verb);
            }),
            Event::Rebalance(n) => self.nth_service(*n, |world, service| {
                world.propose(Op::Rebalance {
                    service: service.id,
                });
            }),
            Event::RemoveService(n) => self.nth_service(*n, |world, service| {
                world.propose(Op::RemoveService { id: service.id });
            }),
            Event::Fail(n) => self.end_nth(*n, TaskState::Failed),
            Event::Complete(n) => self.end_nth(*n, TaskState::Complete),
            Event::Behave(image, behaviour) => {
                self.agents.set_image(&format!("app:{image}"), *behaviour);
            }
            Event::LimitHistory(limit) => self.limit_history(*limit),
            Event::Run(n) => self.nth_service(*n, |world, service| {
                world.run_job(service.id);
            }),
            Event::Suspend(n, on) => self.nth_service(*n, |world, service| {
                world.suspend(service, *on);
            }),
            Event::Jump(seconds) => {
                self.jump(self.now + Nanos::from_secs(i64::from(*seconds)));
            }
            Event::LeaderCrash => self.crash_leader(),
            Event::CrashHalfway(count) => {
                // Long enough for something to be due.
                self.jump(self.now + Nanos::from_secs(40));
                self.crash_halfway(usize::from(*count));
            }
            Event::Advance(seconds) => {
                return self.advance(Nanos::from_secs(i64::from(*seconds)), seen);
            }
        }
        self.plan();
        seen(self);
    }

    pub(super) fn steer(&mut self, service: &Service, verb: Verb) {
        let from = service.rollout.as_ref().map_or(0, |rollout| rollout.step);
        let steer = match verb {
            Verb::Promote | Verb::Finish => Steer::Promote {
                from,
                to_the_end: verb == Verb::Finish,
            },
            Verb::Pause => Steer::Pause,
            Verb::Resume => Steer::Resume,
            Verb::Restart => Steer::Restart {
                seen: self.state.index(),
            },
            Verb::Stop => Steer::Stop,
            Verb::Start => Steer::Start,
        };
        self.propose(Op::SteerService {
            id: service.id,
            steer,
        });
    }

    fn nth_node(&mut self, n: usize, act: impl FnOnce(&mut Self, NodeId)) {
        let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
        if let Some(node) = nodes.get(n % nodes.len().max(1)) {
            act(self, *node);
        }
    }

    fn nth_service(&mut self, n: usize, act: impl FnOnce(&mut Self, &Service)) {
        let services: Vec<_> = self.state.services().cloned().collect();
        if let Some(service) = services.get(n % services.len().max(1)) {
            act(self, service);
        }
    }

    fn end_nth(&mut self, n: usize, state: TaskState) {
        let running: Vec<_> = self
            .state
            .tasks()
            .filter(|task| task.status.state == TaskState::Running)
            .map(|task| task.id)
            .collect();
        if let Some(task) = running.get(n % running.len().max(1)) {
            self.agents.end(*task, state);
        }
    }

    pub(super) fn limit_history(&mut self, limit: i64) {
        let cluster = self.state.cluster().expect("a cluster");
        let (version, mut spec) = (cluster.meta.version, cluster.spec.clone());
        spec.orchestration.task_history_retention_limit = Some(limit);
        self.propose(Op::UpdateCluster {
            version,
            spec: Box::new(spec),
            worker_token: None,
            manager_token: None,
        });
    }

    fn suspend(&mut self, service: &Service, on: bool) {
        let mut spec = (*service.spec).clone();
        let schedule = spec.swarmr.as_mut().and_then(|it| it.schedule.as_mut());
        if let Some(schedule) = schedule {
            schedule.suspended = on;
            self.change_service(service.id, ServiceChange::Spec(spec));
        }
    }

    /// Everything that can be well is: nodes up and active, images good. No run is due any more.
    pub(super) fn heal(&mut self) {
        for image in 1..5 {
            self.agents.set_image(&format!("app:{image}"), Image::Works);
        }
        let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
        for node in nodes {
            self.observe(node, NodeState::Ready);
            self.set_availability(node, Availability::Active);
        }
        let services: Vec<_> = self.state.services().cloned().collect();
        for service in services {
            self.suspend(&service, true);
        }
        self.plan();
    }

    pub(super) fn only_service(&self) -> ServiceId {
        self.state.services().next().expect("a service").id
    }
}
