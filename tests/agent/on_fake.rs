//! The agent on a pretended engine.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use swarmr::agent::fake::Delays;
use swarmr::agent::runtime::Health;
use swarmr::agent::{Agent, Deadlines, FakeNetworkDriver, FakeRuntime, Taken, remove_everything};
use swarmr::spec::TaskId;
use swarmr::state::assignment::{Stamp, Want};
use swarmr::state::task::TaskState;

use super::fixture::{Fixture, eventually, reaches, report_of};

struct Node {
    fixture: Fixture,
    engine: FakeRuntime,
    driver: FakeNetworkDriver,
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        Self {
            fixture: Fixture::new(),
            engine: FakeRuntime::default(),
            driver: FakeNetworkDriver::default(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn start(&self) -> Agent {
        self.fixture
            .start(self.dir.path(), self.engine.clone(), &self.driver)
    }

    /// One service with one task on one network.
    fn with_task(image: &str) -> (Self, TaskId) {
        let mut node = Self::new();
        let network = node.fixture.network(1);
        let service = node.fixture.service(image, &[]);
        let task = node.fixture.task(service, &[network]);
        (node, task)
    }
}

#[tokio::test]
async fn a_task_is_created_on_its_networks_and_runs() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    assert_eq!(agent.assign(node.fixture.assignment()), Taken::Newest);
    let report = reaches(&agent, task, TaskState::Running).await;
    let container = report.container.unwrap();
    let containers = node.engine.containers();
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0].id, container.id.to_string());
    assert_eq!(containers[0].pid, container.pid);
    assert_eq!(containers[0].name, format!("s0.1.{task}"));
    assert_eq!(
        containers[0].addresses.values().collect::<Vec<_>>(),
        ["10.91.1.10".parse::<Ipv4Addr>().unwrap()]
            .iter()
            .collect::<Vec<_>>()
    );
    let label = |name: &str| containers[0].labels.get(name).cloned();
    assert_eq!(label("com.docker.swarm.task.id"), Some(task.to_string()));
    assert_eq!(
        label("io.swarmr.cluster"),
        Some(node.fixture.cluster.to_string())
    );
    assert_eq!(agent.describe().hostname, "h1");
    agent.close().await;
}

#[tokio::test]
async fn every_state_on_the_way_is_told_or_overtaken_in_order() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let mut states = Vec::new();
    while states.last() != Some(&TaskState::Running) {
        for report in agent.next_reports().await {
            assert_eq!(report.task, task);
            states.push(report.state);
        }
    }
    assert!(states.is_sorted(), "{states:?}");
    agent.close().await;
}

#[tokio::test]
async fn the_tables_are_in_force_before_a_task_is_told_to_run() {
    let (mut node, task) = Node::with_task("web:1");
    node.driver.set_failing(true);
    let agent = node.start();
    let assignment = node.fixture.assignment();
    agent.assign(assignment.clone());
    let waiting = eventually("the reason is told", async || {
        report_of(&agent, task).filter(|report| report.err.contains("told to fail"))
    })
    .await;
    assert_eq!(waiting.state, TaskState::Ready);
    assert_eq!(node.engine.running(), 0);
    assert_eq!(*agent.applied().borrow(), Stamp::default());
    node.driver.set_failing(false);
    let running = reaches(&agent, task, TaskState::Running).await;
    assert_eq!(running.err, "");
    assert_eq!(*agent.applied().borrow(), assignment.stamp);
    agent.close().await;
}

#[tokio::test]
async fn an_older_assignment_and_another_nodes_are_ignored() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    let older = node.fixture.assignment();
    node.fixture.want(task, Want::Ready);
    let newer = node.fixture.assignment();
    assert_eq!(agent.assign(newer.clone()), Taken::Newest);
    assert_eq!(agent.assign(older), Taken::Stale);
    assert_eq!(agent.assign(newer), Taken::Stale);
    assert_eq!(agent.assign(Fixture::new().assignment()), Taken::NotOurs);
    reaches(&agent, task, TaskState::Ready).await;
    assert_eq!(node.engine.running(), 0);
    agent.close().await;
}

