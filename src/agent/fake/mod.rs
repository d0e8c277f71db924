//! A container engine that only pretends: for tests, and for `--engine fake`.
//!
//! It keeps the promises of a real one, as the conformance suite checks on both. Clones share one
//! engine, so it outlives an agent; opened with a file it outlives the process too. What a
//! container does follows from its image's name:
//!
//! | name contains | the container |
//! |---|---|
//! | `broken` | exits with 1 as soon as it is started |
//! | `once` | exits with 0 as soon as it is started |
//! | `unstartable` | cannot be started |
//! | `unhealthy`, `starting` | has that health, if its spec has a health check |
//! | `stubborn` | ignores its stop signal |
//! | `missing` | is of an image that no registry has |
//! | `hang-create`, `hang-start`, `hang-stop` | never lets that call return |
//!
//! Everything else runs until it is stopped, and is healthy.

mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast;

use super::container::ContainerWant;
use super::runtime::{
    ContainerView, EngineNetwork, EngineNetworkWant, EventKind, Health, LABEL_CLUSTER, LABEL_TASK,
    ListedContainer, Phase, PullPolicy, Runtime, RuntimeError, RuntimeEvent,
};
use crate::spec::network::Subnet;
use crate::spec::{ClusterId, TaskId};
use crate::state::node::NodeDescription;

use state::{FakeContainer, FakeState};

/// Events that a slow watcher may miss before it is told to look again.
const EVENTS: usize = 1024;

/// A handle on a pretended engine.
#[derive(Debug, Clone)]
pub struct FakeRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<FakeState>,
    /// `None` while the engine is down.
    events: Mutex<Option<broadcast::Sender<RuntimeEvent>>>,
    file: Option<PathBuf>,
    delays: Delays,
    listened: Mutex<Listened>,
}

/// What is seen of the containers' ports.
#[derive(Debug, Clone, Default)]
enum Listened {
    #[default]
    Everything,
    Ports(BTreeSet<u16>),
    /// This task ends just before it is looked at, and the engine knows of it a little later.
    TooLate(TaskId),
}

/// How long calls take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delays {
    pub create: Duration,
    pub start: Duration,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self::new(Delays::default())
    }
}

impl FakeRuntime {
    /// An engine without containers, gone with the process.
    pub fn new(delays: Delays) -> Self {
        Self::with(FakeState::default(), None, delays)
    }

    /// An engine whose containers are kept in a file, so that they survive `kill -9` of the
    /// process as those of a real engine do. A file that is absent is an engine without any.
    pub fn open(file: PathBuf, delays: Delays) -> std::io::Result<Self> {
        let state = FakeState::read(&file)?;
        Ok(Self::with(state, Some(file), delays))
    }

