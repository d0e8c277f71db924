//! What holds after any commands, sensible or not.
//!
//! `SWARMR_TEST_ROUNDS` sets the number of histories.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::spec::config::{ConfigSpec, Payload};
use crate::spec::network::IpamConfig;
use crate::spec::service::{Replicated, ResourceRequirements, Resources};
use crate::spec::{ConfigId, Mode, NetworkSpec, NodeSpec};
use crate::state::Change;
use crate::state::check::check;
use crate::state::codec;
use crate::state::command::{NodeObservation, ServiceChange, Steer, TaskReport};
use crate::state::node::NodeState;
use crate::state::service::{Hold, Rollout, RolloutState};
use crate::state::task::{TaskState, Waiting};

/// Numbers that a command is made of: what it is, and choices.
type Dice = (u8, [u8; 6]);

const STATES: [TaskState; 13] = [
    TaskState::New,
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Complete,
    TaskState::Shutdown,
    TaskState::Failed,
    TaskState::Rejected,
    TaskState::Orphaned,
];

fn pick<T: Copy>(from: &[T], die: u8) -> T {
    from[usize::from(die) % from.len()]
}

/// One of a few ids, so that commands meet.
fn few(die: u8, count: u8) -> u128 {
    u128::from(die % count) + 1
}

/// The current version most of the time.
fn version(current: Option<u64>, die: u8) -> u64 {
    current
        .filter(|_| !die.is_multiple_of(8))
        .unwrap_or(u64::from(die))
}

fn desired(die: u8) -> DesiredState {
    pick(
        &[
            DesiredState::Ready,
            DesiredState::Running,
            DesiredState::Shutdown,
            DesiredState::Remove,
        ],
        die,
    )
}

fn some_spec(dice: [u8; 6]) -> ServiceSpec {
    let [name, look, net, port, mode, _] = dice;
    let mut spec = image(
        named(&format!("s{}", few(name, 4))),
        pick(&["a", "b"], look),
    );
    spec.mode = Mode::Replicated(Replicated {
        replicas: Some(u64::from(look % 4)),
    });
    if net % 3 == 0 {
        spec = on_network(spec, few(net, 5));
    }
    if port % 3 == 0 {
        let publish = pick(&[PublishMode::Ingress, PublishMode::Host], mode);
        spec = publishing(spec, pick(&[0, 80, 81], port), publish);
    }
    spec.task_template.resources = (mode % 3 == 0).then(|| ResourceRequirements {
        limits: None,
        reservations: Some(Resources {
            nano_cpus: i64::from(mode),
            ..Resources::default()
        }),
    });
    spec
}

fn some_id(die: u8) -> TaskId {
    task_of(few(die, 4), few(die / 4, 6))
}

fn some_task(state: &State, dice: [u8; 6]) -> NewTask {
    let [id, of, slot, version, want, gate] = dice;
    let mut new = new_task(state, 1, few(of, 4), u64::from(slot % 3));
    // Some may have ids as another service's tasks have them.
    new.id = if of % 8 == 0 {
        some_id(id)
    } else {
        task_of(few(of, 4), few(id, 6))
    };
    if version % 8 == 0 {
        new.spec_version = u64::from(version);
    }
    new.desired = desired(want);
    new.gate.after = (gate % 2 == 0).then(|| some_id(gate));
    new.node = (gate % 3 == 1).then(|| node(few(gate, 5)));
    new
}

