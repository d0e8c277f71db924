//! Keeps this node's networks as its assignment says: the engine network of each overlay, then
//! overlays, balancing and names through the network driver.
//!
//! One task. Calls to the engine run beside it, so that an engine that hangs never keeps a dead
//! backend in the tables. Workers wait for what it publishes in [`Progress`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::board::Board;
use super::carriers::Carriers;
use super::engine::EngineState;
use super::hearsay::{Hearsay, Out};
use super::network::{Concern, NetworkDriver, NetworkError, NetworkProblem, NetworkWants};
use super::order::bridge_name;
use super::progress::{Progress, Signals};
use super::runtime::Runtime;
use super::tunnel_keys::TunnelKeys;
use super::wants::{Underlay, wants};
use crate::spec::{ClusterId, NetworkId};
use crate::state::assignment::{Assignment, Stamp};

/// How soon wants that could not be applied are tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What the keeper works with.
pub(super) struct Keeper {
    pub(super) cluster: ClusterId,
    pub(super) underlay: Underlay,
    pub(super) keys: watch::Receiver<Arc<TunnelKeys>>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) driver: Arc<dyn NetworkDriver>,
    pub(super) board: Arc<Board>,
    pub(super) assignment: watch::Receiver<Option<Arc<Assignment>>>,
    pub(super) engine: watch::Receiver<EngineState>,
    pub(super) hearsay: watch::Receiver<Arc<Hearsay>>,
    pub(super) signals: Arc<Signals>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) applied: watch::Sender<Stamp>,
    /// Everything that is not as wanted, for whoever looks at the node.
    pub(super) troubles: watch::Sender<Vec<String>>,
}

/// What is known of the data path.
struct Tables {
    /// The wants that the driver took last.
    wants: Option<NetworkWants>,
    /// Networks whose bridge was there when they were applied.
    in_force: BTreeSet<NetworkId>,
    problems: BTreeMap<NetworkId, String>,
    /// Those that concern no network in particular.
    general_problems: Vec<String>,
    /// Why the driver did not take the newest wants.
    error: Option<String>,
    backoff: Backoff,
    /// Apply although nothing changed, not before then.
    again_at: Option<Instant>,
    /// The engine came back: compare with the kernel once its networks are there.
    reconcile: bool,
}