#[tokio::test]
async fn a_prepared_task_starts_when_it_is_wanted() {
    let (mut node, task) = Node::with_task("web:1");
    node.fixture.want(task, Want::Ready);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Ready).await;
    node.fixture.want(task, Want::Running);
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    assert_eq!(node.engine.created(), 1);
    agent.close().await;
}

#[tokio::test]
async fn a_stopped_task_is_shut_down_and_its_container_kept_until_it_is_forgotten() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    node.fixture.want(task, Want::Draining);
    agent.assign(node.fixture.assignment());
    let mut applied = agent.applied();
    applied.wait_for(|stamp| stamp.revision == 2).await.unwrap();
    assert_eq!(node.engine.running(), 1);
    node.fixture.want(task, Want::Stopped);
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Shutdown).await;
    assert_eq!(node.engine.containers().len(), 1);
    node.fixture.forget(task);
    agent.assign(node.fixture.assignment());
    eventually("the container is removed", async || {
        node.engine.containers().is_empty().then_some(())
    })
    .await;
    eventually("nothing is told of it", async || {
        agent.full_report().is_empty().then_some(())
    })
    .await;
    agent.close().await;
}

#[tokio::test]
async fn a_removed_task_is_told_to_be_shut_down_and_loses_its_container() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    node.fixture.want(task, Want::Removed);
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Shutdown).await;
    eventually("the container is removed", async || {
        node.engine.containers().is_empty().then_some(())
    })
    .await;
    agent.close().await;
}

#[tokio::test]
async fn a_network_that_leaves_the_assignment_is_removed_after_its_last_container() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    assert_eq!(node.engine.networks().len(), 1);
    node.fixture.forget(task);
    node.fixture.networks.clear();
    agent.assign(node.fixture.assignment());
    eventually("the network is removed", async || {
        node.engine.networks().is_empty().then_some(())
    })
    .await;
    assert!(node.driver.applied().unwrap().overlay.networks.is_empty());
    agent.close().await;
}

#[tokio::test]
async fn a_new_agent_adopts_what_runs_without_any_manager() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let before = reaches(&agent, task, TaskState::Running).await;
    agent.close().await;
    assert_eq!(node.engine.running(), 1);

    // `close` put everything on disk; no assignment comes now.
    let agent = node.start();
    let after = reaches(&agent, task, TaskState::Running).await;
    assert_eq!(after, before);
    let mut applied = agent.applied();
    applied.wait_for(|stamp| stamp.revision == 1).await.unwrap();
    assert_eq!(node.engine.created(), 1);
    // It looks after what it adopted.
    node.engine.exit(task, 7);
    let failed = reaches(&agent, task, TaskState::Failed).await;
    assert_eq!(failed.err, "task: non-zero exit (7)");
    agent.close().await;
}

#[tokio::test]
async fn a_container_is_found_again_when_everything_on_disk_is_lost() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    // Dropped, not closed: nothing is written any more.
    drop(agent);
    node.dir = tempfile::tempdir().unwrap();
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    assert_eq!(node.engine.created(), 1);
    agent.close().await;
}

#[tokio::test]
async fn a_container_that_died_while_no_agent_was_there_is_a_failure_and_is_not_run_again() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    agent.close().await;
    node.engine.remove_behind_our_back(task);
    let agent = node.start();
    let failed = reaches(&agent, task, TaskState::Failed).await;
    assert_eq!(failed.err, "the container was removed");
    assert_eq!(node.engine.created(), 1);
    agent.close().await;
}

#[tokio::test]
async fn containers_of_the_cluster_that_no_task_accounts_for_are_removed() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    agent.close().await;
    // The node comes back to an assignment without the task.
    node.dir = tempfile::tempdir().unwrap();
    node.fixture.forget(task);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    eventually("the orphan is removed", async || {
        node.engine.containers().is_empty().then_some(())
    })
    .await;
    agent.close().await;
}

