//! What nodes say to each other in datagrams.

use serde::{Deserialize, Serialize};

use super::fact::Change;
use super::few::Few;
use super::node::{Life, NodeId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// I am here, and this is the hash of all that I believe.
    Heartbeat {
        view: [u8; 8],
    },
    /// Say something at once.
    Ping {
        number: u32,
    },
    Ack {
        number: u32,
    },
    /// Do you hear it? Try now.
    Ask {
        about: NodeId,
    },
    /// It has just said something to me.
    Heard {
        about: NodeId,
    },
    /// I am trying. (Lifeguard's nack: the one asked is there, whatever the other is.)
    Trying {
        about: NodeId,
    },
    /// `by` does not hear the node in this life of it.
    Suspect {
        node: NodeId,
        life: Life,
        by: NodeId,
        kernel: Kernel,
    },
    /// The node has been given up in this life of it.
    Dead {
        node: NodeId,
        life: Life,
        reason: Reason,
    },
    News(News),
    /// The hashes of what I believe, nodes put into as many buckets.
    Buckets {
        hashes: Few<[u8; 4]>,
    },
    /// What I believe of these.
    Summary {
        briefs: Few<Brief>,
    },
    /// Tell me what the node has said of itself since, in the life that began so.
    Want {
        node: NodeId,
        start: u64,
        since: u64,
    },
}

/// What a node has said of itself: it lives, and all that it has changed in a range of versions and
/// that has not changed again since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct News {
    pub(super) node: NodeId,
    pub(super) life: Life,
    /// It begins at the beginning, for what has gone since the version asked for is forgotten: also what
    /// was known of older versions has gone where it is not named.
    pub(super) whole: bool,
    /// Changes after this version
    pub(super) from: u64,
    /// up to this one. The same: there are none.
    pub(super) to: u64,
    pub(super) changes: Few<Stamped>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamped {
    pub(super) version: u64,
    pub(super) change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Brief {
    pub(super) node: NodeId,
    pub(super) life: Life,
    pub(super) dead: bool,
    pub(super) version: u64,
}

/// What a node's kernel says while its process is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kernel {
    /// Nothing, though it did answer before.
    Silent,
    /// It answers: the process is stopped, restarting or gone.
    Answers,
    /// It never did: a firewall may drop what is asked.
    Unknown,
}

/// Why a node was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Several neighbours agree that neither it nor its kernel answers.
    Silent,
    /// It has said nothing for as long as a suspected node is given.
    Unresponsive,
}
