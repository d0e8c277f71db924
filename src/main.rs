//! The `swarmr` program: the daemon, or one command that talks to it.

use std::process::ExitCode;

use swarmr::agent::Inventory;
use swarmr::api::EngineAddress;
use swarmr::cli::{self, DaemonArgs, Parsed};
use swarmr::daemon::{self, DaemonOptions, LogFormat};

fn main() -> ExitCode {
    match cli::parse() {
        Parsed::Daemon(args) => run_daemon(args),
        Parsed::Client(command) => cli::run(*command),
        Parsed::Done(code) => code,
    }
}

fn run_daemon(args: DaemonArgs) -> ExitCode {
    // A session of its own, so that closing the terminal does not end it.
    if args.detached
        && let Err(error) = nix::unistd::setsid()
    {
        eprintln!("swarmr: this session cannot be left: {error}");
    }
    match daemon::run(options(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swarmr: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: DaemonArgs) -> DaemonOptions {
    DaemonOptions {
        state_dir: args.state_dir,
        socket: args.socket,
        group: args.group,
        engine: match args.engine {
            EngineAddress::Unix(socket) => Some(socket),
            EngineAddress::Fake => None,
        },
        alongside_swarm: args.alongside_swarm,
        inventory: Inventory::new(args.generic_resources, args.device_kinds),
        log_level: args.log_level,
        log_format: if args.log_json {
            LogFormat::Json
        } else {
            LogFormat::Text
        },
    }
}
