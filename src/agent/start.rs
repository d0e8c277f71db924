//! The agent itself: what the daemon starts, feeds with assignments and listens to.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::Clock;
use super::board::Board;
use super::bounded::{Bounded, Deadlines};
use super::core::Core;
use super::engine::{EngineNews, EngineState, Watcher};
use super::keeper::Keeper;
use super::limit::Limit;
use super::network::NetworkDriver;
use super::progress::Progress;
use super::runtime::Runtime;
use super::store::{self, Store, StoreError};
use super::wants::Underlay;
use super::worker::Shared;
use crate::spec::{ClusterId, NodeId, Timestamp};
use crate::state::assignment::{Assignment, Stamp};
use crate::state::command::TaskReport;
use crate::state::node::NodeDescription;

/// Events of the engine that wait to be looked at; the watcher waits when they are more.
const NEWS: usize = 256;

/// What an agent needs to know.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    pub node: NodeId,
    pub cluster: ClusterId,
    pub hostname: String,
    /// The node's state directory; the agent keeps its own in `agent` below it.
    pub state_dir: PathBuf,
    pub clock: Clock,
    pub underlay: Underlay,
    pub deadlines: Deadlines,
    /// Containers created or started at a time, at most.
    pub concurrent_starts: usize,
}

impl AgentConfig {
    /// With the defaults for everything that a node need not choose.
    pub fn new(node: NodeId, cluster: ClusterId, hostname: String, state_dir: PathBuf) -> Self {
        Self {
            node,
            cluster,
            hostname,
            state_dir,
            clock: Clock::system(),
            underlay: Underlay::default(),
            deadlines: Deadlines::default(),
            concurrent_starts: 8,
        }
    }
}

/// What became of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest now.
    Newest,
    /// One as new or newer is known.
    Stale,
    /// It is another node's or another cluster's.
    NotOurs,
}

