//! Between the network keeper and the workers: how far this node's networks are, and what a worker
//! has to say to the keeper.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::Notify;

use super::order::Order;
use super::step::NetworksReady;
use crate::spec::NetworkId;
use crate::state::assignment::Stamp;

/// What workers tell the keeper.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The engine said that a network is not there which should be.
    pub(super) missing: Notify,
    /// A container is gone: a network may have become free.
    pub(super) released: Notify,
    /// Somebody wants to be sure: make everything again that is not there.
    pub(super) doubted: Notify,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// The newest assignment whose balancing and names are in force.
    pub(super) applied: Stamp,
    /// Why nothing newer is in force, if something went wrong.
    pub(super) apply_error: Option<String>,
    /// Networks that the engine has.
    pub(super) present: BTreeSet<NetworkId>,
    /// Networks whose overlay is in force on their bridge.
    pub(super) in_force: BTreeSet<NetworkId>,
    /// What keeps a network from being either.
    pub(super) problems: BTreeMap<NetworkId, String>,
}

impl Progress {
    /// As far as one task needs them.
    pub(super) fn ready_for(&self, order: &Order) -> NetworksReady {
        let lacking = |set: &BTreeSet<NetworkId>| {
            order
                .networks
                .iter()
                .find(|network| network.engine_name.is_empty() || !set.contains(&network.id))
        };
        if let Some(network) = lacking(&self.present) {
            return NetworksReady::Missing(self.problems.get(&network.id).cloned());
        }
        if let Some(network) = lacking(&self.in_force) {
            let reason = self.problems.get(&network.id).or(self.apply_error.as_ref());
            return NetworksReady::Behind(reason.cloned());
        }
        if order.networks.is_empty() || self.applied >= order.since {
            NetworksReady::Ready
        } else {
            NetworksReady::Behind(self.apply_error.clone())
        }
    }
}