fn some_change(state: &State, kind: u8, dice: [u8; 6]) -> Change {
    let [a, b, c, ..] = dice;
    let one = some_id(a);
    let of = service(few(a, 4));
    let current = state.service(of).map(|service| service.spec_version);
    match kind % 10 {
        0 | 1 => Change::CreateTask(some_task(state, dice)),
        2 => Change::ReplaceTask {
            old: some_id(b ^ c),
            old_desired: desired(b),
            new: some_task(state, dice),
        },
        3 | 4 => Change::Assign {
            task: one,
            node: node(few(b, 5)),
        },
        5 => Change::SetDesired {
            task: one,
            desired: desired(b),
        },
        6 => Change::SetState {
            task: one,
            state: pick(&STATES, b),
            message: "message".to_owned(),
            err: "error".to_owned(),
        },
        7 => Change::SetWaiting {
            task: one,
            waiting: (b % 2 == 0).then(|| Box::new(Waiting::Predecessor(some_id(c)))),
        },
        8 => Change::DeleteTask { task: one },
        _ if b % 2 == 0 => Change::RollBack {
            service: of,
            spec_version: version(current, c),
            message: "message".to_owned(),
        },
        _ => Change::SetRollout {
            service: of,
            spec_version: version(current, c),
            rollout: Box::new(Rollout {
                slots: 1,
                hold: (a % 2 == 0).then_some(Hold::Promotion),
                ..Rollout::started(
                    RolloutState::Updating,
                    u64::from(c),
                    Timestamp(0),
                    "update in progress",
                )
            }),
        },
    }
}

fn some_steer(state: &State, dice: [u8; 6]) -> Steer {
    let [a, b, ..] = dice;
    match a % 7 {
        0 => Steer::Promote {
            from: u64::from(b % 3),
            to_the_end: b.is_multiple_of(5),
        },
        1 => Steer::Pause,
        2 => Steer::Resume,
        3 => Steer::RollBackTo {
            revision: u64::from(b % 5),
        },
        4 => Steer::Restart {
            seen: state.index().saturating_sub(u64::from(b)),
        },
        5 => Steer::Stop,
        _ => Steer::Start,
    }
}

fn some_op(state: &State, (kind, dice): Dice) -> Op {
    let [a, b, c, d, e, f] = dice;
    let (node, of) = (node(few(a, 5)), service(few(a, 4)));
    let config = ConfigId::from_bits(few(a, 3));
    match kind % 24 {
        0 => init(),
        1 => Op::UpdateCluster {
            version: version(state.cluster().map(|it| it.meta.version), b),
            spec: Box::default(),
            worker_token: (c % 2 == 0).then(|| "token".to_owned()),
            manager_token: None,
        },
        2 => Op::AddNode(Box::new(add_node(
            few(a, 5),
            pick(&[Role::Worker, Role::Manager], b),
        ))),
        3 => Op::UpdateNode {
            id: node,
            version: version(state.node(node).map(|it| it.meta.version), b),
            spec: NodeSpec {
                role: pick(&[Role::Worker, Role::Manager], c),
                availability: pick(
                    &[
                        Availability::Active,
                        Availability::Pause,
                        Availability::Drain,
                    ],
                    d,
                ),
                ..NodeSpec::default()
            },
            drain_limit: (c % 3 == 0).then_some(crate::spec::Nanos::from_secs(3)),
        },
        4 => Op::RemoveNode {
            id: node,
            force: b % 2 == 0,
        },
        5 | 6 => Op::ObserveNodes(vec![NodeObservation {
            node,
            state: Some((
                pick(&[NodeState::Ready, NodeState::Ready, NodeState::Down], b),
                String::new(),
            )),
            description: None,
            addr: None,
        }]),
        7 => Op::SetMember {
            node,
            // Never used again, as the managers see to.
            raft_id: (b % 2 == 0).then(|| state.index() + 100),
        },
        8 | 9 => Op::CreateService {
            id: of,
            spec: Box::new(some_spec([b, c, d, e, f, a])),
        },
        10 | 11 => {
            let found = state.service(of);
            let mut spec = some_spec([b, c, d, e, f, a]);
            if let Some(found) = found.filter(|_| !f.is_multiple_of(8)) {
                spec.name = found.name().to_owned();
            }
            let change = if d % 4 == 0 {
                ServiceChange::RollBack
            } else {
                ServiceChange::Spec(spec)
            };
            Op::UpdateService {
                id: of,
                version: version(found.map(|it| it.meta.version), e),
                change: Box::new(change),
            }
        }
        12 if b % 3 > 0 => Op::SteerService {
            id: of,
            steer: some_steer(state, [c, d, e, f, a, b]),
        },
        12 => Op::RemoveService { id: of },
        13 => {
            let mut spec = NetworkSpec {
                name: format!("net{}", few(b, 6)),
                ..NetworkSpec::default()
            };
            if c % 3 > 0 {
                spec.ipam.config = vec![IpamConfig {
                    subnet: format!("10.{}.0.0/29", 8 + d % 4),
                    ..IpamConfig::default()
                }];
            }
            Op::CreateNetwork {
                id: network(few(a, 5)),
                spec: Box::new(spec),
            }
        }
        14 => Op::RemoveNetwork {
            id: network(few(a, 5)),
        },
        15 => Op::CreateConfig {
            id: config,
            spec: Box::new(some_config(b, c)),
        },
        16 => Op::UpdateConfig {
            id: config,
            version: version(state.config(config).map(|it| it.meta.version), b),
            spec: Box::new(some_config(c, d)),
        },
        17 => Op::RemoveConfig { id: config },
        18 | 19 => {
            let reported = some_id(b);
            let on = state.task(reported).and_then(|task| task.node);
            Op::Report(vec![TaskReport {
                node: on.filter(|_| !c.is_multiple_of(8)).unwrap_or(node),
                task: reported,
                state: pick(&STATES, d),
                at: Timestamp(0),
                message: String::new(),
                err: String::new(),
                container: None,
            }])
        }
        _ => {
            let changes = [(a, [b, c, d, e, f, a]), (b, [c, d, e, f, a, b])];
            Op::Plan(
                changes
                    .into_iter()
                    .map(|(kind, dice)| some_change(state, kind, dice))
                    .collect(),
            )
        }
    }
}

