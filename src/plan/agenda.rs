//! Which services a pass looks at: those that changed since the last one, and those whose time
//! has come. So a pass costs what changed and not what exists.

use std::collections::{BTreeMap, BTreeSet};

use super::board::Board;
use super::look;
use crate::spec::{ServiceId, Timestamp};
use crate::state::{Change, State};

/// Changes after which a pass leaves the rest for the next one, so that no command grows without
/// bound. A single service may exceed it.
const ENOUGH: usize = 10_000;

/// What the next pass has to look at. One per leadership; it may be thrown away at any time, for
/// a new one only looks at more.
#[derive(Debug, Clone, Default)]
pub struct Agenda {
    /// Changes up to this log index have been looked at.
    seen: u64,
    /// The cluster's version that was looked at: its settings concern every service.
    cluster_version: u64,
    /// Services to look at once their time comes.
    wakes: BTreeMap<ServiceId, Timestamp>,
    /// Services to look at in the next pass in any case: changes were proposed for them that may
    /// get lost, or the last pass had enough before their turn.
    unsettled: BTreeSet<ServiceId>,
}

/// What one pass decided.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// To be applied in this order; may be cut into several commands at any place.
    pub changes: Vec<Change>,
    /// When to call again if nothing happens. As long as there are changes: once they are applied.
    pub wake_at: Option<Timestamp>,
}

impl Agenda {
    /// The agenda of a manager that has just become the leader: everything.
    pub fn new_leader() -> Self {
        Self::default()
    }

    /// Decides what should change in `state`. `now` is the leader's clock; the pass takes the
    /// state's own if that is ahead.
    pub fn pass(&mut self, state: &State, now: Timestamp) -> Plan {
        let Some(cluster) = state.cluster() else {
            return Plan::default();
        };
        let now = now.max(state.clock());
        let mut due = self.due(state, now, cluster.meta.version);
        let mut board = Board::new(state);
        let mut plan = Plan::default();
        while let Some(service) = due.pop_first() {
            self.wakes.remove(&service);
            let look = look(state, service, now, &mut board);
            if !look.changes.is_empty() {
                self.unsettled.insert(service);
            }
            if let Some(wake_at) = look.wake_at {
                self.wakes.insert(service, wake_at);
            }
            plan.changes.extend(look.changes);
            if plan.changes.len() >= ENOUGH {
                break;
            }
        }
        self.unsettled.extend(due);
        self.seen = state.index();
        self.cluster_version = cluster.meta.version;
        plan.wake_at = self.wake_at();
        plan
    }

    /// When the next pass is due if nothing happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wakes.values().min().copied()
    }

    fn due(&mut self, state: &State, now: Timestamp, cluster_version: u64) -> BTreeSet<ServiceId> {
        let seen = if cluster_version == self.cluster_version {
            self.seen
        } else {
            0
        };
        let mut due = std::mem::take(&mut self.unsettled);
        due.extend(state.touched().services_since(seen));
        due.extend(
            self.wakes
                .iter()
                .filter(|(_, wake_at)| **wake_at <= now)
                .map(|(service, _)| *service),
        );
        due
    }
}