#[tokio::test]
async fn a_container_that_the_assignment_on_disk_does_not_name_is_kept_until_a_manager_has_spoken()
{
    let (mut node, first) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, first, TaskState::Running).await;
    agent.close().await;
    let old_disk = tempfile::tempdir().unwrap();
    copy(
        &node.dir.path().join("agent"),
        &old_disk.path().join("agent"),
    );

    // A second task, and a crash before the assignment that names it was on disk.
    let service = node.fixture.service("web:1", &[]);
    let second = node.fixture.task(service, &[]);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, second, TaskState::Running).await;
    drop(agent);
    node.dir = old_disk;

    let agent = node.start();
    // It adopts, looks after its tasks, and leaves the other container alone.
    reaches(&agent, first, TaskState::Running).await;
    node.engine.exit(first, 7);
    reaches(&agent, first, TaskState::Failed).await;
    assert_eq!(node.engine.containers().len(), 2);
    agent.assign(node.fixture.assignment());
    reaches(&agent, second, TaskState::Running).await;
    assert_eq!(node.engine.created(), 2);
    // Once a manager has spoken, what it does not name goes.
    node.fixture.forget(second);
    agent.assign(node.fixture.assignment());
    eventually("the second container is removed", async || {
        (node.engine.containers().len() == 1).then_some(())
    })
    .await;
    agent.close().await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn an_image_that_exits_at_once_is_a_failure_and_one_that_cannot_be_had_a_rejection() {
    let mut node = Node::new();
    let states = [
        ("broken:1", TaskState::Failed, "task: non-zero exit (1)"),
        ("once:1", TaskState::Complete, ""),
        ("missing:1", TaskState::Rejected, "not found"),
        (
            "unstartable:1",
            TaskState::Failed,
            "executable file not found",
        ),
    ];
    let tasks: Vec<TaskId> = states
        .iter()
        .map(|(image, _, _)| {
            let service = node.fixture.service(image, &[]);
            node.fixture.task(service, &[])
        })
        .collect();
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    for (task, (image, state, err)) in tasks.into_iter().zip(states) {
        let report = reaches(&agent, task, state).await;
        assert!(report.err.contains(err), "{image}: {}", report.err);
    }
    agent.close().await;
}

#[tokio::test]
async fn a_spec_that_cannot_be_made_a_container_is_rejected_with_the_reason() {
    let mut node = Node::new();
    let service = node.fixture.service_of(swarmr::spec::ContainerSpec {
        image: "web:1".to_owned(),
        env: vec!["SLOT={{.Task.Nope}}".to_owned()],
        ..Default::default()
    });
    let task = node.fixture.task(service, &[]);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let rejected = reaches(&agent, task, TaskState::Rejected).await;
    assert!(rejected.err.contains(".Task.Nope"), "{}", rejected.err);
    agent.close().await;
}

#[tokio::test]
async fn a_task_with_a_health_check_runs_once_it_is_healthy_and_is_stopped_when_it_is_not() {
    let mut node = Node::new();
    let network = node.fixture.network(1);
    let service = node.fixture.checked_service("starting:1");
    let task = node.fixture.task(service, &[network]);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Starting).await;
    eventually("it is started", async || {
        (node.engine.running() == 1).then_some(())
    })
    .await;
    node.engine.set_health(task, Health::Healthy);
    reaches(&agent, task, TaskState::Running).await;
    node.engine.set_health(task, Health::Unhealthy);
    let failed = reaches(&agent, task, TaskState::Failed).await;
    assert!(failed.err.contains("unhealthy container"), "{}", failed.err);
    assert_eq!(node.engine.running(), 0);
    agent.close().await;
}