fn some_config(name: u8, payload: u8) -> ConfigSpec {
    ConfigSpec {
        name: format!("c{}", few(name, 3)),
        data: Payload(vec![payload % 2].into()),
        ..ConfigSpec::default()
    }
}

fn rounds() -> Config {
    let rounds = std::env::var("SWARMR_TEST_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(500);
    Config {
        cases: rounds,
        failure_persistence: None,
        ..Config::default()
    }
}

fn bytes(state: &State) -> Vec<u8> {
    state.to_snapshot().expect("a snapshot")
}

proptest! {
    #![proptest_config(rounds())]

    #[test]
    fn any_commands_leave_a_sound_state(
        begun in prop::bool::weighted(0.9),
        dice in prop::collection::vec(any::<Dice>(), 1..120),
        times in prop::collection::vec(0..5_000i64, 120),
        cut in 0..120usize,
    ) {
        let mut state = if begun { Log::started().state } else { State::default() };
        let first = state.clone();
        let mut restored = None;
        let mut log = Vec::new();
        for (place, (dice, time)) in dice.into_iter().zip(times).enumerate() {
            let op = some_op(&state, dice);
            let command = Command { at: Timestamp(time), op };
            let packed = codec::encode(&command).unwrap();
            prop_assert_eq!(&codec::decode::<Command>(&packed).unwrap(), &command);
            let mut before = state.clone();
            let index = state.index() + 1;
            let reply = state.apply(index, command.clone());
            prop_assert_eq!(state.index(), index);
            if matches!(reply, Reply::Rejected(_)) {
                before.index = index;
                prop_assert!(bytes(&before) == bytes(&state), "{reply:?} changed something");
            }
            prop_assert_eq!(check(&state), []);
            log.push(command);
            if place == cut {
                restored = Some((state.clone(), log.len()));
            }
        }
        let replay = |mut state: State, from: usize| {
            for command in &log[from..] {
                state.apply(state.index() + 1, command.clone());
            }
            bytes(&state)
        };
        let end = bytes(&state);
        prop_assert!(replay(first, 0) == end, "the same log made another state");
        let (middle, from) = restored.unwrap_or((state, log.len()));
        let middle = State::from_snapshot(&bytes(&middle)).unwrap();
        prop_assert_eq!(check(&middle), []);
        prop_assert!(replay(middle, from) == end, "a restored state went another way");
    }
}
