//! The whole data path of a host behind one door: overlays, balancer, names.
//!
//! The daemon's agent says what should be; a task of its own makes the kernel
//! follow, in an order in which no packet is sent where nobody is: a path is
//! built before the balancer uses it and taken down after. Every 30 s, and when
//! network devices come or go, it compares and repairs.

mod drift;
mod problem;
mod worker;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::balance::BalanceWant;
use crate::dataplane::{Launch, Plane, Remote, Services};
use crate::dns::Table;
use crate::overlay::{NetlinkError, OverlayWant};
use crate::tunnel::TunnelWant;

pub use drift::{Comparison, Drift, Mended, Part};
pub use problem::Problem;
use worker::{Request, Worker};

/// Wants waiting to be applied. More callers wait.
const WAITING: usize = 64;

/// What the data path should be. What is not named is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// What encrypted networks are carried by.
    pub tunnel: Option<TunnelWant>,
    pub overlay: OverlayWant,
    pub balance: BalanceWant,
    pub dns: Table,
}

/// The data path cannot be started.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("the kernel's network tables cannot be reached")]
    Netlink(#[from] NetlinkError),
}

/// The data path was closed, or its task died.
#[derive(Debug, Error)]
#[error("the data path is closed")]
pub struct Closed;

/// The data path of this host. Dropping it stops the task and closes sockets;
/// what is in the kernel stays and goes on working.
#[derive(Debug)]
pub struct DataPath {
    requests: mpsc::Sender<Request>,
    problems: watch::Receiver<Vec<String>>,
    _worker: AbortOnDropHandle<()>,
}

impl DataPath {
    /// Starts the task, in the network namespace of the calling thread. Nothing
    /// in the kernel changes before the first [`apply`](Self::apply).
    /// `upstreams` are the resolvers for outside names. Names and ports are
    /// served by this process.
    pub fn start(upstreams: &[SocketAddr]) -> Result<Self, StartError> {
        Self::start_with(Services::Here {
            plane: Plane::default(),
            upstreams: upstreams.to_vec(),
        })
    }

    /// The same with names and ports served by a process that outlives this
    /// one.
    pub fn start_beside(upstreams: &[SocketAddr], launch: Launch) -> Result<Self, StartError> {
        Self::start_with(Services::There(Remote::new(launch, upstreams.to_vec())))
    }

    fn start_with(services: Services) -> Result<Self, StartError> {
        let (tell, problems) = watch::channel(Vec::new());
        let worker = Worker::new(services, tell)?;
        let (requests, inbox) = mpsc::channel(WAITING);
        Ok(Self {
            requests,
            problems,
            _worker: AbortOnDropHandle::new(tokio::spawn(worker.run(inbox))),
        })
    }

    /// Makes the data path be `want` and returns what stands in the way. When
    /// it returns, new connections follow `want`; those to containers that
    /// neither serve nor are held end right after ([`settle`](Self::settle)).
    /// Wants are applied one by one, in the order they come.
    pub async fn apply(&self, want: Want) -> Result<Vec<Problem>, Closed> {
        self.ask(|answer| Request::Apply(Box::new(want), answer))
            .await
    }

    /// Returns when nothing is left to be done of what was applied: connections
    /// to containers that neither serve nor are held have ended.
    pub async fn settle(&self) -> Result<(), Closed> {
        self.ask(Request::Settle).await
    }

    /// Compares with the kernel at once and repairs: for after the container
    /// engine was restarted.
    pub async fn reconcile(&self) -> Result<Vec<Problem>, Closed> {
        self.ask(Request::Reconcile).await
    }

    /// Looks how the kernel and the data plane's process compare with what was
    /// applied last. Nothing of it is mended, except for the kernel's switches.
    pub async fn compare(&self) -> Result<Comparison, Closed> {
        self.ask(Request::Compare).await
    }

    /// What stands in the way now, in words: changes with each comparison too.
    pub fn problems(&self) -> watch::Receiver<Vec<String>> {
        self.problems.clone()
    }

    /// Stops. What is in the kernel and in another process stays and goes on
    /// working.
    pub async fn close(self) -> Result<(), Closed> {
        self.ask(Request::Close).await
    }

    /// Removes everything from the kernel and stops.
    pub async fn remove(self) -> Result<Vec<Problem>, Closed> {
        self.ask(Request::Remove).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Closed> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| Closed)?;
        answered.await.map_err(|_| Closed)
    }
}