#[tokio::test]
async fn a_call_that_hangs_holds_up_its_own_task_only() {
    let mut node = Node::new();
    let hanging: Vec<TaskId> = (0..12)
        .map(|_| {
            let service = node.fixture.service("hang-create:1", &[]);
            node.fixture.task(service, &[])
        })
        .collect();
    let service = node.fixture.service("web:1", &[]);
    let running: Vec<TaskId> = (0..12).map(|_| node.fixture.task(service, &[])).collect();
    let mut config = node.fixture.config(node.dir.path());
    config.concurrent_starts = 2;
    config.deadlines = Deadlines {
        change: Duration::from_millis(200),
        ..Deadlines::default()
    };
    let agent = Agent::start(
        config,
        Arc::new(node.engine.clone()),
        Arc::new(node.driver.clone()),
    )
    .unwrap();
    agent.assign(node.fixture.assignment());
    for task in running {
        reaches(&agent, task, TaskState::Running).await;
    }
    for task in hanging {
        let rejected = reaches(&agent, task, TaskState::Rejected).await;
        assert!(
            rejected.err.contains("create container took longer"),
            "{}",
            rejected.err
        );
    }
    agent.close().await;
}

#[tokio::test]
async fn an_engine_that_goes_away_and_comes_back_with_its_containers_changes_nothing() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let before = reaches(&agent, task, TaskState::Running).await;
    let mut engine = agent.engine();
    node.engine.go_down(true);
    engine.wait_for(|engine| !engine.up).await.unwrap();
    // Meanwhile it takes assignments, and its tables follow.
    node.fixture.set_serving(task);
    agent.assign(node.fixture.assignment());
    let mut applied = agent.applied();
    applied.wait_for(|stamp| stamp.revision == 2).await.unwrap();
    node.engine.come_back();
    engine.wait_for(|engine| engine.up).await.unwrap();
    let service = node.fixture.service("web:1", &[]);
    let later = node.fixture.task(service, &[]);
    agent.assign(node.fixture.assignment());
    reaches(&agent, later, TaskState::Running).await;
    assert_eq!(report_of(&agent, task), Some(before));
    agent.close().await;
}

#[tokio::test]
async fn containers_that_die_with_their_engine_are_failures_when_it_is_back() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    node.engine.go_down(false);
    let mut engine = agent.engine();
    engine.wait_for(|engine| !engine.up).await.unwrap();
    assert_eq!(report_of(&agent, task).unwrap().state, TaskState::Running);
    node.engine.come_back();
    let failed = reaches(&agent, task, TaskState::Failed).await;
    assert_eq!(failed.err, "task: non-zero exit (137)");
    agent.close().await;
}

#[tokio::test]
async fn a_dead_container_is_out_of_this_nodes_tables_before_any_manager_knows() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    node.fixture.set_serving(task);
    agent.assign(node.fixture.assignment());
    let backends = || {
        node.driver.applied().unwrap().balance.vips[0]
            .backends
            .clone()
    };
    let address: Ipv4Addr = "10.91.1.10".parse().unwrap();
    eventually("it is balanced to", async || {
        (backends() == [address]).then_some(())
    })
    .await;
    node.engine.exit(task, 1);
    eventually("it is not balanced to", async || {
        backends().is_empty().then_some(())
    })
    .await;
    // Its address is still its own, but what was connected to it leads nowhere.
    let held = node.driver.applied().unwrap().balance.held;
    assert!(!held.contains(address));
    agent.close().await;
}

/// A node with a task that publishes port 80 of its containers.
fn publishing() -> (Node, TaskId) {
    let mut node = Node::new();
    let service = node.fixture.service("web:1", &[]);
    node.fixture.publish(service, 80);
    let network = node.fixture.network(1);
    let task = node.fixture.task(service, &[network]);
    (node, task)
}

#[tokio::test]
async fn a_task_runs_once_its_application_listens_and_says_what_it_waits_for() {
    let (mut node, task) = publishing();
    node.engine.listen([8080]);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let waits = "the application does not listen on its published port 80 yet";
    eventually("it says what it waits for", async || {
        let report = report_of(&agent, task)?;
        (report.state == TaskState::Starting && report.err == waits).then_some(())
    })
    .await;
    node.engine.listen([80, 8080]);
    let report = reaches(&agent, task, TaskState::Running).await;
    assert_eq!(report.err, "");
    agent.close().await;
}

