//! The consensus thread: puts a member together, waits until it is told to stop, takes it apart.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use openraft::RaftLogReader as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::storage::RaftLogStorage as _;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::driver;
use crate::error::StartError;
use crate::log::{Log, LogStats};
use crate::machine::Machine;
use crate::members::Members;
use crate::network::Network;
use crate::propose::Proposer;
use crate::read::Reader;
use crate::serve::Server;
use crate::snapshot::SnapshotStore;
use crate::status::Status;
use crate::store_dir::{StoreDir, at};
use crate::threads;
use crate::transport::Transport;
use crate::types::{Consensus, Metrics};

/// Time for file work that is under way when a member stops.
const FILE_WORK_PATIENCE: Duration = Duration::from_secs(5);

/// Whether and how a member is to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    /// Tell openraft, and let what is under way end.
    Gracefully,
    /// Just end: as good as a crash for everybody else.
    AtOnce,
}

/// What a member consists of once it runs.
pub(crate) struct Parts {
    pub(crate) consensus: Consensus,
    pub(crate) proposer: Proposer,
    pub(crate) reader: Reader,
    pub(crate) members: Members,
    pub(crate) server: Server,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) log_stats: Box<dyn Fn() -> LogStats + Send + Sync>,
}

/// The threads that end when the runtime is gone, and what must outlive them.
struct Threads {
    log: JoinHandle<()>,
    machine: JoinHandle<()>,
    dir: StoreDir,
}

/// The consensus thread, from start to end.
pub(crate) fn run(
    config: Config,
    machine: impl Machine,
    transport: Arc<dyn Transport>,
    started: oneshot::Sender<Result<Parts, StartError>>,
    mut stop: watch::Receiver<Stop>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = started.send(Err(at(&config.dir)(source)));
            return;
        }
    };
    let threads = runtime.block_on(async {
        let (parts, threads) = match build(config, machine, transport).await {
            Ok(built) => built,
            Err(error) => {
                // Whoever started it may have left.
                let _ = started.send(Err(error));
                return None;
            }
        };
        let consensus = parts.consensus.clone();
        if started.send(Ok(parts)).is_err() {
            return Some(threads);
        }
        let how = stop.wait_for(|stop| *stop != Stop::No).await;
        if how.is_ok_and(|how| *how == Stop::Gracefully)
            && let Err(error) = consensus.shutdown().await
        {
            tracing::warn!(%error, "consensus did not end in good order");
        }
        Some(threads)
    });
    // With its tasks go the channels that keep the other threads alive.
    runtime.shutdown_timeout(FILE_WORK_PATIENCE);
    let Some(threads) = threads else { return };
    for thread in [threads.log, threads.machine] {
        if thread.join().is_err() {
            tracing::error!("a thread of this member panicked");
        }
    }
    // Unlocked only now that nothing writes to it any more.
    drop(threads.dir);
}

/// Puts a member together, on the consensus thread.
async fn build(
    config: Config,
    machine: impl Machine,
    transport: Arc<dyn Transport>,
) -> Result<(Parts, Threads), StartError> {
    let settings = config.openraft()?;
    let dir = StoreDir::open(&config.dir, config.id)?;
    let (mut log, log_thread) = Log::open(&dir.log(), config.segment_bytes)?;
    let log_state = log.get_log_state().await.map_err(at(&dir.log()))?;
    let log_begins = log_state.last_purged_log_id.map_or(0, |id| id.index + 1);
    let voted = log.get_log_reader().await.read_vote().await;
    let votes_from = match voted.map_err(at(&dir.log()))? {
        Some(_) => Instant::now() + config.timing.election_max,
        None => Instant::now(),
    };
    let snapshots = Arc::new(SnapshotStore::open(&dir.snapshots(), log_begins)?);
    let (applied_now, applied) = watch::channel(0);
    let (engine, driver) = driver::connect(machine, snapshots.clone(), applied_now);
    let machine_thread =
        threads::spawn("raft-machine", move || engine.run()).map_err(at(&config.dir))?;
    let (status_now, status) = watch::channel(Status::unknown(config.id));
    let network = Network::new(config.id, config.timing, transport, status.clone());
    let log_stats = Box::new(log_thread.stats());
    let consensus = Consensus::new(config.id, Arc::new(settings), network.clone(), log, driver)
        .await
        .map_err(|fatal| StartError::Stopped(fatal.to_string()))?;
    tokio::spawn(publish_status(consensus.clone(), status_now));
    let (pause, paused) = watch::channel(false);
    let members = Members::new(
        config.id,
        consensus.clone(),
        config.timing,
        Handle::current(),
        pause,
    );
    tokio::spawn(members.clone().finish_abandoned_changes(status.clone()));
    let (proposer, task) = Proposer::new(consensus.clone(), config.timing, status.clone(), paused);
    tokio::spawn(task.run());
    let reader = Reader {
        consensus: consensus.clone(),
        network,
        timing: config.timing,
        applied,
    };
    let server = Server {
        id: config.id,
        consensus: consensus.clone(),
        reader: reader.clone(),
        snapshots,
        votes_from,
        incoming: Arc::default(),
    };
    let parts = Parts {
        consensus,
        proposer,
        reader,
        members,
        server,
        status,
        log_stats,
    };
    let threads = Threads {
        log: log_thread.thread,
        machine: machine_thread,
        dir,
    };
    Ok((parts, threads))
}

/// Turns openraft's metrics into our status, for as long as the member runs. They change with every
/// tick; those who watch are woken only by what is more than the passing of time.
async fn publish_status(consensus: Consensus, status: watch::Sender<Status>) {
    let mut metrics = consensus.metrics();
    let mut published = None;
    loop {
        {
            let now = metrics.borrow_watched();
            if published.as_ref().is_none_or(|last| !is_same(last, &now)) {
                status.send_replace(Status::from_metrics(&now));
                published = Some(now.clone());
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Whether two looks differ in times only.
fn is_same(a: &Metrics, b: &Metrics) -> bool {
    let log = |it: &Metrics| (it.last_log_index, it.local_committed, it.last_applied);
    let kept = |it: &Metrics| (it.snapshot, it.purged);
    let vote = |it: &Metrics| (it.current_term, it.state, it.current_leader);
    vote(a) == vote(b)
        && log(a) == log(b)
        && kept(a) == kept(b)
        && a.replication == b.replication
        && a.membership_config == b.membership_config
        && a.running_state == b.running_state
}
