//! The agent on a real engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use swarmr::agent::{Agent, Docker, FakeNetworkDriver, NetDriver, Runtime};
use swarmr::spec::container::Mount;
use swarmr::spec::{ContainerSpec, Nanos, NetworkId};
use swarmr::state::assignment::Want;
use swarmr::state::task::TaskState;
use swarmr_net::datapath::DataPath;

use super::engine;
use super::fixture::{Fixture, eventually, reaches, report_of};

#[tokio::test]
async fn tasks_run_are_adopted_by_a_new_agent_and_go() {
    let Some(engine) = engine::engine().await else {
        return;
    };
    let docker = || Docker::new(&engine.socket());
    let mut fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let driver = FakeNetworkDriver::default();
    let network = fixture.network(201);
    let serve = fixture.service(engine::SERVE, &[]);
    let broken = fixture.service(engine::TOOLS, &["/bin/false"]);
    let tasks: Vec<_> = (0..4).map(|_| fixture.task(serve, &[network])).collect();
    let failing = fixture.task(broken, &[network]);

    let agent = fixture.start(dir.path(), docker(), &driver);
    agent.assign(fixture.assignment());
    for task in &tasks {
        reaches(&agent, *task, TaskState::Running).await;
    }
    let failed = reaches(&agent, failing, TaskState::Failed).await;
    assert_eq!(failed.err, "task: non-zero exit (1)");
    agent.close().await;

    let before = ids(&docker(), &fixture).await;
    assert_eq!(before.len(), 5);
    let agent = fixture.start(dir.path(), docker(), &driver);
    fixture.want(tasks[0], Want::Stopped);
    agent.assign(fixture.assignment());
    reaches(&agent, tasks[0], TaskState::Shutdown).await;
    for task in &tasks[1..] {
        reaches(&agent, *task, TaskState::Running).await;
    }
    assert_eq!(ids(&docker(), &fixture).await, before);

    for task in tasks.into_iter().chain([failing]) {
        fixture.forget(task);
    }
    fixture.networks.clear();
    agent.assign(fixture.assignment());
    eventually("nothing is left", async || {
        let docker = docker();
        let containers = docker.list(fixture.cluster).await.unwrap();
        let networks = docker.list_networks(fixture.cluster).await.unwrap();
        (containers.is_empty() && networks.is_empty()).then_some(())
    })
    .await;
    agent.close().await;
}

