//! The agent itself: what the daemon starts, feeds with assignments and listens to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::board::Board;
use super::bounded::{Bounded, Deadlines};
use super::core::Core;
use super::engine::{EngineNews, EngineState, Watcher};
use super::examine::Examiner;
use super::hearsay::Hearsay;
use super::inventory::Inventory;
use super::keeper::Keeper;
use super::limit::Limit;
use super::network::NetworkDriver;
use super::progress::{Progress, Signals};
use super::runtime::Runtime;
use super::store::{self, Store, StoreError};
use super::tunnel_keys::{KeyKeeper, TunnelKeys};
use super::wants::Underlay;
use super::worker::Shared;
use crate::clock::{Clock, SystemClock};
use crate::message::examination::Examination;
use crate::spec::{ClusterId, NodeId, TaskId, Timestamp};
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
    pub clock: Arc<dyn Clock>,
    pub underlay: Underlay,
    pub deadlines: Deadlines,
    /// What the machine has beyond what its engine tells.
    pub inventory: Inventory,
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
            clock: Arc::new(SystemClock),
            underlay: Underlay::default(),
            deadlines: Deadlines::default(),
            inventory: Inventory::default(),
            concurrent_starts: 16,
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
    hearsay: watch::Sender<Arc<Hearsay>>,
    outputs: Outputs,
    examiner: Examiner,
    work: Group,
    /// Stops last: it writes what the others have left.
    store: Group,
}

/// Tasks that are stopped together.
#[derive(Debug)]
struct Group {
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Group {
    fn new() -> Self {
        let stop = CancellationToken::new();
        Self {
            tasks: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        }
    }

    async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
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
        let known = kept.assignment.filter(|assignment| {
            assignment.node == config.node && assignment.cluster == config.cluster
        });
        // Facts without their assignment are another life's.
        let facts = match known {
            Some(_) => kept.facts,
            None => BTreeMap::new(),
        };
        let keys = Arc::new(KeyKeeper::first(&store, config.clock.now()));
        let known = known.map(Arc::new);
        let assignment = watch::Sender::new(known.clone());
        let board = Board::new(config.node, facts);
        let (work, storing) = (Group::new(), Group::new());
        storing.tasks.spawn(store::keep(
            store.clone(),
            known,
            assignment.subscribe(),
            board.clone(),
            storing.stop.clone(),
        ));
        let hearsay = watch::Sender::new(Arc::default());
        let heard = hearsay.subscribe();
        let parts = Parts::new(
            &config,
            runtime,
            driver,
            &assignment,
            &board,
            heard,
            (store, keys),
        );
        let (outputs, examiner) = (parts.outputs(), parts.examiner(&assignment));
        parts.spawn(&work);
        Ok(Self {
            node: config.node,
            cluster: config.cluster,
            assignment,
            board,
            hearsay,
            outputs,
            examiner,
            work,
            store: storing,
        })
    }

    /// The node that this is the agent of.
    pub const fn node(&self) -> NodeId {
        self.node
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

    /// The same, for whoever follows it.
    pub fn assignments(&self) -> watch::Receiver<Option<Arc<Assignment>>> {
        self.assignment.subscribe()
    }

    /// What others are said to be and to have, from now on. It is in force as soon as the tables are
    /// written.
    pub fn hear(&self, hearsay: Hearsay) {
        self.hearsay.send_if_modified(|known| {
            let news = **known != hearsay;
            if news {
                *known = Arc::new(hearsay);
            }
            news
        });
    }

    /// The tasks here whose containers do not run, though they did.
    pub fn dead(&self) -> BTreeSet<TaskId> {
        self.board.dead()
    }

    /// Counts up whenever something of a task here changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.board.changes()
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
        self.outputs.applied.clone()
    }

    /// Whether the container engine answers.
    pub fn engine(&self) -> watch::Receiver<EngineState> {
        self.outputs.engine.clone()
    }

    /// Everything about this node's networks that is not as wanted, in words.
    pub fn troubles(&self) -> watch::Receiver<Vec<String>> {
        self.outputs.troubles.clone()
    }

    /// Compares this node's networks with what is wanted of it, and mends them if it is to: takes
    /// 10 s at most then, beside what the engine takes to answer.
    pub async fn examine(&self, mend: bool) -> Examination {
        self.examiner.examine(mend).await
    }

