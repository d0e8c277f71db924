//! One rule each.

use super::*;
use crate::spec::NetworkSpec;
use crate::spec::extension::Connections;
use crate::state::Change;
use crate::state::assignment::{Stamp, Want};
use crate::state::check::check;
use crate::state::command::{ServiceChange, TaskReport};
use crate::state::network::Held;
use crate::state::node::NodeState;
use crate::state::rejected::{Kind, Rejected};
use crate::state::service::{Rollout, RolloutState};
use crate::state::task::TaskState;

fn update(log: &mut Log, id: u128, change: ServiceChange) -> Reply {
    let version = log.version_of(id);
    log.apply(Op::UpdateService {
        id: service(id),
        version,
        change: Box::new(change),
    })
}

pub(super) fn create_network(log: &mut Log, id: u128, name: &str, subnet: &str) -> Reply {
    let mut spec = NetworkSpec {
        name: name.to_owned(),
        ..NetworkSpec::default()
    };
    if !subnet.is_empty() {
        spec.ipam.config = vec![crate::spec::network::IpamConfig {
            subnet: subnet.to_owned(),
            ..crate::spec::network::IpamConfig::default()
        }];
    }
    log.apply(Op::CreateNetwork {
        id: network(id),
        spec: Box::new(spec),
    })
}

