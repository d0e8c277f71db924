//! What swarmr's services have beyond Docker's.

mod affinity;
mod connections;
pub mod dependency;
pub mod init;
mod restart;
mod rolling;
mod step;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::dependency::Dependency;
use self::init::InitContainer;
use super::device::{DeviceMapping, DeviceRequest};
use super::nullable::{is_default, nullable};
use super::schedule::Schedule;

pub use affinity::{AffinityRule, Strategy, Strength};
pub use connections::Connections;
pub use restart::{Backoff, RestartExtension};
pub use rolling::RollingExtension;
pub use step::{Step, StepSize};

/// `Swarmr` of a service spec: settings that Docker's API has no field for. Clients that do not
/// know of them leave them as they are: an update without the key keeps what was there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Extension {
    /// Device nodes that each task is given.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub devices: Vec<DeviceMapping>,
    /// Devices that each task is given by what they can.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub device_requests: Vec<DeviceRequest>,
    /// Services whose tasks this one's are to be near to.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub affinities: Vec<AffinityRule>,
    /// Services, perhaps itself, whose tasks this one's are to be apart from.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub anti_affinities: Vec<AffinityRule>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub strategy: Strategy,
    /// What an update does beyond `UpdateConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<RollingExtension>,
    /// What a rollback does beyond `RollbackConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollingExtension>,
    /// How the delay between restarts grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartExtension>,
    /// Revisions that are remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revisions_limit: Option<u64>,
    /// Runs a job by the clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Services that must be so far before tasks of this one start.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub depends_on: Vec<Dependency>,
    /// Containers that run, one after the other, before each task's own.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub init_containers: Vec<InitContainer>,
    /// Whether tasks move to nodes that join or return; not said, they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebalance: Option<Rebalance>,
    /// Which task a connection goes to; not said, any alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// What this version does not know. Refused when it is sent; kept when it is read, for a newer
    /// manager may have written it.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// When tasks are moved for the sake of evenness alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rebalance {
    /// When somebody asks for it.
    Off,
    /// Whenever nodes differ by two tasks, those that came last for a minute already.
    Auto,
}

impl Extension {
    /// Revisions that are remembered when nothing is said.
    pub const REVISIONS: u64 = 10;

    pub fn revisions_limit(&self) -> u64 {
        self.revisions_limit.unwrap_or(Self::REVISIONS)
    }

    /// Whether tasks of both are the same: settings that only steer decisions may differ.
    pub fn makes_same_tasks(&self, other: &Self) -> bool {
        self.devices == other.devices
            && self.device_requests == other.device_requests
            && self.init_containers == other.init_containers
    }
}
