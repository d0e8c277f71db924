//! The leader: one loop that watches the state and the nodes, asks the planner what should change,
//! proposes it, and tells every node its part. Nothing else proposes desired state.
//!
//! It keeps no memory that matters: whatever a new leader must know is in the replicated state, and
//! sessions and silences it learns anew.

mod draining;
mod liveness;
mod members;
mod reporter;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use swarmr_net::membership::View;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::draining::Draining;
use self::liveness::Liveness;
use self::reporter::Reporter;
use self::sessions::Sessions;
use super::store::{HereError, Store};
use crate::clock::Clock;
use crate::message::session::ToManager;
use crate::plan::Agenda;
use crate::spec::NodeId;
use crate::state::assignment::Stamp;
use crate::state::command::{NodeObservation, Op};
use crate::state::node::NodeState;
use crate::state::{Reply, State};

pub(super) use self::sessions::{Outbox, SessionId};

/// Events of sessions that may wait for the loop: a burst of every node of a large cluster.
const INBOX: usize = 4_096;
/// How often silences are looked at.
const LIVENESS_EVERY: Duration = Duration::from_millis(100);
/// How long to wait before trying again when a proposal found no quorum.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// What sessions tell the loop.
#[derive(Debug)]
pub(super) enum Event {
    Opened {
        node: NodeId,
        session: SessionId,
        outbox: Outbox,
    },
    Said {
        node: NodeId,
        session: SessionId,
        message: Box<ToManager>,
    },
    Closed {
        node: NodeId,
        session: SessionId,
    },
}

/// How sessions reach the loop of the current term.
#[derive(Debug, Clone)]
pub(super) struct LeaderHandle {
    pub(super) inbox: mpsc::Sender<Event>,
}

/// One term of leadership.
pub(super) struct Leader {
    store: Store,
    clock: Arc<dyn Clock>,
    term: u64,
    agenda: Agenda,
    sessions: Sessions,
    draining: Draining,
    liveness: Liveness,
    reporter: Reporter,
    /// The last look at the assignments: the index they were made from.
    assigned_at: u64,
    /// Looks at the assignments in this term so far.
    looks: u64,
    /// Something other than the state changed what nodes must be told.
    assign_again: bool,
}

/// Leads until the term is over: the handle for sessions, and the loop to run.
pub(super) fn lead(
    store: Store,
    clock: Arc<dyn Clock>,
    term: u64,
    me: NodeId,
    view: watch::Receiver<Arc<View>>,
    tracker: &TaskTracker,
    over: CancellationToken,
) -> LeaderHandle {
    let (inbox, events) = mpsc::channel(INBOX);
    let reporter = Reporter::start(store.clone(), tracker, over.clone());
    tracker.spawn(members::run(store.clone(), me, over.clone()));
    let leader = Leader {
        store,
        clock,
        term,
        agenda: Agenda::new_leader(),
        sessions: Sessions::default(),
        draining: Draining::default(),
        liveness: Liveness::new(view),
        reporter,
        assigned_at: 0,
        looks: 0,
        assign_again: true,
    };
    tracker.spawn(leader.run(events, over));
    LeaderHandle { inbox }
}

