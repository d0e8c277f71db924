//! Who is meant, in which of its lives.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node of the cluster: 128 bits that the caller chose and that never pass to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u128);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Which life of a node something is said of. What is said of a later life wins, and only the node
/// itself begins one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Life {
    /// Grows with every start of the process: the time of it, say.
    pub start: u64,
    /// Grows when the node hears that others miss it (SWIM's incarnation).
    pub refutations: u32,
}

impl Life {
    pub const fn of_start(start: u64) -> Self {
        Self {
            start,
            refutations: 0,
        }
    }

    /// One that outdoes `other` and does not fall behind `self`.
    pub(super) fn beyond(self, other: Self) -> Self {
        let base = self.max(other);
        match base.refutations.checked_add(1) {
            Some(refutations) => Self {
                refutations,
                ..base
            },
            None => Self::of_start(base.start.saturating_add(1)),
        }
    }
}
