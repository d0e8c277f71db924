//! An event: one line of `GET /events`.

use serde::{Deserialize, Serialize};

use crate::spec::nullable::nullable;
use crate::spec::service::Labels;

/// One event. Engines add `status`, `id` and `from` for old clients; those are kept as read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `swarm` or `local`.
    #[serde(deserialize_with = "nullable")]
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes", deserialize_with = "nullable")]
    pub attributes: Labels,
}
