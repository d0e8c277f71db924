//! A service: its spec, the specs its tasks still run, its endpoint, its update in progress.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::object::Meta;
use crate::spec::service::PortConfig;
use crate::spec::{NetworkId, ServiceId, ServiceSpec, Timestamp};

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub id: ServiceId,
    pub meta: Meta,
    pub spec: Arc<ServiceSpec>,
    /// Changes only with the spec's task template or endpoint; tasks are compared with it.
    pub spec_version: u64,
    /// The spec before the last update: what a rollback returns to.
    pub previous: Option<Previous>,
    /// Specs that tasks still refer to, by version; the current one is among them.
    pub specs: BTreeMap<u64, Arc<ServiceSpec>>,
    pub endpoint: Endpoint,
    pub rollout: Option<Rollout>,
}

impl Service {
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether it has rules that keep others away from its tasks.
    pub fn keeps_apart(&self) -> bool {
        let extension = self.spec.swarmr.as_ref();
        extension.is_some_and(|extension| !extension.anti_affinities.is_empty())
    }

    /// The spec that a task of that version runs.
    pub fn spec_at(&self, version: u64) -> Option<&Arc<ServiceSpec>> {
        self.specs.get(&version)
    }
}

/// What a rollback returns to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Previous {
    pub spec: Arc<ServiceSpec>,
    /// The version its tasks carry: a rollback gives them back their own version, so that those
    /// that were never replaced are not touched.
    pub spec_version: u64,
}

/// What was allocated for a service's ports and names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Endpoint {
    /// As asked for, with the published ports filled in.
    pub ports: Vec<PortConfig>,
    pub virtual_addresses: BTreeMap<NetworkId, Ipv4Addr>,
}

/// An update or rollback in progress, or how the last one ended. All of its memory is here, so
/// that a new leader continues where the old one stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub state: RolloutState,
    /// The spec version that it leads to.
    pub target: u64,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub message: String,
    /// Slots that had to be replaced when it began: what the failure ratio is taken of.
    pub slots: u64,
    /// New tasks that failed before they had run for the monitor time.
    pub failures: u64,
    /// Failed tasks that are counted in `failures` already are older than this.
    pub counted_until: Timestamp,
    /// Since when all slots run the target; the last monitor time runs from here.
    pub settled_at: Option<Timestamp>,
}

/// Docker's states of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    Updating,
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted,
}

impl RolloutState {
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Updating | Self::RollbackStarted)
    }

    pub const fn is_rollback(self) -> bool {
        matches!(
            self,
            Self::RollbackStarted | Self::RollbackPaused | Self::RollbackCompleted
        )
    }

    pub const fn is_paused(self) -> bool {
        matches!(self, Self::Paused | Self::RollbackPaused)
    }
}

impl Rollout {
    /// A rollout that has just begun.
    pub(super) fn started(state: RolloutState, target: u64, at: Timestamp, message: &str) -> Self {
        Self {
            state,
            target,
            started_at: at,
            completed_at: None,
            message: message.to_owned(),
            slots: 0,
            failures: 0,
            counted_until: at,
            settled_at: None,
        }
    }
}
