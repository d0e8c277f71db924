//! Keeps this node's networks as its assignment says: the engine network of each overlay, then
//! overlays, balancing and names through the network driver.
//!
//! One task. Calls to the engine run beside it, so that an engine that hangs never keeps a dead
//! backend in the tables. Workers wait for what it publishes in [`Progress`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::board::Board;
use super::engine::EngineState;
use super::network::{NetworkDriver, NetworkError, NetworkProblem, NetworkWants};
use super::order::{bridge_name, engine_name};
use super::progress::Progress;
use super::runtime::{EngineNetwork, EngineNetworkWant, Runtime, RuntimeError};
use super::wants::{Underlay, abandoned, overlay_mtu, wants};
use crate::spec::{ClusterId, NetworkId};
use crate::state::assignment::{AssignedNetwork, Assignment, Stamp};

/// How soon something that failed is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

pub(super) struct Keeper {
    pub(super) cluster: ClusterId,
    pub(super) underlay: Underlay,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) driver: Arc<dyn NetworkDriver>,
    pub(super) board: Arc<Board>,
    pub(super) assignment: watch::Receiver<Option<Arc<Assignment>>>,
    pub(super) engine: watch::Receiver<EngineState>,
    /// Someone found a network missing, or has let go of one.
    pub(super) look_again: Arc<Notify>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) applied: watch::Sender<Stamp>,
}

/// What is known of one engine network.
struct Carrier {
    want: EngineNetworkWant,
    state: CarrierState,
    backoff: Backoff,
}

enum CarrierState {
    /// The engine is being asked. `was_present` while it is only asked again.
    Asked {
        was_present: bool,
    },
    Present,
    /// Not to be asked before then.
    Failed {
        until: Instant,
        reason: String,
    },
}

enum Done {
    Ensured(EngineNetworkWant, Result<(), RuntimeError>),
    Listed(Result<Vec<EngineNetwork>, RuntimeError>),
    Removed(NetworkId, Result<(), RuntimeError>),
}

/// What changes while the keeper runs.
struct Work {
    carriers: BTreeMap<NetworkId, Carrier>,
    removing: BTreeSet<NetworkId>,
    jobs: JoinSet<Done>,
    /// The wants that the driver took last.
    in_force: Option<NetworkWants>,
    /// Networks whose bridge was there when they were applied.
    applied_networks: BTreeSet<NetworkId>,
    problems: BTreeMap<NetworkId, String>,
    apply_error: Option<String>,
    apply_backoff: Backoff,
    /// Apply although nothing changed, not before then.
    apply_again: Option<Instant>,
    /// Look for engine networks that are not wanted any more, not before then.
    tidy_at: Option<Instant>,
    listing: bool,
    /// The engine came back: compare with the kernel once its networks are there.
    reconcile: bool,
    epoch: u64,
}

impl Work {
    fn new() -> Self {
        Self {
            carriers: BTreeMap::new(),
            removing: BTreeSet::new(),
            jobs: JoinSet::new(),
            in_force: None,
            applied_networks: BTreeSet::new(),
            problems: BTreeMap::new(),
            apply_error: None,
            apply_backoff: Backoff::new(RETRY.0, RETRY.1),
            apply_again: None,
            tidy_at: Some(Instant::now()),
            listing: false,
            reconcile: false,
            epoch: 0,
        }
    }

    fn is_present(&self, network: NetworkId) -> bool {
        self.carriers.get(&network).is_some_and(|carrier| {
            matches!(
                carrier.state,
                CarrierState::Present | CarrierState::Asked { was_present: true }
            )
        })
    }

    /// When something is to be tried again.
    fn next_try(&self) -> Option<Instant> {
        let carriers = self
            .carriers
            .values()
            .filter_map(|carrier| match &carrier.state {
                CarrierState::Failed { until, .. } => Some(*until),
                _ => None,
            });
        let tidy = self.tidy_at.filter(|_| !self.listing);
        carriers.chain(tidy).chain(self.apply_again).min()
    }
}

