//! openraft, instantiated for bytes. Everything that names its types starts here.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_adv;
use serde::{Deserialize, Serialize};

use crate::driver::Driver;
use crate::member::{Member, MemberId};

openraft::declare_raft_types!(
    /// Opaque bytes in, opaque bytes out. Several leaders per term may be elected in turn
    /// (`leader_id_adv`), which spares an election timeout when two followers stand at once.
    pub(crate) TypeConfig:
        D = Data,
        R = Reply,
        Node = Contact,
);

pub(crate) type Consensus = openraft::Raft<TypeConfig, Driver>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;
pub(crate) type LeaderId = leader_id_adv::LeaderId<u64, MemberId>;
pub(crate) type LogId = openraft::LogId<LeaderId>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::alias::PayloadOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<MemberId, Contact>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// What a proposal carries.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Data(pub(crate) Bytes);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What the machine answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply(pub(crate) Bytes);

/// A member without its id, as openraft keeps it beside the id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contact {
    pub(crate) label: String,
    pub(crate) addr: String,
}

impl Contact {
    pub(crate) fn member(&self, id: MemberId) -> Member {
        Member {
            id,
            label: self.label.clone(),
            addr: self.addr.clone(),
        }
    }
}

impl From<Member> for Contact {
    fn from(member: Member) -> Self {
        Self {
            label: member.label,
            addr: member.addr,
        }
    }
}

pub(crate) fn log_id(term: u64, leader: MemberId, index: u64) -> LogId {
    LogId {
        leader_id: LeaderId {
            term,
            node_id: leader,
        },
        index,
    }
}
