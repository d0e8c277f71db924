//! Who takes part: used by every module, and by callers to name members.

use serde::{Deserialize, Serialize};

/// Number of a member. Never reused: a machine that joins again gets a new one.
pub type MemberId = u64;

/// A member of the cluster, voter or learner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: MemberId,
    /// The caller's own name for it (its node id); opaque here.
    pub label: String,
    /// `host:port`, handed to the [`Transport`](crate::Transport) as it is.
    pub addr: String,
}
