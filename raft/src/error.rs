//! The errors of the public operations: one enum for each, for callers to branch on.

use std::io;
use std::path::PathBuf;

use crate::member::{Member, MemberId};

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot use {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{dir} is in use by another process")]
    InUse { dir: PathBuf },
    #[error("{path} was written in a format this version does not read: {found}")]
    Format { path: PathBuf, found: String },
    #[error("{dir} belongs to member {found}, not to member {asked}")]
    WrongMember {
        dir: PathBuf,
        found: MemberId,
        asked: MemberId,
    },
    /// The disk lost something this member had promised to keep.
    #[error(
        "{file} is damaged at offset {offset}: {what}. This member may have lost entries that it \
         had acknowledged, so it must not take part as it is. If the cluster has other members, \
         remove this one, clear its directory and let it join under a new id; if it was the only \
         one, restore a backup"
    )]
    Damaged {
        file: PathBuf,
        offset: u64,
        what: String,
    },
    #[error("invalid configuration: {0}")]
    Config(String),
    #[error("stopped while starting: {0}")]
    Stopped(String),
}

/// Why a cluster of one was not formed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InitializeError {
    #[error("this member already belongs to a cluster")]
    AlreadyInitialized,
    #[error("the first member must be this one: its id is {0}")]
    NotThisMember(MemberId),
    #[error("the cluster of one did not become writable in time")]
    TimedOut,
    #[error("stopped: {0}")]
    Stopped(String),
}

/// Why a proposal has no reply.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProposeError {
    /// Not applied. Ask `leader` if it is known.
    #[error("not the leader")]
    NotLeader { leader: Option<Member> },
    /// Not applied: this leader has no quorum at the moment.
    #[error("no quorum of members answers")]
    NoQuorum,
    /// Not applied: more work was queued than could be taken in time.
    #[error("too many proposals are waiting")]
    Busy,
    /// May have been applied, may still be applied, or never: look it up.
    #[error("the outcome is unknown")]
    Unknown,
    /// Not applied.
    #[error("a proposal of {size} bytes is over the limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    /// Not applied: this member stopped.
    #[error("stopped")]
    Stopped,
}

/// Why a read cannot be linearizable here and now.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    #[error("not the leader")]
    NotLeader { leader: Option<Member> },
    #[error("no quorum of members answers")]
    NoQuorum,
    #[error("the machine did not reach the entry in time")]
    TimedOut,
    #[error("stopped")]
    Stopped,
}

/// Why something waited for did not come.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum WaitError {
    #[error("not reached in time")]
    TimedOut,
    #[error("stopped")]
    Stopped,
}

/// Why the set of members is not what was asked for.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum MembershipError {
    #[error("not the leader")]
    NotLeader { leader: Option<Member> },
    #[error("no quorum of members answers")]
    NoQuorum,
    #[error("member {0} is not known")]
    UnknownMember(MemberId),
    #[error("member {0} exists with another name: ids are never reused")]
    IdInUse(MemberId),
    #[error("the last voter cannot be removed")]
    LastVoter,
    /// The change would leave a cluster that cannot decide, since `silent` members do not answer.
    #[error("the change would leave no quorum: members {silent:?} do not answer")]
    WouldLoseQuorum { silent: Vec<MemberId> },
    #[error("member {0} did not catch up in time")]
    NotCaughtUp(MemberId),
    #[error("leadership could not be handed over in time")]
    TransferFailed,
    /// The change may have taken effect, or may still do so: look at the members.
    #[error("the outcome is unknown")]
    Unknown,
    #[error("refused: {0}")]
    Refused(String),
    #[error("stopped")]
    Stopped,
}
