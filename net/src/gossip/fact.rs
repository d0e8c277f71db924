//! What a node says of itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One thing a node says of itself. It holds one fact of each [`FactKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// Where it is dialled.
    Address(SocketAddr),
    /// The public key of its end of the encrypted tunnels.
    TunnelKey([u8; 32]),
    /// How busy it is, 0 to 255. Told seldom and without haste.
    Load(u8),
    Task(TaskId, Phase),
}

/// A task that runs on the node: 128 bits that the caller chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub u128);

/// Whether a task takes connections. One that is not named takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Serving,
    /// It keeps what it has and takes nothing new.
    Draining,
}

/// Which fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FactKey {
    Address,
    TunnelKey,
    Load,
    Task(TaskId),
}

/// A fact that is so from now on, or one that is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Set(Fact),
    Gone(FactKey),
}

impl Fact {
    pub const fn key(&self) -> FactKey {
        match self {
            Self::Address(_) => FactKey::Address,
            Self::TunnelKey(_) => FactKey::TunnelKey,
            Self::Load(_) => FactKey::Load,
            Self::Task(task, _) => FactKey::Task(*task),
        }
    }
}

impl Change {
    pub const fn key(&self) -> FactKey {
        match self {
            Self::Set(fact) => fact.key(),
            Self::Gone(key) => *key,
        }
    }

    pub(super) const fn fact(&self) -> Option<&Fact> {
        match self {
            Self::Set(fact) => Some(fact),
            Self::Gone(_) => None,
        }
    }
}