impl Keeper {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut work = Work::new();
        let mut dead = self.board.changes();
        loop {
            let assignment = self.assignment.borrow_and_update().clone();
            dead.mark_unchanged();
            if let Some(assignment) = &assignment {
                self.follow_engine(&mut work, assignment);
                self.ensure(&mut work, assignment);
                // The containers need not wait for the tables to be created.
                self.publish(&work, assignment, None);
                let stamp = self.apply(&mut work, assignment).await;
                self.publish(&work, assignment, stamp);
                self.tidy(&mut work);
            }
            let next_try = work.next_try().filter(|_| assignment.is_some());
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.assignment.changed() => {}
                Ok(()) = dead.changed() => {}
                Ok(()) = self.engine.changed() => {}
                () = self.look_again.notified() => self.recheck(&mut work),
                Some(Ok(done)) = work.jobs.join_next() => self.finish(&mut work, assignment.as_deref(), done),
                () = at(next_try) => {}
            }
        }
    }

    /// After the engine was away nothing is sure: its networks are asked for again, though they
    /// are taken to be there meanwhile.
    fn follow_engine(&mut self, work: &mut Work, assignment: &Assignment) {
        let engine = self.engine.borrow_and_update().clone();
        if !engine.up || engine.epoch == work.epoch {
            return;
        }
        let first = work.epoch == 0;
        work.epoch = engine.epoch;
        work.tidy_at = Some(Instant::now());
        work.reconcile = !first && !assignment.networks.is_empty();
        self.ask_again(work);
    }

    fn recheck(&self, work: &mut Work) {
        work.tidy_at = Some(Instant::now());
        self.ask_again(work);
    }

    fn ask_again(&self, work: &mut Work) {
        let known: Vec<NetworkId> = work.carriers.keys().copied().collect();
        for network in known {
            let was_present = work.is_present(network);
            let Some(carrier) = work.carriers.get_mut(&network) else {
                continue;
            };
            if !matches!(carrier.state, CarrierState::Asked { .. }) {
                carrier.state = CarrierState::Asked { was_present };
                let want = carrier.want.clone();
                self.ask(&mut work.jobs, want);
            }
        }
    }

    fn ask(&self, jobs: &mut JoinSet<Done>, want: EngineNetworkWant) {
        let runtime = self.runtime.clone();
        jobs.spawn(async move {
            let result = runtime.ensure_network(&want).await;
            Done::Ensured(want, result)
        });
    }

    /// Asks the engine for every network that is assigned and not known to be there.
    fn ensure(&self, work: &mut Work, assignment: &Assignment) {
        let now = Instant::now();
        for network in &assignment.networks {
            if work.removing.contains(&network.id) {
                continue;
            }
            let want = self.carrier_want(network);
            let asks = match work.carriers.get_mut(&network.id) {
                None => true,
                Some(carrier) if carrier.want != want => {
                    work.applied_networks.remove(&network.id);
                    true
                }
                Some(carrier) => {
                    matches!(&carrier.state, CarrierState::Failed { until, .. } if *until <= now)
                }
            };
            if !asks {
                continue;
            }
            let backoff = work
                .carriers
                .remove(&network.id)
                .map_or_else(|| Backoff::new(RETRY.0, RETRY.1), |known| known.backoff);
            work.carriers.insert(
                network.id,
                Carrier {
                    want: want.clone(),
                    state: CarrierState::Asked { was_present: false },
                    backoff,
                },
            );
            self.ask(&mut work.jobs, want);
        }
        let assigned: BTreeSet<NetworkId> = ids(assignment);
        if work.carriers.keys().any(|known| !assigned.contains(known)) {
            work.carriers.retain(|known, _| assigned.contains(known));
            work.applied_networks
                .retain(|known| assigned.contains(known));
            work.problems.retain(|known, _| assigned.contains(known));
            work.tidy_at = Some(now);
        }
    }

    fn carrier_want(&self, network: &AssignedNetwork) -> EngineNetworkWant {
        EngineNetworkWant {
            name: engine_name(&network.name, network.id, network.internal),
            bridge: bridge_name(network.id),
            cluster: self.cluster,
            network: network.id,
            subnet: network.subnet,
            gateway: network.gateway,
            mtu: overlay_mtu(network, &self.underlay),
            internal: network.internal,
        }
    }

    /// Brings the driver up to date and returns the stamp that is in force then.
    async fn apply(&self, work: &mut Work, assignment: &Assignment) -> Option<Stamp> {
        let wanted = wants(assignment, &self.board.dead(), &self.underlay);
        let present: BTreeSet<NetworkId> = ids(assignment)
            .into_iter()
            .filter(|network| work.is_present(*network))
            .collect();
        let due = work.apply_again.is_some_and(|at| at <= Instant::now());
        let fresh = !present.is_subset(&work.applied_networks) && work.apply_again.is_none();
        let waits_out_error = work.apply_error.is_some() && !due;
        if work.in_force.as_ref() == Some(&wanted) && !due && !fresh && !work.reconcile {
            return (!waits_out_error).then_some(assignment.stamp);
        }
        let result = self.drive(work, &wanted).await;
        work.apply_again = None;
        match result {
            Ok(problems) => {
                self.note_applied(work, wanted, present, &problems).await;
                Some(assignment.stamp)
            }
            Err(error) => {
                tracing::error!(%error, "balancing and names are behind");
                work.apply_error = Some(error.to_string());
                work.apply_again = Some(Instant::now() + work.apply_backoff.pause());
                None
            }
        }
    }

    async fn drive(
        &self,
        work: &mut Work,
        wanted: &NetworkWants,
    ) -> Result<Vec<NetworkProblem>, NetworkError> {
        let asked = work
            .carriers
            .values()
            .any(|carrier| matches!(carrier.state, CarrierState::Asked { .. }));
        let mut problems = self.driver.apply(wanted.clone()).await?;
        if work.reconcile && !asked {
            problems = self.driver.reconcile().await?;
            work.reconcile = false;
        }
        Ok(problems)
    }

    async fn note_applied(
        &self,
        work: &mut Work,
        wanted: NetworkWants,
        present: BTreeSet<NetworkId>,
        problems: &[NetworkProblem],
    ) {
        work.problems.clear();
        for problem in problems {
            let network = present
                .iter()
                .find(|network| problem.bridge == Some(bridge_name(**network)));
            match network {
                Some(network) => {
                    work.problems.insert(*network, problem.message.clone());
                }
                None if problem.bridge.is_some() => {} // Its engine network is still being made.
                None => tracing::warn!(problem = %problem.message, "the network is not as wanted"),
            }
        }
        work.applied_networks = present
            .into_iter()
            .filter(|network| !work.problems.contains_key(network))
            .collect();
        if work.problems.is_empty() {
            work.apply_backoff.reset();
        } else {
            work.apply_again = Some(Instant::now() + work.apply_backoff.pause());
            // A bridge that is gone although the engine made it once: have it made again.
            self.look_again.notify_one();
        }
        work.apply_error = None;
        if let Some(before) = &work.in_force {
            for backend in abandoned(before, &wanted) {
                if let Err(error) = self.driver.forget(backend).await {
                    tracing::warn!(%error, %backend, "connections to a former backend linger");
                }
            }
        }
        work.in_force = Some(wanted);
    }

    fn publish(&self, work: &Work, assignment: &Assignment, stamp: Option<Stamp>) {
        let mut problems = work.problems.clone();
        for (network, carrier) in &work.carriers {
            if let CarrierState::Failed { reason, .. } = &carrier.state {
                problems.insert(*network, reason.clone());
            }
        }
        let present: BTreeSet<NetworkId> = ids(assignment)
            .into_iter()
            .filter(|network| work.is_present(*network))
            .collect();
        self.progress.send_if_modified(|progress| {
            let next = Progress {
                applied: stamp.unwrap_or(progress.applied),
                apply_error: work.apply_error.clone(),
                in_force: work
                    .applied_networks
                    .intersection(&present)
                    .copied()
                    .collect(),
                present,
                problems,
            };
            let modified = *progress != next;
            *progress = next;
            modified
        });
        if let Some(stamp) = stamp {
            self.applied.send_if_modified(|applied| {
                let modified = *applied != stamp;
                *applied = stamp;
                modified
            });
        }
    }

    /// Starts to look for engine networks that are not wanted any more.
    fn tidy(&self, work: &mut Work) {
        let due = work.tidy_at.is_some_and(|at| at <= Instant::now());
        if due && !work.listing {
            work.listing = true;
            work.tidy_at = None;
            let (runtime, cluster) = (self.runtime.clone(), self.cluster);
            work.jobs
                .spawn(async move { Done::Listed(runtime.list_networks(cluster).await) });
        }
    }

    fn finish(&self, work: &mut Work, assignment: Option<&Assignment>, done: Done) {
        let wanted = assignment.map(ids).unwrap_or_default();
        match done {
            Done::Ensured(want, result) => note_ensured(work, &want, result),
            Done::Listed(Err(error)) => {
                work.listing = false;
                work.tidy_at = Some(Instant::now() + RETRY.1);
                tracing::debug!(%error, "cannot list the engine's networks");
            }
            Done::Listed(Ok(networks)) => {
                work.listing = false;
                for found in networks {
                    if let Some(network) = found.network
                        && !wanted.contains(&network)
                        && work.removing.insert(network)
                    {
                        let runtime = self.runtime.clone();
                        work.jobs.spawn(async move {
                            Done::Removed(network, runtime.remove_network(&found.name).await)
                        });
                    }
                }
            }
            Done::Removed(network, result) => {
                work.removing.remove(&network);
                if let Err(error) = result {
                    // Mostly a container that is still there; its worker says when it is gone.
                    work.tidy_at = Some(Instant::now() + RETRY.1);
                    tracing::debug!(%error, %network, "an engine network stays for now");
                }
            }
        }
    }
}

fn note_ensured(work: &mut Work, asked: &EngineNetworkWant, result: Result<(), RuntimeError>) {
    let network = asked.network;
    let Some(carrier) = work
        .carriers
        .get_mut(&network)
        .filter(|carrier| carrier.want == *asked)
    else {
        // It has left the assignment, or changed, while the engine was at it.
        return;
    };
    match result {
        Ok(()) => {
            carrier.backoff.reset();
            carrier.state = CarrierState::Present;
        }
        Err(error) => {
            let was_present = matches!(carrier.state, CarrierState::Asked { was_present: true });
            tracing::warn!(%error, %network, "an engine network is not there");
            carrier.state = if was_present && error.is_passing() {
                // The engine is away; what it had made goes on without it.
                CarrierState::Present
            } else {
                CarrierState::Failed {
                    until: Instant::now() + carrier.backoff.pause(),
                    reason: error.to_string(),
                }
            };
        }
    }
}

fn ids(assignment: &Assignment) -> BTreeSet<NetworkId> {
    assignment
        .networks
        .iter()
        .map(|network| network.id)
        .collect()
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
