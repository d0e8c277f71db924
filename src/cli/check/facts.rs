//! What a machine is like, as plain data.

use std::path::PathBuf;

use crate::spec::network::Subnet;

/// Everything that the checks look at. `None` is "could not be told".
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) is_root: bool,
    pub(super) modules: Vec<(&'static str, Module)>,
    pub(super) ip_forward: Option<bool>,
    /// What `nft --version` says.
    pub(super) nft: Option<String>,
    pub(super) engine: Engine,
    pub(super) ports: Vec<Port>,
    pub(super) routes: Vec<Route>,
    /// Seconds since 1970.
    pub(super) clock_secs: i64,
    pub(super) memory_bytes: Option<u64>,
    pub(super) has_cgroups: bool,
    /// The engine's socket is swarmr's own.
    pub(super) engine_is_swarmr: bool,
}

/// Whether the kernel has a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Module {
    Loaded,
    /// On disk, loaded when it is needed.
    Loadable,
    Missing,
    /// A kernel that does not tell.
    Unknown,
}

/// The container engine, as far as it answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Engine {
    /// The fake runtime needs none.
    #[default]
    NotWanted,
    Absent {
        socket: PathBuf,
    },
    NoPermission {
        socket: PathBuf,
    },
    Silent {
        socket: PathBuf,
        error: String,
    },
    Answers(EngineInfo),
}

/// What matters of the engine's `GET /info`.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EngineInfo {
    pub(super) server_version: String,
    pub(super) docker_root_dir: String,
    pub(super) security_options: Option<Vec<String>>,
    pub(super) live_restore_enabled: bool,
    pub(super) swarm: EngineSwarm,
}

#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EngineSwarm {
    pub(super) local_node_state: String,
}

/// A UDP port that the daemon is to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) purpose: &'static str,
    /// Why it cannot be bound; `None` when it can.
    pub(super) refused: Option<String>,
}

/// A route of the kernel other than the default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) subnet: Subnet,
    pub(super) device: String,
}