impl Keeper {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut carriers = Carriers::new(self.cluster, self.underlay.clone(), self.runtime.clone());
        let mut tables = Tables {
            wants: None,
            in_force: BTreeSet::new(),
            problems: BTreeMap::new(),
            general_problems: Vec::new(),
            error: None,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            again_at: None,
            reconcile: false,
        };
        let mut epoch = 0;
        let mut dead = self.board.changes();
        loop {
            let assignment = self.assignment.borrow_and_update().clone();
            dead.mark_unchanged();
            let hearsay = self.hearsay.borrow_and_update().clone();
            if let Some(assignment) = &assignment {
                self.follow_engine(&mut epoch, &mut carriers, &mut tables);
                carriers.follow(assignment);
                // Containers can be created while the tables are being written.
                self.publish(&carriers, &tables, None);
                let out = Out::new(self.board.dead(), &hearsay, assignment);
                let stamp = self.apply(&carriers, &mut tables, assignment, &out).await;
                self.publish(&carriers, &tables, stamp);
            }
            let next_try = carriers.next_try().into_iter().chain(tables.again_at).min();
            let next_try = next_try.filter(|_| assignment.is_some());
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.assignment.changed() => {}
                Ok(()) = dead.changed() => {}
                Ok(()) = self.hearsay.changed() => {}
                Ok(()) = self.keys.changed() => {}
                Ok(()) = self.engine.changed() => {}
                () = self.signals.missing.notified() => carriers.ask_again(),
                () = self.signals.released.notified() => carriers.released(),
                () = self.signals.doubted.notified() => {
                    carriers.ask_again();
                    carriers.tidy();
                    tables.reconcile = tables.wants.is_some();
                }
                () = carriers.progress(assignment.as_deref()) => {}
                () = at(next_try) => {}
            }
        }
    }

    /// After the engine was away nothing is sure.
    fn follow_engine(&mut self, epoch: &mut u64, carriers: &mut Carriers, tables: &mut Tables) {
        let engine = self.engine.borrow_and_update().clone();
        if engine.up && engine.epoch != *epoch {
            *epoch = engine.epoch;
            carriers.tidy();
            carriers.ask_again();
            tables.reconcile = tables.wants.is_some();
        }
    }

    /// Brings the driver up to date and returns the stamp that is in force then.
    async fn apply(
        &mut self,
        carriers: &Carriers,
        tables: &mut Tables,
        assignment: &Assignment,
        out: &Out,
    ) -> Option<Stamp> {
        self.underlay.tunnel_keys = self.keys.borrow_and_update().secrets();
        let wanted = wants(assignment, out, &self.underlay);
        let present = carriers.present();
        tables.in_force.retain(|network| present.contains(network));
        let unchanged = tables.wants.as_ref() == Some(&wanted);
        let due = match tables.again_at {
            Some(at) => at <= Instant::now(),
            None => !present.is_subset(&tables.in_force),
        };
        let reconcile = tables.reconcile && !carriers.is_asking();
        if unchanged && !due && !reconcile {
            return tables.error.is_none().then_some(assignment.stamp);
        }
        match self.drive(&wanted, reconcile).await {
            Ok(problems) => {
                tables.reconcile &= !reconcile;
                tables.wants = Some(wanted);
                let encrypted = assignment.networks.iter().filter(|it| it.encrypted);
                let encrypted = encrypted.map(|it| it.id).collect();
                self.note_applied(tables, &present, &encrypted, problems);
                Some(assignment.stamp)
            }
            Err(error) => {
                tables.error = Some(error.to_string());
                tables.again_at = Some(Instant::now() + tables.backoff.pause());
                None
            }
        }
    }

    async fn drive(
        &self,
        wanted: &NetworkWants,
        reconcile: bool,
    ) -> Result<Vec<NetworkProblem>, NetworkError> {
        let problems = self.driver.apply(wanted.clone()).await?;
        if reconcile {
            return self.driver.reconcile().await;
        }
        Ok(problems)
    }

    fn note_applied(
        &self,
        tables: &mut Tables,
        present: &BTreeSet<NetworkId>,
        encrypted: &BTreeSet<NetworkId>,
        problems: Vec<NetworkProblem>,
    ) {
        tables.error = None;
        tables.problems.clear();
        tables.general_problems.clear();
        for problem in problems {
            // A bridge that is missing while the engine is still making it is no problem.
            let concerned: Vec<_> = match &problem.concerns {
                Concern::Node => {
                    tables.general_problems.push(problem.message);
                    continue;
                }
                Concern::Bridge(bridge) => present
                    .iter()
                    .filter(|it| bridge_name(**it) == *bridge)
                    .collect(),
                Concern::Encrypted => present.intersection(encrypted).collect(),
            };
            for network in concerned {
                tables.problems.insert(*network, problem.message.clone());
            }
        }
        tables.in_force = present
            .iter()
            .filter(|network| !tables.problems.contains_key(network))
            .copied()
            .collect();
        if tables.problems.is_empty() {
            tables.again_at = None;
            tables.backoff.reset();
        } else {
            // The engine made the bridge once and it is gone: have it made again.
            tables.again_at = Some(Instant::now() + tables.backoff.pause());
            self.signals.missing.notify_one();
        }
    }

    fn publish(&self, carriers: &Carriers, tables: &Tables, stamp: Option<Stamp>) {
        let mut problems = tables.problems.clone();
        problems.extend(carriers.problems());
        self.publish_troubles(tables, &problems);
        let present = carriers.present();
        let in_force = tables.in_force.intersection(&present).copied().collect();
        self.progress.send_if_modified(|progress| {
            let next = Progress {
                applied: stamp.unwrap_or(progress.applied),
                apply_error: tables.error.clone(),
                present,
                in_force,
                problems,
            };
            replace(progress, next)
        });
        if let Some(stamp) = stamp {
            self.applied
                .send_if_modified(|applied| replace(applied, stamp));
        }
    }

    fn publish_troubles(&self, tables: &Tables, problems: &BTreeMap<NetworkId, String>) {
        let all = problems
            .values()
            .chain(&tables.general_problems)
            .chain(&tables.error);
        let next: Vec<String> = all.cloned().collect();
        self.troubles.send_if_modified(|troubles| {
            for trouble in next.iter().filter(|trouble| !troubles.contains(trouble)) {
                tracing::warn!(%trouble, "the network is not as wanted");
            }
            replace(troubles, next)
        });
    }
}

/// Whether it made a difference.
fn replace<T: PartialEq>(place: &mut T, next: T) -> bool {
    let modified = *place != next;
    *place = next;
    modified
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
