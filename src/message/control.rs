//! Calls between nodes, one question and one answer each.

use serde::{Deserialize, Serialize};

use super::examination::Examination;
use crate::spec::NodeId;
use crate::state::{Op, Reply};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Ask {
    /// Is somebody there? Asked by a manager of a node that wants to be admitted.
    Ping,
    /// From a manager that does not lead: propose this for me.
    Propose(Box<Op>),
    /// From any node: a certificate for the key in this request, with the role the state says.
    Renew { csr_pem: String },
    /// From the leader to a new manager: start Raft under this id; you are about to be added.
    PrepareMember { raft_id: u64 },
    /// From a manager that is to be none: am I still in the Raft group? Only the leader knows.
    IsMember { raft_id: u64 },
    /// From a manager that shuts down or leaves: take me out of the voters (or the cluster).
    Leave { force: bool },
    /// From a manager to any node: how do your networks compare with what is wanted? Mend them, too.
    Examine { mend: bool },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    Done,
    /// The reply, and the log index after which it shows.
    Proposed {
        reply: Reply,
        index: u64,
    },
    /// It runs already, under this id.
    Prepared {
        raft_id: u64,
    },
    Member(bool),
    Examined(Box<Examination>),
    Renewed {
        chain_pem: String,
        roots_pem: String,
    },
    NotLeader {
        leader: Option<NodeId>,
    },
    /// Nothing was done.
    Refused(String),
    /// It may or may not have been done.
    Unknown(String),
}