impl Leader {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, over: CancellationToken) {
        tracing::info!(term = self.term, "leading");
        // Nothing is planned from a state that misses what earlier leaders committed.
        while self.store.raft().read_barrier().await.is_err() {
            tokio::select! {
                () = over.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
        let mut published = self.store.watch();
        let mut liveness = tokio::time::interval(LIVENESS_EVERY);
        liveness.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let state = published.borrow_and_update().clone();
            let wake = self.turn(&state).await;
            let wake = wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                () = over.cancelled() => break,
                changed = published.changed() => if changed.is_err() { break },
                event = events.recv() => match event {
                    Some(event) => self.hear(&mut events, event),
                    None => break,
                },
                () = self.liveness.rumour() => self.watch_nodes(&mut events, &state).await,
                _ = liveness.tick() => self.watch_nodes(&mut events, &state).await,
                () = sleep_until(wake) => {}
            }
        }
        tracing::info!(term = self.term, "leading no more");
    }

    /// One look: plan, propose, assign. Returns when to look again if nothing happens.
    async fn turn(&mut self, state: &Arc<State>) -> Option<Instant> {
        let now = self.clock.now();
        let plan = self.agenda.pass(state, now);
        if !plan.changes.is_empty() {
            tracing::debug!(
                changes = plan.changes.len(),
                index = state.index(),
                "planned"
            );
            // A plan that is not taken is made again: its services stay on the agenda.
            if let Err(error) = self.store.propose_here(Op::Plan(plan.changes)).await {
                tracing::debug!(?error, "a plan was not taken");
                return Some(Instant::now() + RETRY_AFTER);
            }
            // The next look sees what came of it; nodes are told at once all the same.
        }
        let state = self.store.state();
        self.assign(&state);
        let planned = plan.wake_at.map(|at| Instant::now() + (at - now).to_std());
        planned
            .into_iter()
            .chain(self.draining.next_deadline())
            .min()
    }

    /// Takes in what sessions said, and whatever else is waiting in the same breath.
    fn hear(&mut self, events: &mut mpsc::Receiver<Event>, first: Event) {
        let mut next = Some(first);
        let mut budget = INBOX;
        while let Some(event) = next {
            self.take(event);
            budget -= 1;
            next = if budget > 0 {
                events.try_recv().ok()
            } else {
                None
            };
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened {
                node,
                session,
                outbox,
            } => {
                self.sessions.open(node, session, outbox);
                self.liveness.heard(node);
                self.assign_again = true;
            }
            Event::Closed { node, session } => self.sessions.close(node, session),
            Event::Said {
                node,
                session,
                message,
            } => {
                if !self.sessions.is_current(node, session) {
                    return;
                }
                self.liveness.heard(node);
                match *message {
                    ToManager::Heartbeat => {}
                    ToManager::Hello {
                        addr,
                        description,
                        applied,
                    } => {
                        self.sessions.applied(node, applied);
                        self.liveness.described(node, Some(addr), description);
                        self.assign_again = true;
                    }
                    ToManager::Described(description) => {
                        self.liveness.described(node, None, description)
                    }
                    ToManager::Reports(reports) => {
                        let own = reports
                            .into_iter()
                            .filter(|report| report.node == node)
                            .collect();
                        self.reporter.report(own);
                    }
                    ToManager::Applied(stamp) => {
                        self.sessions.applied(node, stamp);
                        self.assign_again = true;
                    }
                }
            }
        }
    }

    /// Proposes what the silences and descriptions of nodes have come to mean.
    async fn watch_nodes(&mut self, events: &mut mpsc::Receiver<Event>, state: &State) {
        // What was said while a proposal was under way waits here: not silence.
        if let Ok(event) = events.try_recv() {
            self.hear(events, event);
        }
        let news: Vec<NodeObservation> = self.liveness.look(state);
        if news.is_empty() {
            return;
        }
        for observation in &news {
            if let Some((node_state, message)) = &observation.state {
                tracing::info!(node = %observation.node, ?node_state, message, "node");
                if *node_state == NodeState::Down {
                    self.sessions.drop_node(observation.node);
                }
            }
        }
        match self
            .store
            .propose_here(Op::ObserveNodes(news.clone()))
            .await
        {
            Ok((Reply::Done | Reply::Written { .. } | Reply::Planned { .. }, _)) => {}
            Ok((Reply::Rejected(why), _)) => tracing::warn!(%why, "news of nodes was refused"),
            Err(HereError::Unknown(why) | HereError::Refused(why) | HereError::TooLarge(why)) => {
                tracing::debug!(why, "news of nodes was not taken");
                self.liveness.not_taken(news);
            }
            Err(HereError::NoQuorum) => self.liveness.not_taken(news),
            Err(HereError::NotLeader) => {}
        }
    }

    /// Tells every node its part, when that has changed.
    fn assign(&mut self, state: &State) {
        if state.touched().assignments() <= self.assigned_at
            && !self.assign_again
            && !self.draining.is_due()
        {
            return;
        }
        self.assigned_at = state.index();
        self.assign_again = false;
        self.draining.note(state, self.next_stamp());
        loop {
            let stamp = self.next_stamp();
            self.looks += 1;
            let drained = self.draining.drained();
            for node in self.sessions.nodes() {
                match state.assignment(node, stamp, &drained) {
                    Some(assignment) => self.sessions.tell(node, assignment),
                    // Removed from the cluster: it hears so when it comes again.
                    None => self.sessions.drop_node(node),
                }
            }
            // Nodes that a stopping task never concerned have nothing to confirm.
            if !self.draining.confirm(state, &self.sessions) {
                break;
            }
        }
    }

    /// The stamp of the next assignments: later looks of a term, and later terms, win.
    const fn next_stamp(&self) -> Stamp {
        Stamp {
            term: self.term,
            revision: self.looks + 1,
        }
    }
}