#[tokio::test]
async fn a_task_that_ends_before_it_listens_is_never_said_to_run() {
    let (mut node, task) = publishing();
    node.engine.end_before_listening(task);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let mut states = Vec::new();
    while states.last() != Some(&TaskState::Failed) {
        states.extend(agent.next_reports().await.iter().map(|report| report.state));
    }
    assert!(!states.contains(&TaskState::Running), "{states:?}");
    agent.close().await;
}

#[tokio::test]
async fn a_task_whose_application_never_listens_runs_all_the_same() {
    let (mut node, task) = publishing();
    node.engine.listen([]);
    let mut config = node.fixture.config(node.dir.path());
    config.deadlines.listen = Duration::from_millis(100);
    let engine = Arc::new(node.engine.clone());
    let agent = Agent::start(config, engine, Arc::new(node.driver.clone())).unwrap();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    agent.close().await;
}

#[tokio::test]
async fn a_subnet_that_is_taken_here_holds_up_the_task_with_the_reason() {
    let (mut node, task) = Node::with_task("web:1");
    node.engine.occupy("10.91.0.0/16".parse().unwrap());
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let waiting = eventually("the reason is told", async || {
        report_of(&agent, task).filter(|report| report.err.contains("overlaps 10.91.0.0/16"))
    })
    .await;
    assert_eq!(waiting.state, TaskState::Preparing);
    // Networks of the node that are not affected are.
    assert_eq!(node.engine.created(), 0);
    agent.close().await;
}

#[tokio::test]
async fn an_engine_kept_in_a_file_survives_the_process() {
    let (mut node, task) = Node::with_task("web:1");
    let file = node.dir.path().join("engine.json");
    let open = || FakeRuntime::open(file.clone(), Delays::default()).unwrap();
    node.engine = open();
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    drop(agent);
    node.engine = open();
    assert_eq!(node.engine.running(), 1);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    assert_eq!(node.engine.created(), 1);
    agent.close().await;
}

#[tokio::test]
async fn a_node_that_leaves_keeps_nothing_of_the_cluster() {
    let (mut node, task) = Node::with_task("web:1");
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    agent.close().await;
    remove_everything(
        Arc::new(node.engine.clone()),
        &node.driver,
        node.fixture.cluster,
    )
    .await
    .unwrap();
    assert!(node.engine.containers().is_empty());
    assert!(node.engine.networks().is_empty());
    assert_eq!(
        node.driver.applied(),
        Some(swarmr::agent::NetworkWants::default())
    );
}

#[tokio::test]
async fn hundreds_of_tasks_come_and_go() {
    let mut node = Node::new();
    let service = node.fixture.service("web:1", &[]);
    let tasks: Vec<TaskId> = (0..200).map(|_| node.fixture.task(service, &[])).collect();
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    eventually("all run", async || {
        let reports = agent.full_report();
        let running = reports
            .iter()
            .filter(|report| report.state == TaskState::Running)
            .count();
        (running == tasks.len()).then_some(())
    })
    .await;
    assert_eq!(node.engine.created(), 200);
    for task in tasks {
        node.fixture.forget(task);
    }
    agent.assign(node.fixture.assignment());
    eventually("all are gone", async || {
        (node.engine.containers().is_empty() && agent.full_report().is_empty()).then_some(())
    })
    .await;
    agent.close().await;
}

#[tokio::test]
async fn a_task_that_waits_for_an_absent_engine_says_so_and_runs_when_it_is_there() {
    let (mut node, task) = Node::with_task("web:1");
    node.engine.go_down(true);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let waiting = eventually("the reason is told", async || {
        report_of(&agent, task).filter(|report| report.err.contains("does not answer"))
    })
    .await;
    assert_eq!(waiting.state, TaskState::Accepted);
    node.engine.come_back();
    reaches(&agent, task, TaskState::Running).await;
    agent.close().await;
}