    /// What this node says of itself. Only the host name until the engine has answered once.
    pub fn describe(&self) -> NodeDescription {
        self.outputs.machine.borrow().clone()
    }

    /// The same, for whoever wants to hear of changes.
    pub fn descriptions(&self) -> watch::Receiver<NodeDescription> {
        self.outputs.machine.clone()
    }

    /// Stops the agent's tasks and waits until what is known is on disk. Containers and tables
    /// stay as they are.
    pub async fn close(&self) {
        self.work.close().await;
        self.store.close().await;
    }
}

/// What the agent's tasks publish.
#[derive(Debug)]
struct Outputs {
    applied: watch::Receiver<Stamp>,
    engine: watch::Receiver<EngineState>,
    machine: watch::Receiver<NodeDescription>,
    troubles: watch::Receiver<Vec<String>>,
}

/// The agent's tasks before they run.
struct Parts {
    core: Core,
    keeper: Keeper,
    key_keeper: KeyKeeper,
    watcher: Watcher,
}

impl Parts {
    fn new(
        config: &AgentConfig,
        runtime: Arc<dyn Runtime>,
        driver: Arc<dyn NetworkDriver>,
        assignment: &watch::Sender<Option<Arc<Assignment>>>,
        board: &Arc<Board>,
        hearsay: watch::Receiver<Arc<Hearsay>>,
        (store, keys): (Store, Arc<TunnelKeys>),
    ) -> Self {
        let runtime: Arc<dyn Runtime> = Arc::new(Bounded::new(runtime, config.deadlines));
        let (sender, news) = mpsc::channel::<EngineNews>(NEWS);
        let progress = watch::Sender::new(Progress::default());
        let signals = Arc::new(Signals::default());
        let watcher = Watcher {
            cluster: config.cluster,
            hostname: config.hostname.clone(),
            inventory: config.inventory.clone(),
            runtime: runtime.clone(),
            clock: config.clock.clone(),
            news: sender,
            state: watch::Sender::new(EngineState {
                up: false,
                epoch: 0,
                since: Timestamp::default(),
                reason: String::new(),
            }),
            machine: watch::Sender::new(NodeDescription {
                hostname: config.hostname.clone(),
                tunnel: Some(keys.end(config.underlay.tunnel_port)),
                ..NodeDescription::default()
            }),
        };
        let key_keeper = KeyKeeper {
            store,
            clock: config.clock.clone(),
            port: config.underlay.tunnel_port,
            assignment: assignment.subscribe(),
            keys: watch::Sender::new(keys),
            machine: watcher.machine.clone(),
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
                signals: signals.clone(),
                listen_within: config.deadlines.listen,
            },
            assignment: assignment.subscribe(),
            kept: assignment.borrow().as_ref().map(|kept| kept.stamp),
            engine: watcher.state.subscribe(),
            news,
        };
        let keeper = Keeper {
            cluster: config.cluster,
            underlay: config.underlay.clone(),
            keys: key_keeper.keys.subscribe(),
            runtime,
            driver,
            board: board.clone(),
            assignment: assignment.subscribe(),
            engine: watcher.state.subscribe(),
            hearsay,
            signals,
            progress,
            applied: watch::Sender::new(Stamp::default()),
            troubles: watch::Sender::new(Vec::new()),
        };
        Self {
            core,
            keeper,
            key_keeper,
            watcher,
        }
    }

    fn outputs(&self) -> Outputs {
        Outputs {
            applied: self.keeper.applied.subscribe(),
            engine: self.watcher.state.subscribe(),
            machine: self.watcher.machine.subscribe(),
            troubles: self.keeper.troubles.subscribe(),
        }
    }

    fn examiner(&self, assignment: &watch::Sender<Option<Arc<Assignment>>>) -> Examiner {
        Examiner {
            cluster: self.keeper.cluster,
            runtime: self.keeper.runtime.clone(),
            driver: self.keeper.driver.clone(),
            assignment: assignment.subscribe(),
            signals: self.keeper.signals.clone(),
        }
    }

    fn spawn(self, group: &Group) {
        group.tasks.spawn(self.keeper.run(group.stop.clone()));
        group.tasks.spawn(self.key_keeper.run(group.stop.clone()));
        group.tasks.spawn(self.core.run(group.stop.clone()));
        group.tasks.spawn(self.watcher.run(group.stop.clone()));
    }
}