    fn with(state: FakeState, file: Option<PathBuf>, delays: Delays) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                events: Mutex::new(Some(broadcast::Sender::new(EVENTS))),
                file,
                delays,
                listened: Mutex::default(),
            }),
        }
    }

    /// The engine goes away. With `live_restore` its containers go on running, without it they
    /// are killed.
    pub fn go_down(&self, live_restore: bool) {
        lock(&self.inner.events).take();
        if !live_restore {
            self.change(|state| {
                for container in state.containers.values_mut().filter(|it| it.is_running()) {
                    container.phase = exited(137);
                }
            });
        }
    }

    /// The engine answers again.
    pub fn come_back(&self) {
        lock(&self.inner.events).get_or_insert_with(|| broadcast::Sender::new(EVENTS));
    }

    /// A task's container ends by itself.
    pub fn exit(&self, task: TaskId, code: i64) {
        self.set_phase(task, exited(code), EventKind::Exited);
    }

    /// A task's container is found healthy or not.
    pub fn set_health(&self, task: TaskId, health: Health) {
        self.set_phase(task, Phase::Running(health), EventKind::HealthChanged);
    }

    /// What all containers listen on from now on; before that, everything.
    pub fn listen(&self, ports: impl IntoIterator<Item = u16>) {
        *lock(&self.inner.listened) = Listened::Ports(ports.into_iter().collect());
    }

    /// A task's container ends just before it is looked at whether it listens.
    pub fn end_before_listening(&self, task: TaskId) {
        *lock(&self.inner.listened) = Listened::TooLate(task);
    }

    /// Somebody removes a task's container by hand.
    pub fn remove_behind_our_back(&self, task: TaskId) {
        let ids = self.ids_of(task);
        self.change(|state| state.containers.retain(|id, _| !ids.contains(id)));
        for id in ids {
            self.tell(&id, Some(task), EventKind::Removed);
        }
    }

    /// A local network that is none of ours takes a subnet.
    pub fn occupy(&self, subnet: Subnet) {
        self.change(|state| state.foreign_subnets.push(subnet));
    }

    /// Every container, in the order of their creation.
    pub fn containers(&self) -> Vec<ContainerView> {
        let state = lock(&self.inner.state);
        state.containers.values().map(FakeContainer::view).collect()
    }

    /// The containers that run.
    pub fn running(&self) -> usize {
        let state = lock(&self.inner.state);
        state
            .containers
            .values()
            .filter(|it| it.is_running())
            .count()
    }

    /// Names of the networks.
    pub fn networks(&self) -> Vec<String> {
        lock(&self.inner.state).networks.keys().cloned().collect()
    }

    /// How many containers were ever created.
    pub fn created(&self) -> u64 {
        lock(&self.inner.state).created
    }

    fn ids_of(&self, task: TaskId) -> Vec<String> {
        let state = lock(&self.inner.state);
        state
            .containers
            .values()
            .filter(|container| container.task() == Some(task))
            .map(|container| container.id.clone())
            .collect()
    }

    fn set_phase(&self, task: TaskId, phase: Phase, kind: EventKind) {
        for id in self.ids_of(task) {
            self.change(|state| {
                if let Some(container) = state.containers.get_mut(&id) {
                    container.phase = phase.clone();
                }
            });
            self.tell(&id, Some(task), kind);
        }
    }

    fn tell(&self, container: &str, task: Option<TaskId>, kind: EventKind) {
        if let Some(events) = &*lock(&self.inner.events) {
            // Nobody may be watching.
            let _ = events.send(RuntimeEvent {
                container: container.to_owned(),
                task,
                kind,
            });
        }
    }

    fn check_up(&self) -> Result<(), RuntimeError> {
        match &*lock(&self.inner.events) {
            Some(_) => Ok(()),
            None => Err(RuntimeError::Unavailable("connection refused".to_owned())),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut FakeState) -> T) -> T {
        let mut state = lock(&self.inner.state);
        let result = change(&mut state);
        if let Some(file) = &self.inner.file
            && let Err(error) = state.write(file)
        {
            tracing::error!(%error, path = %file.display(), "cannot be written");
        }
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves the tables whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn exited(code: i64) -> Phase {
    Phase::Exited {
        code,
        out_of_memory: false,
        error: String::new(),
    }
}

fn no_such(container: &str) -> RuntimeError {
    RuntimeError::NoSuchContainer(format!("No such container: {container}"))
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn describe(&self) -> Result<NodeDescription, RuntimeError> {
        self.check_up()?;
        Ok(NodeDescription {
            hostname: String::new(),
            architecture: "x86_64".to_owned(),
            os: "linux".to_owned(),
            nano_cpus: 4_000_000_000,
            memory_bytes: 8 << 30,
            engine_version: "fake".to_owned(),
            engine_labels: BTreeMap::new(),
            plugins: vec![("Network".to_owned(), "bridge".to_owned())],
            generic_resources: Vec::new(),
            tunnel: None,
            devices: Vec::new(),
        })
    }

    async fn list(&self, cluster: ClusterId) -> Result<Vec<ListedContainer>, RuntimeError> {
        self.check_up()?;
        let state = lock(&self.inner.state);
        let cluster = cluster.to_string();
        Ok(state
            .containers
            .values()
            .filter(|container| container.labels.get(LABEL_CLUSTER) == Some(&cluster))
            .map(|container| ListedContainer {
                id: container.id.clone(),
                name: container.name.clone(),
                task: container.task(),
                running: container.is_running(),
            })
            .collect())
    }

    async fn pull(&self, image: &str, _policy: PullPolicy) -> Result<(), RuntimeError> {
        self.check_up()?;
        if image.contains("missing") {
            return Err(RuntimeError::NoSuchImage(format!(
                "manifest for {image} not found"
            )));
        }
        self.change(|state| state.pulled.insert(image.to_owned()));
        Ok(())
    }

    async fn create(&self, want: &ContainerWant) -> Result<String, RuntimeError> {
        self.check_up()?;
        if want.spec.image.contains("hang-create") {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.inner.delays.create).await;
        self.check_up()?;
        self.change(|state| state.create(want))
    }

    async fn start(&self, container: &str) -> Result<(), RuntimeError> {
        self.check_up()?;
        let image = lock(&self.inner.state)
            .find(container)
            .map(|found| found.image.clone())
            .ok_or_else(|| no_such(container))?;
        if image.contains("hang-start") {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.inner.delays.start).await;
        self.check_up()?;
        let (id, task, runs) = self.change(|state| state.start(container))?;
        self.tell(&id, task, EventKind::Started);
        if !runs {
            self.tell(&id, task, EventKind::Exited);
        }
        Ok(())
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        self.check_up()?;
        let found = lock(&self.inner.state)
            .find(container)
            .cloned()
            .ok_or_else(|| no_such(container))?;
        if !found.is_running() {
            return Ok(());
        }
        if found.image.contains("hang-stop") {
            std::future::pending::<()>().await;
        }
        let stubborn = found.image.contains("stubborn");
        if stubborn {
            tokio::time::sleep(grace).await;
            self.check_up()?;
        }
        let code = if stubborn { 137 } else { 143 };
        self.change(|state| {
            if let Some(container) = state.containers.get_mut(&found.id)
                && container.is_running()
            {
                container.phase = exited(code);
            }
        });
        self.tell(&found.id, found.task(), EventKind::Exited);
        Ok(())
    }

    async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        self.check_up()?;
        let found = lock(&self.inner.state)
            .find(container)
            .cloned()
            .ok_or_else(|| no_such(container))?;
        if found.is_running() {
            return Err(RuntimeError::Refused(format!(
                "cannot remove container {container}: it is running"
            )));
        }
        self.change(|state| state.containers.remove(&found.id));
        self.tell(&found.id, found.task(), EventKind::Removed);
        Ok(())
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerView>, RuntimeError> {
        self.check_up()?;
        Ok(lock(&self.inner.state)
            .find(container)
            .map(FakeContainer::view))
    }

    async fn listened_ports(&self, _pid: i64, among: &[u16]) -> Option<BTreeSet<u16>> {
        let listened = lock(&self.inner.listened).clone();
        match listened {
            Listened::Everything => Some(among.iter().copied().collect()),
            Listened::Ports(ports) => Some(ports),
            Listened::TooLate(task) => {
                // An engine is told of an end some time after it.
                let engine = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    engine.exit(task, 1);
                });
                None
            }
        }
    }

    async fn watch(
        &self,
        cluster: ClusterId,
    ) -> Result<BoxStream<'static, RuntimeEvent>, RuntimeError> {
        let events = lock(&self.inner.events)
            .as_ref()
            .map(broadcast::Sender::subscribe)
            .ok_or_else(|| RuntimeError::Unavailable("connection refused".to_owned()))?;
        // All containers of a pretended engine are of the one cluster that its node is in.
        let _ = cluster;
        let news = stream::unfold(events, |mut events| async move {
            // A watcher that has fallen behind is disconnected: it looks at everything again.
            events.recv().await.ok().map(|event| (event, events))
        });
        Ok(news.boxed())
    }

    async fn ensure_network(&self, want: &EngineNetworkWant) -> Result<(), RuntimeError> {
        self.check_up()?;
        self.change(|state| state.ensure_network(want))
    }

    async fn remove_network(&self, name: &str) -> Result<(), RuntimeError> {
        self.check_up()?;
        self.change(|state| state.remove_network(name))
    }

    async fn list_networks(&self, cluster: ClusterId) -> Result<Vec<EngineNetwork>, RuntimeError> {
        self.check_up()?;
        let state = lock(&self.inner.state);
        Ok(state
            .networks
            .iter()
            .filter(|(_, network)| network.cluster == cluster)
            .map(|(name, network)| EngineNetwork {
                id: name.clone(),
                name: name.clone(),
                network: Some(network.network),
            })
            .collect())
    }
}

impl FakeContainer {
    fn task(&self) -> Option<TaskId> {
        self.labels.get(LABEL_TASK)?.parse().ok()
    }
}
