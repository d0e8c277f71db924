//! Watches the container engine: whether it answers, what happens to the cluster's containers,
//! and, each time it comes back, which of them there are.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::inventory::Inventory;
use super::runtime::{ListedContainer, Runtime, RuntimeError, RuntimeEvent};
use crate::clock::Clock;
use crate::spec::{ClusterId, Timestamp};
use crate::state::node::NodeDescription;

/// Between two comparisons with the engine's own list, in case an event was lost.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// How soon an engine that does not answer is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Whether the container engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineState {
    pub up: bool,
    /// Counts how many times it came up.
    pub epoch: u64,
    pub since: Timestamp,
    /// Why it is not up; empty when it is, and before it was asked.
    pub reason: String,
}

/// What the watcher tells the agent.
#[derive(Debug)]
pub(super) enum EngineNews {
    /// The engine answers (again): these containers of the cluster exist.
    Back(Vec<ListedContainer>),
    /// The same while it was there all the time.
    Compare(Vec<ListedContainer>),
    Event(RuntimeEvent),
}

pub(super) struct Watcher {
    pub(super) cluster: ClusterId,
    pub(super) hostname: String,
    pub(super) inventory: Inventory,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) news: mpsc::Sender<EngineNews>,
    pub(super) state: watch::Sender<EngineState>,
    pub(super) machine: watch::Sender<NodeDescription>,
}

impl Watcher {
    pub(super) async fn run(self, stop: CancellationToken) {
        let watching = async {
            let mut backoff = Backoff::new(RETRY.0, RETRY.1);
            loop {
                match self.follow().await {
                    // It was there and went away: it may be back at once.
                    Ok(()) => backoff.reset(),
                    Err(error) => self.down(error.to_string()),
                }
                if self.news.is_closed() {
                    return;
                }
                tokio::time::sleep(backoff.pause()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watching => {}
        }
    }

    /// Follows the engine for as long as it is there.
    async fn follow(&self) -> Result<(), RuntimeError> {
        // Events first, then the list: nothing can happen unseen in between.
        let mut events = self.runtime.watch(self.cluster).await?;
        let (machine, containers) =
            tokio::try_join!(self.runtime.describe(), self.runtime.list(self.cluster))?;
        self.describe(machine);
        self.up();
        self.tell(EngineNews::Back(containers)).await;
        let mut compare = tokio::time::interval(COMPARE_EVERY);
        compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        compare.reset();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.tell(EngineNews::Event(event)).await,
                    None => {
                        self.down("the engine closed the connection".to_owned());
                        return Ok(());
                    }
                },
                _ = compare.tick() => {
                    let (machine, containers) =
                        tokio::try_join!(self.runtime.describe(), self.runtime.list(self.cluster))?;
                    self.describe(machine);
                    self.tell(EngineNews::Compare(containers)).await;
                }
            }
        }
    }

    /// Devices come and go while the engine stays.
    fn describe(&self, described: NodeDescription) {
        let mut machine = self.inventory.complete(described);
        machine.hostname.clone_from(&self.hostname);
        self.machine.send_if_modified(|known| {
            // The engine knows nothing of it.
            machine.tunnel.clone_from(&known.tunnel);
            let modified = *known != machine;
            *known = machine;
            modified
        });
    }

    async fn tell(&self, news: EngineNews) {
        // Nobody listens only when the agent stops, and this task with it.
        let _ = self.news.send(news).await;
    }

    fn up(&self) {
        self.state.send_modify(|state| {
            tracing::info!("the container engine answers");
            state.up = true;
            state.epoch += 1;
            state.since = self.clock.now();
            state.reason.clear();
        });
    }

    fn down(&self, reason: String) {
        self.state.send_if_modified(|state| {
            if !state.up && state.reason == reason {
                return false;
            }
            tracing::warn!(%reason, "the container engine does not answer");
            state.up = false;
            state.since = self.clock.now();
            state.reason = reason;
            true
        });
    }
}
