//! Which services a pass looks at: those that changed since the last one, and those whose time
//! has come. So a pass costs what changed and not what exists.

use std::collections::{BTreeMap, BTreeSet};

use super::board::Board;
use super::look;
use super::view::Views;
use crate::spec::{ServiceId, Timestamp};
use crate::state::{Change, State};

/// Changes after which a pass leaves the rest for the next one, so that no command grows without
/// bound. A single service may exceed it.
const ENOUGH: usize = 10_000;

/// What the next pass has to look at. One per leadership; it may be thrown away at any time, for
/// a new one only looks at more.
///
/// A leader first applies everything that was in the log when it was elected. Then, over and over:
/// `pass`; if there are changes, propose them, wait until they are applied, and pass again; if
/// there are none, wait for the state to move or for `wake_at`. One plan at a time: a second one,
/// made from the same state, would decide the same things again.
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
    /// Tasks were placed or told to stop since the leader last came to rest: for those that still
    /// wait for a node the reason may be another one by now.
    placed: bool,
    /// Up to this log index, what changes of nodes lead to has been written down for all services
    /// but those in `unseen`.
    settled: Option<u64>,
    /// Services that this leader has not looked at yet, or that had tasks on nodes that do not suit
    /// them when it did: that was decided, but may have got lost.
    unseen: BTreeSet<ServiceId>,
    /// Nodes ranked for placement, kept so that a pass costs what has changed on them.
    views: Views,
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

    /// Decides what should change in `state`. `now` is the leader's clock, which must not go back
    /// while it leads; the pass takes the state's own if that is ahead. So after a leader whose
    /// clock was fast, delays last longer by as much unless the new one starts from
    /// `State::clock` and counts on from there.
    pub fn pass(&mut self, state: &State, now: Timestamp) -> Plan {
        let Some(cluster) = state.cluster() else {
            return Plan::default();
        };
        let now = now.max(state.clock());
        let mut due = self.due(state, now, cluster.meta.version);
        if self.placed {
            // Most placements only take room away, but these services may wait for one.
            due.extend(state.services_waiting_for_neighbours());
        }
        let settled = *self.settled.get_or_insert_with(|| {
            self.unseen.clone_from(&due);
            state.index()
        });
        let changed = state.touched().nodes_since(settled);
        let changed = changed.map(Iterator::collect);
        let mut board = Board::with(state, std::mem::take(&mut self.views), changed);
        let mut changes = self.look_at(&mut due, state, now, &mut board);
        if changes.is_empty() && std::mem::take(&mut self.placed) {
            due.extend(state.services_waiting_for_nodes());
            due.extend(state.services_leaving_nodes());
            changes = self.look_at(&mut due, state, now, &mut board);
        }
        self.views = board.into_views();
        // What was decided may get lost, and is decided again only by who still knows of the change.
        if due.is_empty() && changes.is_empty() {
            self.settled = Some(state.index());
        }
        self.unsettled.extend(due);
        self.seen = state.index();
        self.cluster_version = cluster.meta.version;
        Plan {
            changes,
            wake_at: self.wake_at(),
        }
    }

    /// When the next pass is due if nothing happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wakes.values().min().copied()
    }

    /// Looks at services until there are enough changes; leaves the others in `due`.
    fn look_at(
        &mut self,
        due: &mut BTreeSet<ServiceId>,
        state: &State,
        now: Timestamp,
        board: &mut Board<'_>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        while changes.len() < ENOUGH
            && let Some(service) = due.pop_first()
        {
            let changed_at = state.service(service).map(|service| service.meta.version);
            let changed = changed_at.is_none_or(|at| at > self.settled.unwrap_or(0));
            board.begin_look(self.unseen.contains(&service) || changed);
            let look = look(state, service, now, board);
            if !look.changes.iter().any(Change::rejects) {
                self.unseen.remove(&service);
            }
            if !look.changes.is_empty() {
                self.unsettled.insert(service);
            }
            match look.wake_at {
                Some(wake_at) => self.wakes.insert(service, wake_at),
                None => self.wakes.remove(&service),
            };
            changes.extend(look.changes);
        }
        let tells = |change: &Change| {
            let stops = matches!(
                change,
                Change::SetDesired { .. } | Change::ReplaceTask { .. }
            );
            stops || change.placed_on().is_some()
        };
        self.placed |= changes.iter().any(tells);
        changes
    }

    fn due(&mut self, state: &State, now: Timestamp, cluster_version: u64) -> BTreeSet<ServiceId> {
        let seen = if cluster_version == self.cluster_version {
            self.seen
        } else {
            0
        };
        let mut due = std::mem::take(&mut self.unsettled);
        for id in state.touched().services_since(seen) {
            due.insert(id);
            if let Some(service) = state.service(id) {
                // They may wait for what has just happened.
                due.extend(state.dependents_of(service.name()));
            }
        }
        due.extend(
            self.wakes
                .iter()
                .filter(|(_, wake_at)| **wake_at <= now)
                .map(|(service, _)| *service),
        );
        due
    }
}
