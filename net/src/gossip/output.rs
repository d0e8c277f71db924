//! What the state machine wants done, and what it tells.

use super::fact::Change;
use super::message::Reason;
use super::node::NodeId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// At most [`DATAGRAM_BYTES`](super::DATAGRAM_BYTES), over a connection that proves both ends.
    Send {
        to: NodeId,
        datagram: Vec<u8>,
    },
    /// Ask the node's kernel for anything that it answers by itself: a connection to a TCP port, whose
    /// refusal is an answer too. If it answers, [`Gossip::kernel_answered`](super::Gossip::kernel_answered)
    /// is called; if not, nothing.
    AskKernel {
        node: NodeId,
    },
    Event(Event),
}

/// Something is believed that was not before. Of what this node says of itself it hears nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It may be dead: no new traffic for it.
    Suspect(NodeId),
    Dead {
        node: NodeId,
        reason: Reason,
    },
    /// It lives after all, or again.
    Alive(NodeId),
    /// It said so of itself.
    Changed {
        node: NodeId,
        change: Change,
    },
}
