//! Where things are on this machine: state, socket, engine. Shared by the daemon and by the
//! commands that start, check or remove it.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use clap::Args;

use super::args::Global;
use crate::api::EngineAddress;
use crate::spec::device::DeviceKind;
use crate::spec::generic::GenericResource;
use crate::spec::parse;

pub(crate) const DEFAULT_SOCKET: &str = "/run/swarmr/docker.sock";
const DEFAULT_STATE_DIR: &str = "/var/lib/swarmr";
const DEFAULT_ENGINE: &str = "unix:///var/run/docker.sock";

/// What the daemon is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonArgs {
    pub state_dir: PathBuf,
    pub socket: PathBuf,
    pub group: String,
    pub engine: EngineAddress,
    pub alongside_swarm: bool,
    pub generic_resources: Vec<GenericResource>,
    pub device_kinds: Vec<DeviceKind>,
    pub log_level: String,
    pub log_json: bool,
    /// Started by `init` or `join`: it leaves their session.
    pub detached: bool,
}

/// What the process of the data plane is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataplaneArgs {
    /// Where its socket is.
    pub folder: PathBuf,
    pub log_level: String,
    pub log_json: bool,
}

/// Options of the daemon and of those who start it.
#[derive(Debug, Clone, Args)]
pub(crate) struct MachineFlags {
    /// Where the daemon keeps what must survive a restart
    #[arg(
        long,
        env = "SWARMR_STATE_DIR",
        value_name = "DIR",
        default_value = DEFAULT_STATE_DIR
    )]
    pub(crate) state_dir: PathBuf,
    /// The Docker engine that runs containers, or "fake" to run none
    #[arg(
        long,
        env = "SWARMR_ENGINE",
        value_name = "unix://PATH|fake",
        default_value = DEFAULT_ENGINE,
        value_parser = EngineAddress::from_str
    )]
    pub(crate) engine: EngineAddress,
    /// Go on although the engine is in Docker's own swarm mode
    #[arg(long)]
    pub(crate) alongside_swarm: bool,
    /// What this node has that services can reserve: ssd=3, or gpu=UUID1 once for each
    #[arg(long, value_name = "KIND=COUNT|NAME", value_parser = parse::node_resource)]
    pub(crate) node_generic_resource: Vec<GenericResource>,
    /// Device nodes that services can ask for, beside those that are known: gpu=/dev/fake*
    #[arg(
        long,
        value_name = "KIND=PATTERN[,driver=NAME][,shared]",
        value_parser = parse::device_kind
    )]
    pub(crate) node_device: Vec<DeviceKind>,
}

impl MachineFlags {
    /// The engine's socket; `None` for the fake runtime.
    pub(crate) fn engine_socket(&self) -> Option<&Path> {
        match &self.engine {
            EngineAddress::Unix(socket) => Some(socket),
            EngineAddress::Fake => None,
        }
    }

    pub(crate) fn is_default_place(&self) -> bool {
        self.state_dir.as_os_str() == DEFAULT_STATE_DIR
    }

    /// Whether these are the options of a daemon that was given none.
    pub(crate) fn is_default(&self) -> bool {
        self.is_default_place()
            && self.engine.to_string() == DEFAULT_ENGINE
            && !self.alongside_swarm
            && self.node_generic_resource.is_empty()
            && self.node_device.is_empty()
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DaemonFlags {
    #[command(flatten)]
    machine: MachineFlags,
    /// Group that may use the socket beside root
    #[arg(long, value_name = "NAME", default_value = "swarmr")]
    group: String,
    /// Leave the session of whoever started it
    #[arg(long, hide = true)]
    detached: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DataplaneFlags {
    /// Where it is spoken to
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn dataplane_args(global: &Global, flags: DataplaneFlags) -> DataplaneArgs {
    DataplaneArgs {
        folder: flags.folder,
        log_level: global.log_level.clone(),
        log_json: global.log_format == "json",
    }
}

pub(crate) fn daemon_args(global: &Global, flags: DaemonFlags) -> DaemonArgs {
    DaemonArgs {
        socket: global.socket(),
        engine: flags.machine.engine,
        state_dir: flags.machine.state_dir,
        group: flags.group,
        alongside_swarm: flags.machine.alongside_swarm,
        generic_resources: flags.machine.node_generic_resource,
        device_kinds: flags.machine.node_device,
        log_level: global.log_level.clone(),
        log_json: global.log_format == "json",
        detached: flags.detached,
    }
}

/// A path, with or without `unix://` before it.
pub(crate) fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.is_empty() || path.contains("://") {
        return Err("want the path of a unix socket".to_owned());
    }
    Ok(PathBuf::from(path))
}

/// `unix://PATH`, as Docker's `-H`.
pub(crate) fn unix_host(text: &str) -> Result<PathBuf, String> {
    text.strip_prefix("unix://")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .ok_or_else(|| "want unix://PATH: swarmr listens on a unix socket only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_paths_with_or_without_a_scheme() {
        assert_eq!(socket_path("/run/s"), Ok("/run/s".into()));
        assert_eq!(socket_path("unix:///run/s"), Ok("/run/s".into()));
        assert!(socket_path("tcp://127.0.0.1:1").is_err());
        assert!(socket_path("").is_err());
        assert!(unix_host("/run/s").is_err());
    }
}
