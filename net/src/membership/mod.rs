//! Gossip over the one door: the task that drives [`gossip`](crate::gossip) with real time, real
//! connections and the kernels of real nodes.
//!
//! It is told by whoever has the cluster's list who belongs to it ([`Members`]) and what this node
//! says of its tasks ([`Told`]); it publishes whom nobody should send traffic to ([`View`]). All three
//! are whole values in watches: a slow reader misses steps and never the outcome, and nothing queues.
//!
//! `driver` is the task; `links` are its connections; `kernel` asks whether a machine still answers
//! when its daemon does not.

mod driver;
mod kernel;
mod links;
mod member;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::driver::{Driver, Input};
use crate::gossip::{NodeId, Phase, TaskId, Timing};
use crate::quic::{Connection, Pool};

pub use member::{Member, Members};
pub use view::{Absence, View};

/// Datagrams and answers that may wait for the task; what comes on top is lost, as on any network.
const INPUTS: usize = 1_024;

/// What this node says of tasks of its own.
pub type Told = BTreeMap<TaskId, Phase>;

/// How a node takes part.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub me: NodeId,
    /// Grows with every start of the process.
    pub start: u64,
    /// Of this node's dice.
    pub seed: u64,
    /// The protocol that both sides of a connection speak.
    pub alpn: &'static str,
    pub timing: Timing,
}

/// This node's part in the gossip. It ends with `stop`, or when it is dropped.
#[derive(Debug)]
pub struct Membership {
    inputs: mpsc::Sender<Input>,
    view: watch::Receiver<Arc<View>>,
    _ends: tokio_util::sync::DropGuard,
}

impl Membership {
    /// Must be called in a tokio runtime. Its tasks are `tracker`'s.
    pub fn start(
        settings: Settings,
        pool: Pool,
        members: watch::Receiver<Arc<Members>>,
        told: watch::Receiver<Arc<Told>>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (inputs, received) = mpsc::channel(INPUTS);
        let (published, view) = watch::channel(Arc::default());
        let stop = stop.child_token();
        let driver = Driver::new(
            settings,
            pool,
            inputs.clone(),
            published,
            tracker.clone(),
            stop.clone(),
        );
        tracker.spawn(driver.run(received, members, told));
        Self {
            inputs,
            view,
            _ends: stop.drop_guard(),
        }
    }

    /// Who is absent, and what nodes say of their tasks.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Serves a connection that another node has opened; the router's handler.
    pub fn serve(&self, connection: Connection) -> impl Future<Output = ()> + Send + use<> {
        links::read(connection, self.inputs.clone())
    }
}
