//! The engine networks that carry this node's overlays: asked for when they are assigned, asked
//! for again when in doubt, removed when they are assigned no more and no container uses them.
//!
//! Calls to the engine run beside the keeper that owns this: it is told when one has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::order::{bridge_name, engine_name};
use super::runtime::{EngineNetwork, EngineNetworkWant, Runtime, RuntimeError};
use super::wants::{Underlay, overlay_mtu};
use crate::spec::{ClusterId, NetworkId};
use crate::state::assignment::{AssignedNetwork, Assignment};

/// How soon something that failed is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

pub(super) struct Carriers {
    cluster: ClusterId,
    underlay: Underlay,
    runtime: Arc<dyn Runtime>,
    known: BTreeMap<NetworkId, Carrier>,
    removing: BTreeSet<NetworkId>,
    jobs: JoinSet<Done>,
    /// Look for networks that are not wanted any more, not before then.
    tidy_at: Option<Instant>,
    listing: bool,
}

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

impl Carriers {
    pub(super) fn new(cluster: ClusterId, underlay: Underlay, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            cluster,
            underlay,
            runtime,
            known: BTreeMap::new(),
            removing: BTreeSet::new(),
            jobs: JoinSet::new(),
            tidy_at: Some(Instant::now()),
            listing: false,
        }
    }

    /// Starts whatever the assignment needs that is not there or under way.
    pub(super) fn follow(&mut self, assignment: &Assignment) {
        let now = Instant::now();
        for network in &assignment.networks {
            let want = self.want(network);
            if !self.removing.contains(&network.id) && self.is_due(&want, now) {
                let backoff = self
                    .known
                    .remove(&network.id)
                    .map_or_else(|| Backoff::new(RETRY.0, RETRY.1), |known| known.backoff);
                self.ask(&want);
                let state = CarrierState::Asked { was_present: false };
                self.known.insert(
                    network.id,
                    Carrier {
                        want,
                        state,
                        backoff,
                    },
                );
            }
        }
        let assigned = ids(assignment);
        if self.known.keys().any(|known| !assigned.contains(known)) {
            self.known.retain(|known, _| assigned.contains(known));
            self.tidy_at = Some(now);
        }
        if !self.listing && self.tidy_at.is_some_and(|at| at <= now) {
            self.listing = true;
            self.tidy_at = None;
            let (runtime, cluster) = (self.runtime.clone(), self.cluster);
            self.jobs
                .spawn(async move { Done::Listed(runtime.list_networks(cluster).await) });
        }
    }

    fn want(&self, network: &AssignedNetwork) -> EngineNetworkWant {
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

    fn is_due(&self, want: &EngineNetworkWant, now: Instant) -> bool {
        match self.known.get(&want.network) {
            None => true,
            Some(carrier) if carrier.want != *want => true,
            Some(carrier) => {
                matches!(&carrier.state, CarrierState::Failed { until, .. } if *until <= now)
            }
        }
    }

    fn ask(&mut self, want: &EngineNetworkWant) {
        let (runtime, want) = (self.runtime.clone(), want.clone());
        self.jobs.spawn(async move {
            let result = runtime.ensure_network(&want).await;
            Done::Ensured(want, result)
        });
    }

    /// Nothing is sure any more: asks for every network again. What was there is taken to be there
    /// until the engine says otherwise.
    pub(super) fn ask_again(&mut self) {
        let mut asked = Vec::new();
        for carrier in self.known.values_mut() {
            let was_present = matches!(carrier.state, CarrierState::Present);
            if !matches!(carrier.state, CarrierState::Asked { .. }) {
                carrier.state = CarrierState::Asked { was_present };
                asked.push(carrier.want.clone());
            }
        }
        for want in &asked {
            self.ask(want);
        }
    }

    /// Looks for networks that are not wanted any more, at once.
    pub(super) fn tidy(&mut self) {
        self.tidy_at = Some(Instant::now());
    }

    /// A container is gone: if a network waits to be removed, it may go now.
    pub(super) fn released(&mut self) {
        self.tidy_at = self.tidy_at.map(|_| Instant::now());
    }

    /// The networks that the engine has.
    pub(super) fn present(&self) -> BTreeSet<NetworkId> {
        let present = self.known.iter().filter(|(_, carrier)| {
            matches!(
                carrier.state,
                CarrierState::Present | CarrierState::Asked { was_present: true }
            )
        });
        present.map(|(network, _)| *network).collect()
    }

    pub(super) fn is_asking(&self) -> bool {
        let mut states = self.known.values().map(|carrier| &carrier.state);
        states.any(|state| matches!(state, CarrierState::Asked { .. }))
    }

    /// Why networks are not there.
    pub(super) fn problems(&self) -> BTreeMap<NetworkId, String> {
        let failed = self
            .known
            .iter()
            .filter_map(|(network, carrier)| match &carrier.state {
                CarrierState::Failed { reason, .. } => Some((*network, reason.clone())),
                _ => None,
            });
        failed.collect()
    }

    /// When something is to be tried again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let carriers = self
            .known
            .iter()
            .filter(|(network, _)| !self.removing.contains(network))
            .filter_map(|(_, carrier)| match &carrier.state {
                CarrierState::Failed { until, .. } => Some(*until),
                _ => None,
            });
        let tidy = self.tidy_at.filter(|_| !self.listing);
        carriers.chain(tidy).min()
    }

    /// Waits until a call has ended and notes what came of it. May be cancelled.
    pub(super) async fn progress(&mut self, assignment: Option<&Assignment>) {
        match self.jobs.join_next().await {
            Some(Ok(done)) => self.note(assignment, done),
            Some(Err(error)) => tracing::error!(%error, "a call to the engine died"),
            None => std::future::pending().await,
        }
    }

    fn note(&mut self, assignment: Option<&Assignment>, done: Done) {
        match done {
            Done::Ensured(want, result) => self.note_ensured(&want, result),
            Done::Listed(result) => {
                self.listing = false;
                match result {
                    Ok(found) => self.remove_unwanted(assignment, found),
                    Err(error) => {
                        self.tidy_at = Some(Instant::now() + RETRY.1);
                        tracing::debug!(%error, "cannot list the engine's networks");
                    }
                }
            }
            Done::Removed(network, result) => {
                self.removing.remove(&network);
                if let Err(error) = result {
                    // Mostly a container that is still there; its worker says when it is gone.
                    self.tidy_at = Some(Instant::now() + RETRY.1);
                    tracing::debug!(%error, %network, "an engine network stays for now");
                }
            }
        }
    }

    fn note_ensured(&mut self, asked: &EngineNetworkWant, result: Result<(), RuntimeError>) {
        let known = self.known.get_mut(&asked.network);
        let Some(carrier) = known.filter(|carrier| carrier.want == *asked) else {
            // It has left the assignment, or changed, while the engine was at it.
            return;
        };
        let was_present = matches!(carrier.state, CarrierState::Asked { was_present: true });
        carrier.state = match result {
            Ok(()) => {
                carrier.backoff.reset();
                CarrierState::Present
            }
            // The engine is away; what it had made goes on without it.
            Err(error) if was_present && error.is_passing() => CarrierState::Present,
            Err(error) => CarrierState::Failed {
                until: Instant::now() + carrier.backoff.pause(),
                reason: error.to_string(),
            },
        };
    }

    fn remove_unwanted(&mut self, assignment: Option<&Assignment>, found: Vec<EngineNetwork>) {
        let wanted = assignment.map(ids).unwrap_or_default();
        for engine_network in found {
            if let Some(network) = engine_network.network
                && !wanted.contains(&network)
                && self.removing.insert(network)
            {
                let runtime = self.runtime.clone();
                self.jobs.spawn(async move {
                    let result = runtime.remove_network(&engine_network.name).await;
                    Done::Removed(network, result)
                });
            }
        }
    }
}

fn ids(assignment: &Assignment) -> BTreeSet<NetworkId> {
    let networks = assignment.networks.iter();
    networks.map(|network| network.id).collect()
}
