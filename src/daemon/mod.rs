//! The daemon: builds everything top to bottom, owns it, decides nothing. Layer: shell.
//!
//! `run` opens the state directory, connects to the engine, starts the node if this machine is part
//! of a cluster, and serves the API until it is told to stop. `lifecycle` is how a machine becomes
//! part of a cluster and how it stops being one; `node` is what runs while it is.

mod address;
mod control;
pub mod dataplane;
mod disk;
mod engine;
mod gossip;
mod group;
mod lifecycle;
mod logging;
mod node;
mod options;
pub mod planning;
mod role;
mod socket;

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{RwLock, watch};
use tokio_util::sync::CancellationToken;

use self::disk::StateDirectory;
use self::engine::Engine;
use self::node::Node;
use crate::clock::{Clock, SystemClock};
use crate::state::State;

pub use self::options::{DaemonOptions, LogFormat};

/// Nice value of the daemon's threads: above ordinary work, below real time.
const NICE: i32 = -5;
/// How long connections may take to end when the daemon stops.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// The daemon, in a cluster or not.
#[derive(Debug)]
pub(crate) struct Daemon {
    disk: StateDirectory,
    engine: Engine,
    clock: Arc<dyn Clock>,
    /// The node, while this machine is part of a cluster.
    node: watch::Sender<Option<Arc<Node>>>,
    /// What the manager here publishes; an empty state while there is none.
    states: watch::Sender<Arc<State>>,
    /// Held to write by the one way into or out of a cluster that is being gone.
    lifecycle: RwLock<()>,
}

/// Runs until a signal or an error ends it.
pub fn run(options: DaemonOptions) -> anyhow::Result<()> {
    logging::start(&options.log_level, options.log_format)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .on_thread_start(raise_priority)
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(options))
}

/// Half of the cores are the containers'. Threads that wake each other for every heartbeat are also
/// most of what an idle manager costs.
fn worker_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores / 2).clamp(1, 8)
}

/// Heartbeats of the cluster pass through every thread of the runtime: containers that take all of
/// the CPU must not delay them until a leader seems lost.
fn raise_priority() {
    // On Linux a priority belongs to a thread: `None` is the calling one.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "runs at ordinary priority");
    }
}

async fn serve(options: DaemonOptions) -> anyhow::Result<()> {
    let disk = StateDirectory::open(&options.state_dir)?;
    let engine = Engine::connect(&options, &disk).await?;
    let listener = socket::listen(&options.socket, &options.group)?;
    let daemon = Arc::new(Daemon {
        disk,
        engine,
        clock: Arc::new(SystemClock),
        node: watch::Sender::new(None),
        states: watch::Sender::new(Arc::new(State::default())),
        lifecycle: RwLock::new(()),
    });
    daemon
        .resume()
        .await
        .context("cannot take up this node's place in its cluster")?;
    let stop = CancellationToken::new();
    let address = daemon.engine.address();
    let api = tokio::spawn(crate::api::serve(
        listener,
        daemon.clone(),
        address,
        stop.clone(),
    ));
    tracing::info!(socket = %options.socket.display(), state_dir = %options.state_dir.display(), "ready");
    socket::wait_for_signal().await?;
    tracing::info!("stopping");
    stop.cancel();
    let node = daemon.node.send_replace(None);
    if let Some(node) = node {
        node.stop(STOP_DEADLINE).await;
    }
    if tokio::time::timeout(STOP_DEADLINE, api).await.is_err() {
        tracing::warn!("requests were still open when the daemon stopped");
    }
    Ok(())
}