/// A node with one task that has init containers.
fn with_inits(inits: &[(&str, &str, &[&str])]) -> (Node, TaskId) {
    let mut node = Node::new();
    let network = node.fixture.network(1);
    let service = node.fixture.service("web:1", &[]);
    node.fixture.inits(service, inits);
    let task = node.fixture.task(service, &[network]);
    (node, task)
}

#[tokio::test]
async fn init_containers_run_one_after_the_other_and_leave_nothing() {
    let (mut node, task) = with_inits(&[("one", "once:1", &[]), ("two", "slow:1", &[])]);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let second = eventually("the second runs", async || {
        report_of(&agent, task).filter(|it| it.message == "preparing: init 2 of 2 two")
    })
    .await;
    assert_eq!(second.state, TaskState::Preparing);
    eventually("it alone runs", async || {
        (node.engine.running() == 1 && node.engine.containers().len() == 1).then_some(())
    })
    .await;
    node.engine.exit(task, 0);
    reaches(&agent, task, TaskState::Running).await;
    let containers = node.engine.containers();
    assert_eq!(containers.len(), 1, "{containers:?}");
    assert!(!containers[0].name.contains("init"), "{containers:?}");
    assert_eq!(node.engine.created(), 3);
    node.fixture.forget(task);
    agent.assign(node.fixture.assignment());
    eventually("nothing is left", async || {
        node.engine.containers().is_empty().then_some(())
    })
    .await;
    agent.close().await;
}

#[tokio::test]
async fn an_init_container_that_fails_fails_its_task() {
    let (mut node, task) = with_inits(&[("check", "broken:1", &[]), ("two", "once:1", &[])]);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    let failed = reaches(&agent, task, TaskState::Failed).await;
    assert_eq!(failed.err, "init container check: task: non-zero exit (1)");
    assert_eq!(node.engine.created(), 1);
    node.fixture.forget(task);
    agent.assign(node.fixture.assignment());
    eventually("nothing is left", async || {
        node.engine.containers().is_empty().then_some(())
    })
    .await;
    agent.close().await;
}

#[tokio::test]
async fn a_new_agent_goes_on_after_the_init_containers_that_have_run() {
    let (mut node, task) = with_inits(&[("one", "slow:1", &[]), ("two", "slow:1", &[])]);
    let assignment = node.fixture.assignment();
    let runs = async |engine: &FakeRuntime, suffix: &str| {
        eventually("it runs", async || {
            let containers = engine.containers();
            let named = |name: &str| name.ends_with(suffix);
            (engine.running() == 1 && containers.iter().any(|it| named(&it.name))).then_some(())
        })
        .await;
    };
    let mut agent = node.start();
    agent.assign(assignment.clone());
    // Each ends while no agent looks, and nothing that was on disk helps.
    for (place, suffix) in [".init-1", ".init-2"].into_iter().enumerate() {
        runs(&node.engine, suffix).await;
        agent.close().await;
        node.dir = tempfile::tempdir().unwrap();
        node.engine.exit(task, 0);
        agent = node.start();
        agent.assign(node.fixture.assignment());
        assert!(node.engine.created() <= place as u64 + 2);
    }
    reaches(&agent, task, TaskState::Running).await;
    agent.close().await;
    node.dir = tempfile::tempdir().unwrap();
    agent = node.start();
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    assert_eq!(node.engine.created(), 3, "each was made once");
    assert_eq!(node.engine.containers().len(), 1);
    agent.close().await;
}

#[tokio::test]
async fn a_held_task_starts_no_init_container() {
    let (mut node, task) = with_inits(&[("one", "once:1", &[])]);
    node.fixture.want(task, Want::Ready);
    let agent = node.start();
    agent.assign(node.fixture.assignment());
    eventually("it is made", async || {
        (node.engine.created() == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(node.engine.created(), 1);
    node.fixture.want(task, Want::Running);
    agent.assign(node.fixture.assignment());
    reaches(&agent, task, TaskState::Running).await;
    agent.close().await;
}
