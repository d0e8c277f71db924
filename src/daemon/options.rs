//! What the daemon is told when it starts. Made by `main` from the command line.

use std::path::PathBuf;

use crate::agent::Inventory;

/// Settings of one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonOptions {
    /// Everything that is kept over a restart.
    pub state_dir: PathBuf,
    /// Where the API listens.
    pub socket: PathBuf,
    /// Group that may use the socket; where it does not exist, root alone may.
    pub group: String,
    /// The Docker engine's socket; `None` runs the fake runtime.
    pub engine: Option<PathBuf>,
    /// Goes on beside Docker's own swarm mode on the same engine.
    pub alongside_swarm: bool,
    /// What the machine has beyond what its engine tells.
    pub inventory: Inventory,
    /// `info`, or levels per module: `info,swarmr::api=debug`.
    pub log_level: String,
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; to the journal where it is the daemon's standard error.
    Text,
    /// One JSON object a line.
    Json,
}
