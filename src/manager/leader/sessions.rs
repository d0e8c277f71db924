//! The sessions of this term: who is connected, what each was told last, what each has in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::message::session::ToAgent;
use crate::spec::NodeId;
use crate::state::assignment::{Assignment, Stamp};
use crate::state::codec;

/// Tells a node's sessions apart: one that reconnects has two for a moment.
pub(in crate::manager) type SessionId = u64;
/// The newest frame for a node. A slow node misses some, which costs nothing: each is whole.
pub(in crate::manager) type Outbox = Arc<watch::Sender<Option<Bytes>>>;

/// All sessions, by node.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<NodeId, Session>,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    outbox: Outbox,
    /// What was sent last, with its stamp.
    sent: Option<Assignment>,
    applied: Stamp,
}

impl Sessions {
    pub(super) fn open(&mut self, node: NodeId, id: SessionId, outbox: Outbox) {
        let session = Session {
            id,
            outbox,
            sent: None,
            applied: Stamp::default(),
        };
        self.sessions.insert(node, session);
    }

    pub(super) fn close(&mut self, node: NodeId, id: SessionId) {
        if self.is_current(node, id) {
            self.sessions.remove(&node);
        }
    }

    /// Forgets a node's session, whichever it is.
    pub(super) fn drop_node(&mut self, node: NodeId) {
        self.sessions.remove(&node);
    }

    pub(super) fn is_current(&self, node: NodeId, id: SessionId) -> bool {
        self.sessions
            .get(&node)
            .is_some_and(|session| session.id == id)
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.sessions.keys().copied().collect()
    }

    pub(super) fn applied(&mut self, node: NodeId, stamp: Stamp) {
        if let Some(session) = self.sessions.get_mut(&node) {
            session.applied = session.applied.max(stamp);
        }
    }

    /// Sends an assignment, unless it says what the last one said.
    pub(super) fn tell(&mut self, node: NodeId, assignment: Assignment) {
        let Some(session) = self.sessions.get_mut(&node) else {
            return;
        };
        let same = session.sent.as_ref().is_some_and(|sent| {
            Assignment {
                stamp: assignment.stamp,
                ..sent.clone()
            } == assignment
        });
        if same {
            return;
        }
        session.sent = Some(assignment.clone());
        match codec::encode(&ToAgent::Assign(Box::new(assignment))) {
            Ok(frame) => {
                session.outbox.send_replace(Some(Bytes::from(frame)));
            }
            Err(error) => tracing::error!(%node, %error, "an assignment cannot be encoded"),
        }
    }

    /// Whether what was true at `revision` of this term is in force on `node`: it has applied an
    /// assignment at least as new, or none had to be sent to it since.
    pub(super) fn has_in_force(&self, node: NodeId, at: Stamp) -> bool {
        self.sessions.get(&node).is_some_and(|session| {
            session
                .sent
                .as_ref()
                .is_some_and(|sent| sent.stamp < at || session.applied >= at)
        })
    }
}