fn rejected(reply: Reply) -> Rejected {
    match reply {
        Reply::Rejected(why) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_cluster_is_made_once() {
    let mut log = Log::started();
    assert_eq!(rejected(log.apply(init())), Rejected::ClusterExists);
    assert!(log.state.ingress().is_some());
}

#[test]
fn a_cluster_that_cannot_be_made_whole_is_not_made_at_all() {
    let mut log = Log::default();
    log.apply(Op::AddNode(Box::new(add_node(1, Role::Manager))));
    let why = rejected(log.apply(init()));
    assert!(matches!(why, Rejected::NameTaken { .. }), "{why}");
    assert!(log.state.cluster().is_none());
}

#[test]
fn times_order_commands_even_when_clocks_go_back() {
    let mut log = Log::started();
    log.create(1, named("a"));
    log.now -= 1_000_000;
    log.create(2, named("b"));
    let made = |id| log.state.service(service(id)).unwrap().meta.created_at;
    assert!(made(2) > made(1));
    assert_eq!(log.state.clock(), made(2));
}

#[test]
fn names_are_taken_once_and_free_again_after_removal() {
    let mut log = Log::started();
    log.create(1, named("web"));
    let why = rejected(log.create(2, named("web")));
    assert_eq!(
        why.to_string(),
        "name conflicts with an existing object: service web already exists"
    );
    log.apply(Op::RemoveService { id: service(1) });
    assert!(matches!(log.create(2, named("web")), Reply::Written { .. }));
}

#[test]
fn tasks_of_a_removed_service_are_stopped_as_its_spec_says() {
    let mut log = Log::started();
    log.worker(2);
    log.create(1, named("web"));
    log.placed(1, 1, 1, 2);
    log.apply(Op::RemoveService { id: service(1) });
    let kept = State::from_snapshot(&log.state.to_snapshot().unwrap()).unwrap();
    for state in [&log.state, &kept] {
        let stamp = Stamp::default();
        let told = state.assignment(node(2), stamp, &[task(1)].into()).unwrap();
        assert_eq!(told.tasks[0].want, Want::Removed);
        assert_eq!(told.specs[0].spec.name, "web");
        assert_eq!(check(state), []);
    }
    log.plan(vec![Change::DeleteTask { task: task(1) }]);
    assert_eq!(check(&log.state), []);
    let told = log
        .state
        .assignment(node(2), Stamp::default(), &[].into())
        .unwrap();
    assert!(told.specs.is_empty());
}

#[test]
fn connections_are_held_to_tasks_that_stop_and_not_to_those_of_a_node_that_is_down() {
    let mut log = Log::started();
    create_network(&mut log, 8, "app", "");
    log.create(1, on_network(named("web"), 8));
    log.running(1, 1, 1);
    let held = |log: &Log| {
        let told = log.state.assignment(node(1), Stamp::default(), &[].into());
        let networks = told.unwrap().networks;
        let app = networks.into_iter().find(|it| it.id == network(8)).unwrap();
        app.held
    };
    let address = log.state.task(task(1)).unwrap().attachments[0].address;
    assert_eq!(held(&log), [address]);
    log.apply(Op::RemoveService { id: service(1) });
    assert_eq!(held(&log), [address]);
    log.observe(1, NodeState::Down);
    assert!(held(&log).is_empty());
}

#[test]
fn a_node_that_is_added_again_is_the_same_node() {
    let mut log = Log::started();
    let add = || Op::AddNode(Box::new(add_node(2, Role::Worker)));
    let first = log.apply(add());
    assert!(matches!(first, Reply::Written { .. }));
    // Its first answer was lost, and it was proposed to the next leader.
    assert_eq!(log.apply(add()), first);
    assert_eq!(log.state.nodes().count(), 2);
}

#[test]
fn an_update_names_the_version_it_read() {
    let mut log = Log::started();
    log.create(1, named("web"));
    let current = log.version_of(1);
    let why = rejected(log.apply(Op::UpdateService {
        id: service(1),
        version: current - 1,
        change: Box::new(ServiceChange::Spec(named("web"))),
    }));
    assert!(
        matches!(why, Rejected::Stale { kind: Kind::Service, sent, .. } if sent == current - 1)
    );
}

#[test]
fn a_change_of_scale_is_no_rollout_and_a_change_of_image_is() {
    let mut log = Log::started();
    log.create(1, image(named("web"), "a"));
    let first = log.state.service(service(1)).unwrap().spec_version;
    let mut scaled = image(named("web"), "a");
    scaled.mode =
        crate::spec::Mode::Replicated(crate::spec::service::Replicated { replicas: Some(5) });
    update(&mut log, 1, ServiceChange::Spec(scaled));
    let found = log.state.service(service(1)).unwrap();
    assert_eq!((found.spec_version, &found.rollout), (first, &None));
    update(&mut log, 1, ServiceChange::Spec(image(named("web"), "b")));
    let found = log.state.service(service(1)).unwrap();
    assert!(found.spec_version > first);
    assert_eq!(
        found.rollout.as_ref().map(|rollout| rollout.state),
        Some(RolloutState::Updating)
    );
}

#[test]
fn a_rollback_gives_tasks_their_own_version_back() {
    let mut log = Log::started();
    log.create(1, image(named("web"), "a"));
    let first = log.state.service(service(1)).unwrap().spec_version;
    log.running(1, 1, 1);
    update(&mut log, 1, ServiceChange::Spec(image(named("web"), "b")));
    update(&mut log, 1, ServiceChange::RollBack);
    let found = log.state.service(service(1)).unwrap();
    assert_eq!(found.spec_version, first);
    assert_eq!(found.spec.task_template.container_spec.image, "a");
    assert_eq!(found.specs.len(), 1, "the spec that nobody runs is dropped");
    // As in Docker, the two have changed places.
    update(&mut log, 1, ServiceChange::RollBack);
    let found = log.state.service(service(1)).unwrap();
    assert_eq!(found.spec.task_template.container_spec.image, "b");
}

#[test]
fn there_is_nothing_to_roll_back_to_before_the_first_update() {
    let mut log = Log::started();
    log.create(1, image(named("web"), "a"));
    let why = rejected(update(&mut log, 1, ServiceChange::RollBack));
    assert!(matches!(why, Rejected::NoPreviousSpec { .. }));
}

#[test]
fn scaling_in_the_middle_of_an_update_does_not_change_what_a_rollback_returns_to() {
    let mut log = Log::started();
    log.create(1, image(named("web"), "a"));
    let first = log.state.service(service(1)).unwrap().spec_version;
    update(&mut log, 1, ServiceChange::Spec(image(named("web"), "b")));
    let mut scaled = image(named("web"), "b");
    scaled.mode =
        crate::spec::Mode::Replicated(crate::spec::service::Replicated { replicas: Some(5) });
    update(&mut log, 1, ServiceChange::Spec(scaled));
    update(&mut log, 1, ServiceChange::RollBack);
    let found = log.state.service(service(1)).unwrap();
    assert_eq!(found.spec_version, first);
    assert_eq!(found.spec.task_template.container_spec.image, "a");
    assert_eq!(found.spec.replicas(), Some(5));
}

#[test]
fn a_change_of_policy_resumes_a_paused_update() {
    let mut log = Log::started();
    log.create(1, image(named("web"), "a"));
    update(&mut log, 1, ServiceChange::Spec(image(named("web"), "b")));
    let version = log.state.service(service(1)).unwrap().spec_version;
    let rollout = log
        .state
        .service(service(1))
        .unwrap()
        .rollout
        .clone()
        .unwrap();
    log.plan(vec![Change::SetRollout {
        service: service(1),
        spec_version: version,
        rollout: Box::new(Rollout {
            state: RolloutState::Paused,
            failures: 3,
            ..rollout
        }),
    }]);
    let mut scaled = image(named("web"), "b");
    scaled.labels.insert("a".to_owned(), "b".to_owned());
    update(&mut log, 1, ServiceChange::Spec(scaled.clone()));
    let state = |log: &Log| {
        let found = log
            .state
            .service(service(1))
            .unwrap()
            .rollout
            .clone()
            .unwrap();
        (found.state, found.failures, found.target)
    };
    assert_eq!(state(&log), (RolloutState::Paused, 3, version));
    scaled.update_config = Some(crate::spec::policy::UpdateConfig::default());
    update(&mut log, 1, ServiceChange::Spec(scaled));
    assert_eq!(state(&log), (RolloutState::Updating, 0, version));
}

#[test]
fn a_rollback_that_cannot_be_done_pauses_the_update() {
    let mut log = Log::started();
    create_network(&mut log, 2, "app", "");
    log.create(1, on_network(named("web"), 2));
    update(&mut log, 1, ServiceChange::Spec(image(named("web"), "b")));
    log.apply(Op::RemoveNetwork { id: network(2) });
    let version = log.state.service(service(1)).unwrap().spec_version;
    let taken = log.plan(vec![Change::RollBack {
        service: service(1),
        spec_version: version,
        message: "failed".to_owned(),
    }]);
    assert_eq!(taken, 1);
    let rollout = log
        .state
        .service(service(1))
        .unwrap()
        .rollout
        .clone()
        .unwrap();
    assert_eq!(rollout.state, RolloutState::Paused);
    assert!(
        rollout
            .message
            .starts_with("update paused, it cannot be rolled back: network"),
        "{}",
        rollout.message
    );
}

#[test]
fn ports_of_the_mesh_belong_to_one_service() {
    let mut log = Log::started();
    log.create(1, publishing(named("web"), 80, PublishMode::Ingress));
    for mode in [PublishMode::Ingress, PublishMode::Host] {
        let why = rejected(log.create(2, publishing(named("other"), 80, mode)));
        assert!(matches!(why, Rejected::PortTaken { port: 80, .. }), "{why}");
    }
    log.create(3, publishing(named("h1"), 81, PublishMode::Host));
    let reply = log.create(4, publishing(named("h2"), 81, PublishMode::Host));
    assert!(matches!(reply, Reply::Written { .. }), "{reply:?}");
    log.create(5, publishing(named("any"), 0, PublishMode::Ingress));
    let given = log.state.service(service(5)).unwrap().endpoint.ports[0].published_port;
    assert!((30_000..=32_767).contains(&given));
    let mut other = publishing(named("any"), 0, PublishMode::Ingress);
    other.task_template.force_update = 1;
    update(&mut log, 5, ServiceChange::Spec(other));
    let kept = log.state.service(service(5)).unwrap().endpoint.ports[0].published_port;
    assert_eq!(kept, given, "an update keeps the port");
}

#[test]
fn subnets_do_not_overlap() {
    let mut log = Log::started();
    let why = rejected(create_network(&mut log, 2, "a", "10.0.0.0/25"));
    assert!(matches!(why, Rejected::SubnetOverlaps { .. }), "{why}");
    for id in 2..17 {
        create_network(&mut log, id, &format!("n{id}"), "");
    }
    let why = rejected(create_network(&mut log, 17, "full", ""));
    assert!(matches!(why, Rejected::PoolExhausted { .. }), "{why}");
}

#[test]
fn a_network_in_use_stays() {
    let mut log = Log::started();
    create_network(&mut log, 2, "app", "");
    log.create(1, on_network(named("web"), 2));
    let why = rejected(log.apply(Op::RemoveNetwork { id: network(2) }));
    assert!(matches!(why, Rejected::InUse { .. }), "{why}");
    log.apply(Op::RemoveService { id: service(1) });
    assert_eq!(log.apply(Op::RemoveNetwork { id: network(2) }), Reply::Done);
}

#[test]
fn a_task_needs_room_for_its_nodes_address_too() {
    let mut log = Log::started();
    log.worker(2);
    create_network(&mut log, 2, "app", "10.9.0.0/29");
    log.create(1, on_network(named("web"), 2));
    log.running(1, 1, 1);
    log.running(2, 1, 2);
    let new = new_task(&log.state, 3, 1, 3);
    let elsewhere = Change::Assign {
        task: task(3),
        node: node(2),
    };
    log.plan(vec![Change::CreateTask(new), elsewhere]);
    assert_eq!(log.state.task(task(3)).unwrap().node, None);
    assert_eq!(check(&log.state), []);
}

#[test]
fn plans_are_skipped_where_the_state_has_moved_on() {
    let mut log = Log::started();
    log.worker(2);
    log.create(1, named("web"));
    let version = log.state.service(service(1)).unwrap().spec_version;
    log.running(1, 1, 1);
    let assign = |id, on| Change::Assign {
        task: task(id),
        node: node(on),
    };
    let create = |id, spec_version| {
        let new = new_task(&log.state, id, 1, 1);
        Change::CreateTask(NewTask {
            spec_version,
            ..new
        })
    };
    let replace = |old| Change::ReplaceTask {
        old: task(old),
        old_desired: DesiredState::Shutdown,
        new: new_task(&log.state, 9, 1, 1),
    };
    let rollout = |version| Change::SetRollout {
        service: service(1),
        spec_version: version,
        rollout: Box::new(Rollout::started(
            RolloutState::Updating,
            version,
            Timestamp(0),
            "update in progress",
        )),
    };
    let mut of_another = new_task(&log.state, 8, 1, 1);
    of_another.id = task_of(2, 8);
    for stale in [
        create(1, version),
        Change::CreateTask(of_another),
        create(8, version + 1),
        replace(7),
        assign(1, 2),
        assign(7, 1),
        rollout(version + 1),
        Change::DeleteTask { task: task(7) },
        Change::SetDesired {
            task: task(7),
            desired: DesiredState::Remove,
        },
        Change::RollBack {
            service: service(1),
            spec_version: version + 1,
            message: String::new(),
        },
    ] {
        let mut log = log.clone();
        assert_eq!(log.plan(vec![stale.clone()]), 0, "{stale:?}");
    }
    let mut down = log.clone();
    down.observe(2, NodeState::Down);
    assert_eq!(down.plan(vec![create(8, version), assign(8, 2)]), 1);
    assert_eq!(log.plan(vec![create(8, version), assign(8, 2)]), 2);
}

#[test]
fn observed_and_wanted_states_only_move_forward() {
    let mut log = Log::started();
    log.create(1, named("web"));
    log.running(1, 1, 1);
    let since = log.state.task(task(1)).unwrap().running_since;
    log.report(task(1), TaskState::Preparing);
    let found = log.state.task(task(1)).unwrap();
    assert_eq!(found.status.state, TaskState::Running);
    log.plan(vec![
        Change::SetDesired {
            task: task(1),
            desired: DesiredState::Shutdown,
        },
        Change::SetDesired {
            task: task(1),
            desired: DesiredState::Running,
        },
    ]);
    log.report(task(1), TaskState::Failed);
    log.report(task(1), TaskState::Running);
    let found = log.state.task(task(1)).unwrap();
    assert_eq!(found.desired, DesiredState::Shutdown);
    assert_eq!(found.status.state, TaskState::Failed);
    assert_eq!(found.running_since, since);
}

#[test]
fn a_node_reports_its_own_tasks_only() {
    let mut log = Log::started();
    log.worker(2);
    log.create(1, named("web"));
    log.running(1, 1, 1);
    log.apply(Op::Report(vec![TaskReport {
        node: node(2),
        task: task(1),
        state: TaskState::Failed,
        at: Timestamp(0),
        message: String::new(),
        err: String::new(),
        container: None,
    }]));
    let found = log.state.task(task(1)).unwrap();
    assert_eq!(found.status.state, TaskState::Running);
}

#[test]
fn what_was_never_placed_has_ended_once_it_is_not_wanted() {
    let mut log = Log::started();
    log.create(1, named("web"));
    let new = new_task(&log.state, 1, 1, 1);
    log.plan(vec![Change::CreateTask(new)]);
    assert_eq!(log.state.unassigned().count(), 1);
    log.plan(vec![Change::SetDesired {
        task: task(1),
        desired: DesiredState::Shutdown,
    }]);
    assert!(log.state.task(task(1)).unwrap().has_ended());
    assert_eq!(log.state.unassigned().count(), 0);
}

#[test]
fn usage_follows_the_tasks() {
    let mut log = Log::started();
    let mut spec = publishing(named("web"), 8080, PublishMode::Host);
    spec.task_template.resources = Some(crate::spec::service::ResourceRequirements {
        limits: None,
        reservations: Some(crate::spec::service::Resources {
            nano_cpus: 5,
            ..Default::default()
        }),
    });
    log.create(1, spec);
    log.running(1, 1, 1);
    let usage = log.state.usage(node(1));
    assert_eq!((usage.active, usage.present, usage.nano_cpus), (1, 1, 5));
    assert_eq!(usage.host_ports.len(), 1);
    log.apply(Op::RemoveService { id: service(1) });
    let usage = log.state.usage(node(1));
    assert_eq!((usage.active, usage.present, usage.nano_cpus), (0, 1, 5));
    log.report(task(1), TaskState::Shutdown);
    assert_eq!(*log.state.usage(node(1)), crate::state::Usage::default());
}

#[test]
fn a_removed_nodes_tasks_are_given_up() {
    let mut log = Log::started();
    log.worker(2);
    log.create(1, named("web"));
    log.placed(1, 1, 1, 2);
    let remove = |force| Op::RemoveNode { id: node(2), force };
    let why = rejected(log.apply(remove(false)));
    assert!(matches!(why, Rejected::NodeNotDown { .. }), "{why}");
    assert_eq!(log.apply(remove(true)), Reply::Done);
    let found = log.state.task(task(1)).unwrap();
    assert_eq!(found.status.state, TaskState::Orphaned);
    assert!(!found.is_wanted());
}

#[test]
fn the_last_manager_stays() {
    let mut log = Log::started();
    log.worker(2);
    let why = rejected(log.apply(Op::RemoveNode {
        id: node(1),
        force: true,
    }));
    assert!(matches!(why, Rejected::LastManager { .. }), "{why}");
}

#[test]
fn a_node_is_down_since_it_was_first_seen_to_be() {
    let mut log = Log::started();
    log.observe(1, NodeState::Down);
    let since = log.state.node(node(1)).unwrap().status.since;
    log.observe(1, NodeState::Down);
    assert_eq!(log.state.node(node(1)).unwrap().status.since, since);
}

#[test]
fn check_finds_what_is_wrong() {
    let mut log = Log::started();
    create_network(&mut log, 2, "app", "");
    log.create(
        1,
        publishing(on_network(named("web"), 2), 80, PublishMode::Ingress),
    );
    log.running(1, 1, 1);
    assert_eq!(check(&log.state), []);
    let broken = |break_it: &dyn Fn(&mut State)| {
        let mut state = log.state.clone();
        break_it(&mut state);
        !check(&state).is_empty()
    };
    assert!(broken(&|state| {
        let at = crate::state::Meta::new(1, Timestamp(1));
        let stray = crate::state::Task::new(new_task(state, 9, 9, 1), at);
        state.tasks.insert(std::sync::Arc::new(stray));
    }));
    assert!(broken(&|state| {
        state.service_names.clear();
    }));
    assert!(broken(&|state| {
        state.change_network(network(2), |network| network.held = Held::default());
    }));
    assert!(broken(&|state| {
        let service = state.services.get_mut(&service(1)).unwrap();
        std::sync::Arc::make_mut(service).specs.clear();
    }));
    assert!(broken(&|state| {
        state.tasks = super::super::tasks::Tasks::default();
        state.rebuild_indexes();
    }));
    assert!(broken(&|state| {
        state.nodes.clear();
    }));
    assert!(broken(&|state| {
        let web = state.services.get(&service(1)).unwrap().clone();
        let mut twin = std::sync::Arc::unwrap_or_clone(web);
        twin.id = service(2);
        twin.endpoint.virtual_addresses.clear();
        state.services.insert(service(2), std::sync::Arc::new(twin));
        state.rebuild_indexes();
    }));
}

#[test]
fn a_service_that_was_removed_is_not_made_again_by_the_same_request() {
    let mut log = Log::started();
    let made = log.create(1, named("web"));
    log.running(1, 1, 1);
    log.apply(Op::RemoveService { id: service(1) });
    assert_eq!(log.create(1, named("web")), made);
    assert!(log.state.service(service(1)).is_none());
    assert_eq!(check(&log.state), []);
}

#[test]
fn a_task_weighs_what_its_nodes_label_says() {
    let mut log = Log::started();
    create_network(&mut log, 8, "app", "");
    let mut spec = on_network(named("web"), 8);
    let extension = spec.swarmr.get_or_insert_default();
    extension.connections = Some(Connections {
        weight_label: "size".to_owned(),
        prefer_local: true,
        ..Connections::default()
    });
    log.create(1, spec);
    log.running(1, 1, 1);
    let told = |log: &Log| {
        let told = log.state.assignment(node(1), Stamp::default(), &[].into());
        let mut networks = told.unwrap().networks.into_iter();
        let app = networks.find(|it| it.id == network(8)).unwrap();
        let web = app.services.first().unwrap().clone();
        (web.endpoints[0].weight, web.prefer_local, web.sticky)
    };
    assert_eq!(told(&log), (1, true, false));
    let known = log.state.node(node(1)).unwrap();
    let (mut spec, version) = (known.spec.clone(), known.meta.version);
    spec.labels.insert("size".to_owned(), "3".to_owned());
    let before = log.state.touched().assignments();
    log.apply(Op::UpdateNode {
        id: node(1),
        version,
        spec,
        drain_limit: None,
    });
    assert_eq!(told(&log), (3, true, false));
    assert!(log.state.touched().assignments() > before, "nobody is told");
}