#[tokio::test]
async fn init_containers_share_the_tasks_mounts_and_are_gone_when_it_runs() {
    let Some(engine) = engine::engine().await else {
        return;
    };
    let docker = || Docker::new(&engine.socket());
    let mut fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let driver = FakeNetworkDriver::default();
    let network = fixture.network(204);
    let volume = format!("inits-{}", fixture.cluster);
    let check = "grep -qx one /data/log && grep -qx two /data/log && sleep 1000";
    let service = fixture.service_of(ContainerSpec {
        image: engine::TOOLS.to_owned(),
        args: ["/bin/sh", "-c", check].map(str::to_owned).to_vec(),
        stop_grace_period: Some(Nanos::from_secs(1)),
        mounts: vec![Mount {
            source: volume.clone(),
            target: "/data".to_owned(),
            ..Mount::default()
        }],
        ..ContainerSpec::default()
    });
    fixture.inits(
        service,
        &[
            (
                "one",
                engine::TOOLS,
                &["/bin/sh", "-c", "echo one >> /data/log"],
            ),
            (
                "two",
                engine::TOOLS,
                &["/bin/sh", "-c", "echo two >> /data/log"],
            ),
        ],
    );
    let failing = fixture.service(engine::SERVE, &[]);
    fixture.inits(failing, &[("check", engine::TOOLS, &["/bin/false"])]);
    let task = fixture.task(service, &[network]);
    let failing = fixture.task(failing, &[network]);
    let agent = fixture.start(dir.path(), docker(), &driver);
    agent.assign(fixture.assignment());
    let failed = reaches(&agent, failing, TaskState::Failed).await;
    assert_eq!(failed.err, "init container check: task: non-zero exit (1)");
    reaches(&agent, task, TaskState::Running).await;
    let listed = docker().list(fixture.cluster).await.unwrap();
    let own: Vec<_> = listed.iter().filter(|it| it.task == Some(task)).collect();
    assert_eq!(own.len(), 1, "{listed:?}");
    assert!(!own[0].name.contains(".init-"), "{listed:?}");
    for task in [task, failing] {
        fixture.forget(task);
    }
    fixture.networks.clear();
    agent.assign(fixture.assignment());
    eventually("nothing is left", async || {
        let left = docker().list(fixture.cluster).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
    agent.close().await;
}

#[tokio::test]
async fn an_engine_killed_with_live_restore_on_changes_nothing() {
    if engine::engine().await.is_none() {
        return;
    }
    let engine = engine::own_engine().await;
    let mut fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let driver = FakeNetworkDriver::default();
    let network = fixture.network(202);
    let serve = fixture.service(engine::SERVE, &[]);
    let task = fixture.task(serve, &[network]);
    let agent = fixture.start(dir.path(), Docker::new(&engine.socket()), &driver);
    agent.assign(fixture.assignment());
    let before = reaches(&agent, task, TaskState::Running).await;

    let mut state = agent.engine();
    engine.kill().await;
    state.wait_for(|engine| !engine.up).await.unwrap();
    let later = fixture.task(serve, &[network]);
    agent.assign(fixture.assignment());
    engine.start().await;
    state.wait_for(|engine| engine.up).await.unwrap();
    reaches(&agent, later, TaskState::Running).await;
    assert_eq!(report_of(&agent, task), Some(before));
    agent.close().await;
}

async fn ids(docker: &Docker, fixture: &Fixture) -> BTreeSet<String> {
    let containers = docker.list(fixture.cluster).await.unwrap();
    containers
        .into_iter()
        .map(|container| container.id)
        .collect()
}

/// Asks the resolver for `web0` until it gets an address where somebody says hello.
const ASK: &str = "until nslookup -type=a web0 127.0.0.11 > /tmp/answer && \
     address=$(sed -n 's/^Address: *\\(10\\..*\\)/\\1/p' /tmp/answer) && \
     [ \"$(nc -w 3 $address 80 < /dev/null)\" = hello ]; do sleep 0.1; done";

#[test]
fn a_task_calls_a_service_by_its_name_through_the_nodes_own_tables() {
    let starter = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let Some(engine) = starter.block_on(async {
        engine::engine().await?;
        Some(engine::own_engine().await)
    }) else {
        return;
    };
    // The node's own network is the engine's namespace: its threads live there.
    let space = format!("/proc/{}/ns/net", engine.pid());
    let node = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(move || {
            let space = std::fs::File::open(&space).unwrap();
            nix::sched::setns(space, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        })
        .enable_all()
        .build()
        .unwrap();
    let mut fixture = Fixture::new();
    let network = fixture.network(203);
    let dir = tempfile::tempdir().unwrap();
    let (config, socket) = (fixture.config(dir.path()), engine.socket());
    let agent = node.spawn(async move {
        let path = Arc::new(DataPath::start(&[]).unwrap());
        let driver = Arc::new(NetDriver::new(path));
        Agent::start(config, Arc::new(Docker::new(&socket)), driver).unwrap()
    });
    starter.block_on(async {
        call_by_name(&mut fixture, network, agent.await.unwrap()).await;
    });
    node.shutdown_timeout(std::time::Duration::from_secs(10));
}

async fn call_by_name(fixture: &mut Fixture, network: NetworkId, agent: Agent) {
    let hello = ["/bin/nc", "-ll", "-p", "80", "-e", "/bin/echo", "hello"];
    let web = fixture.service(engine::TOOLS, &hello);
    let ask = fixture.service(engine::TOOLS, &["/bin/sh", "-c", ASK]);
    let servers = [(); 2].map(|()| fixture.task(web, &[network]));
    agent.assign(fixture.assignment());
    for server in servers {
        reaches(&agent, server, TaskState::Running).await;
        fixture.set_serving(server);
    }
    let caller = fixture.task(ask, &[network]);
    agent.assign(fixture.assignment());
    reaches(&agent, caller, TaskState::Complete).await;
    assert!(agent.troubles().borrow().is_empty());
    agent.close().await;
}
