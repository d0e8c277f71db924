//! A service: its spec, the specs its tasks still run, its endpoint, its update in progress.

mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::job::Job;
use super::object::Meta;
use super::revision::Revision;
use super::task::Slot;
use crate::spec::service::PortConfig;
use crate::spec::{NetworkId, ServiceId, ServiceSpec, TaskId, Timestamp};
use stored::Stored;

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
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
    /// What it has been, oldest first; the last is what it is.
    pub revisions: Vec<Revision>,
    pub endpoint: Endpoint,
    pub rollout: Option<Rollout>,
    /// Has no tasks until it is started again; keeps its spec, ports and addresses.
    pub stopped: bool,
    /// When it was last started again: tasks from before it say nothing of their slots any more.
    pub started_at: Option<Timestamp>,
    /// Tasks of earlier spec versions are to be replaced although they mean the same: somebody
    /// asked for a restart.
    pub renewed: u64,
    /// What its runs were; only jobs have it.
    pub job: Option<Job>,
    /// Its tasks are to be moved until its nodes are even.
    #[serde(default)]
    pub rebalance: bool,
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

    /// Whether its tasks are to be near to others'.
    pub fn keeps_near(&self) -> bool {
        let extension = self.spec.swarmr.as_ref();
        extension.is_some_and(|extension| !extension.affinities.is_empty())
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
    /// Since when all slots of the present step run the target; the monitor time runs from here.
    pub settled_at: Option<Timestamp>,
    /// Why it does not go on.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// Steps of the update that it has left behind.
    #[serde(default)]
    pub step: u64,
    /// Slots whose new task did not run before the progress deadline: they count as failed and
    /// are not waited for any more.
    #[serde(default)]
    pub overdue: BTreeSet<Slot>,
    /// Progress deadlines run from here at the earliest.
    #[serde(default)]
    pub resumed_at: Option<Timestamp>,
    /// Replaces tasks by such as mean the same.
    #[serde(default)]
    pub restart: bool,
}

/// Why a rollout does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// A step is done; the next one waits for a promotion. The rollout is under way all the same:
    /// failures are counted.
    Promotion,
    /// Somebody paused it.
    User,
    /// Too many new tasks failed; the last was this one, if it was not long ago.
    Failure(Option<TaskId>),
    /// A new task did not run in time, and that was one too many.
    Deadline(TaskId),
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
    pub fn started(state: RolloutState, target: u64, at: Timestamp, message: &str) -> Self {
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
            hold: None,
            step: 0,
            overdue: BTreeSet::new(),
            resumed_at: None,
            restart: false,
        }
    }

    /// The same, after another: slots that were given up then are taken like any other now, and
    /// not as if they were still in flight.
    pub(super) fn follows(self, former: Option<&Self>) -> Self {
        Self {
            overdue: former.map_or_else(BTreeSet::new, |former| former.overdue.clone()),
            ..self
        }
    }

    /// What it is to clients that know Docker's states: one that waits for a promotion is paused.
    pub fn shown_state(&self) -> RolloutState {
        match (self.hold, self.state) {
            (Some(Hold::Promotion), RolloutState::Updating) => RolloutState::Paused,
            (_, state) => state,
        }
    }

    /// Updating, and not finished: under way or paused.
    pub fn is_unfinished(&self) -> bool {
        self.state.is_active() || self.state.is_paused()
    }

    /// What it does, in a word.
    pub const fn noun(&self) -> &'static str {
        if self.restart {
            "restart"
        } else if self.state.is_rollback() {
            "rollback"
        } else {
            "update"
        }
    }
}
