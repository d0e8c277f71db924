//! The tree of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::check::CheckArgs;
use super::cluster::init::InitArgs;
use super::cluster::join::JoinArgs;
use super::cluster::token::TokenArgs;
use super::cluster::{LeaveArgs, SwarmCommand};
use super::config::ConfigCommand;
use super::failure::EXIT_CODES;
use super::network::NetworkCommand;
use super::node::NodeCommand;
use super::options::{self, DaemonFlags, DataplaneFlags};
use super::service::ServiceCommand;
use super::status::StatusArgs;
use super::system::{InfoArgs, VersionArgs};
use super::uninstall::UninstallArgs;

/// A decentralized container orchestrator that speaks Docker's own API
#[derive(Debug, Parser)]
#[command(
    name = "swarmr",
    version,
    after_help = EXIT_CODES,
    max_term_width = 100,
    infer_subcommands = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Where the daemon listens
    #[arg(
        long,
        global = true,
        env = "SWARMR_SOCKET",
        value_name = "PATH",
        default_value = options::DEFAULT_SOCKET,
        value_parser = options::socket_path
    )]
    socket: PathBuf,
    /// The same, as Docker's client writes it
    #[arg(short = 'H', long, value_name = "unix://PATH", value_parser = options::unix_host)]
    host: Option<PathBuf>,
    /// How much to tell: error, warn, info, debug, trace, or levels per module
    #[arg(
        long,
        global = true,
        env = "SWARMR_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub(crate) log_level: String,
    /// How the daemon writes its log
    #[arg(
        long,
        global = true,
        env = "SWARMR_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        value_parser = ["text", "json"]
    )]
    pub(crate) log_format: String,
}

impl Global {
    pub(crate) fn socket(&self) -> PathBuf {
        self.host.clone().unwrap_or_else(|| self.socket.clone())
    }

    pub(crate) fn is_default_socket(&self) -> bool {
        self.socket().as_os_str() == options::DEFAULT_SOCKET
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in the foreground
    Daemon(DaemonFlags),
    /// Hold names, published ports and tunnels while daemons come and go
    #[command(hide = true)]
    Dataplane(DataplaneFlags),
    /// Make a cluster of this node
    Init(Box<InitArgs>),
    /// Join a cluster as a worker or a manager, by which token it is
    Join(JoinArgs),
    /// Leave the cluster
    Leave(LeaveArgs),
    /// Show or replace the token that lets nodes join
    JoinToken(TokenArgs),
    /// Show on one screen who leads, who is missing, what converges and what is wrong
    Status(StatusArgs),
    /// Name everything that this machine lacks
    Check(CheckArgs),
    /// Remove everything that swarmr made on this machine
    Uninstall(UninstallArgs),
    /// Show what this node is
    Info(InfoArgs),
    /// Show the versions of this program and of the daemon
    Version(VersionArgs),
    /// Manage the cluster in Docker's words
    Swarm {
        #[command(subcommand)]
        command: SwarmCommand,
    },
    /// Manage nodes
    Node {
        #[command(subcommand)]
        command: NodeCommand,
    },
    /// Manage services
    Service {
        #[command(subcommand)]
        command: ServiceCommand,
    },
    /// Manage networks
    Network {
        #[command(subcommand)]
        command: NetworkCommand,
    },
    /// Manage configs
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a script that completes commands in a shell
    Completion { shell: clap_complete::Shell },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exit_codes_are_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("130  interrupted"), "{help}");
    }

    #[test]
    fn the_socket_is_named_in_either_way() {
        let socket = |words: &[&str]| Cli::try_parse_from(words).unwrap().global.socket();
        assert_eq!(
            socket(&["swarmr", "--socket", "/a", "status"]),
            PathBuf::from("/a")
        );
        assert_eq!(
            socket(&["swarmr", "status", "--socket", "unix:///b"]),
            PathBuf::from("/b")
        );
        assert_eq!(
            socket(&["swarmr", "-H", "unix:///c", "status"]),
            PathBuf::from("/c")
        );
        assert!(Cli::try_parse_from(["swarmr", "-H", "tcp://x:1", "status"]).is_err());
    }
}