/// The worker half of a node. Dropping it stops its tasks and leaves containers and tables as
/// they are.
#[derive(Debug)]
pub struct Agent {
    node: NodeId,
    cluster: ClusterId,
    assignment: watch::Sender<Option<Arc<Assignment>>>,
    board: Arc<Board>,
    applied: watch::Receiver<Stamp>,
    engine: watch::Receiver<EngineState>,
    machine: watch::Receiver<NodeDescription>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Agent {
    /// Goes on with the last assignment that this node was given, if there is one; no manager is
    /// needed. Must be called in a tokio runtime.
    pub fn start(
        config: AgentConfig,
        runtime: Arc<dyn Runtime>,
        driver: Arc<dyn NetworkDriver>,
    ) -> Result<Self, StoreError> {
        let (store, kept) = Store::open(config.state_dir.join("agent"))?;
        let kept_assignment = kept.assignment.filter(|assignment| {
            assignment.node == config.node && assignment.cluster == config.cluster
        });
        // Facts without their assignment are another life's.
        let facts = match kept_assignment {
            Some(_) => kept.facts,
            None => Default::default(),
        };
        let assignment = watch::Sender::new(kept_assignment.map(Arc::new));
        let board = Board::new(config.node, facts);
        let parts = Parts::new(&config, runtime, driver, &assignment, &board);
        let (applied, engine, machine) = parts.outputs();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(store::keep(
            store,
            assignment.borrow().clone(),
            assignment.subscribe(),
            board.clone(),
            stop.clone(),
        ));
        parts.spawn(&tasks, &stop);
        tasks.close();
        Ok(Self {
            node: config.node,
            cluster: config.cluster,
            assignment,
            board,
            applied,
            engine,
            machine,
            tasks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Takes an assignment unless one as new is known. Returns at once; the work follows.
    pub fn assign(&self, assignment: Assignment) -> Taken {
        if assignment.node != self.node || assignment.cluster != self.cluster {
            return Taken::NotOurs;
        }
        let mut taken = Taken::Stale;
        self.assignment.send_if_modified(|known| {
            let newer = known
                .as_ref()
                .is_none_or(|known| known.stamp < assignment.stamp);
            if newer {
                *known = Some(Arc::new(assignment));
                taken = Taken::Newest;
            }
            newer
        });
        taken
    }

    /// The assignment that the agent works on.
    pub fn assignment(&self) -> Option<Arc<Assignment>> {
        self.assignment.borrow().clone()
    }

    /// Waits for news of tasks and returns the newest state of each task that has any. One caller
    /// at a time; what a cancelled call would have returned is returned by the next.
    pub async fn next_reports(&self) -> Vec<TaskReport> {
        self.board.next_reports().await
    }

    /// The newest state of every task of this node: for after a reconnection.
    pub fn full_report(&self) -> Vec<TaskReport> {
        self.board.full_report()
    }

    /// The stamp up to which this node's balancing and names are in force.
    pub fn applied(&self) -> watch::Receiver<Stamp> {
        self.applied.clone()
    }

    /// Whether the container engine answers.
    pub fn engine(&self) -> watch::Receiver<EngineState> {
        self.engine.clone()
    }

    /// What this node says of itself. Only the host name until the engine has answered once.
    pub fn describe(&self) -> NodeDescription {
        self.machine.borrow().clone()
    }

    /// The same, for whoever wants to hear of changes.
    pub fn descriptions(&self) -> watch::Receiver<NodeDescription> {
        self.machine.clone()
    }

    /// Stops the agent's tasks and waits until what is known is on disk. Containers and tables
    /// stay as they are.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// The agent's tasks before they run.
struct Parts {
    core: Core,
    keeper: Keeper,
    watcher: Watcher,
}

impl Parts {
    fn new(
        config: &AgentConfig,
        runtime: Arc<dyn Runtime>,
        driver: Arc<dyn NetworkDriver>,
        assignment: &watch::Sender<Option<Arc<Assignment>>>,
        board: &Arc<Board>,
    ) -> Self {
        let runtime: Arc<dyn Runtime> = Arc::new(Bounded::new(runtime, config.deadlines));
        let (sender, news) = mpsc::channel::<EngineNews>(NEWS);
        let progress = watch::Sender::new(Progress::default());
        let look_again = Arc::new(Notify::new());
        let watcher = Watcher {
            cluster: config.cluster,
            hostname: config.hostname.clone(),
            runtime: runtime.clone(),
            clock: config.clock.clone(),
            news: sender,
            state: watch::Sender::new(EngineState {
                up: false,
                epoch: 0,
                since: Timestamp::default(),
                reason: "not asked yet".to_owned(),
            }),
            machine: watch::Sender::new(NodeDescription {
                hostname: config.hostname.clone(),
                ..NodeDescription::default()
            }),
        };
        let core = Core {
            shared: Shared {
                cluster: config.cluster,
                runtime: runtime.clone(),
                board: board.clone(),
                clock: config.clock.clone(),
                limit: Arc::new(Limit::new(config.concurrent_starts.max(1))),
                progress: progress.subscribe(),
                machine: watcher.machine.subscribe(),
                look_again: look_again.clone(),
            },
            assignment: assignment.subscribe(),
            news,
        };
        let keeper = Keeper {
            cluster: config.cluster,
            underlay: config.underlay.clone(),
            runtime,
            driver,
            board: board.clone(),
            assignment: assignment.subscribe(),
            engine: watcher.state.subscribe(),
            look_again,
            progress,
            applied: watch::Sender::new(Stamp::default()),
        };
        Self {
            core,
            keeper,
            watcher,
        }
    }

    fn outputs(
        &self,
    ) -> (
        watch::Receiver<Stamp>,
        watch::Receiver<EngineState>,
        watch::Receiver<NodeDescription>,
    ) {
        (
            self.keeper.applied.subscribe(),
            self.watcher.state.subscribe(),
            self.watcher.machine.subscribe(),
        )
    }

    fn spawn(self, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(self.keeper.run(stop.clone()));
        tasks.spawn(self.core.run(stop.clone()));
        tasks.spawn(self.watcher.run(stop.clone()));
    }
}
