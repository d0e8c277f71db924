//! What all replicated objects have in common, and the config, which has little else.

use serde::{Deserialize, Serialize};

use crate::spec::{ConfigId, ConfigSpec, Timestamp};

/// When an object was made and last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// The log index of the last write: what Docker calls `Version.Index`. A client that updates
    /// must name it.
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Meta {
    pub const fn new(index: u64, at: Timestamp) -> Self {
        Self {
            version: index,
            created_at: at,
            updated_at: at,
        }
    }

    pub const fn write(&mut self, index: u64, at: Timestamp) {
        self.version = index;
        self.updated_at = at;
    }
}

/// A config and its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub id: ConfigId,
    pub meta: Meta,
    pub spec: ConfigSpec,
}
