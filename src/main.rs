//! The `swarmr` program: the daemon, or one command that talks to it.

use std::process::ExitCode;

use swarmr::agent::Inventory;
use swarmr::api::EngineAddress;
use swarmr::cli::{self, DaemonArgs, DataplaneArgs, Parsed};
use swarmr::daemon::dataplane::{self, DataplaneOptions};
use swarmr::daemon::{self, DaemonOptions, LogFormat};

fn main() -> ExitCode {
    match cli::parse() {
        Parsed::Daemon(args) => run_daemon(args),
        Parsed::Dataplane(args) => run_dataplane(args),
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
    finish(daemon::run(options(args)))
}

fn run_dataplane(args: DataplaneArgs) -> ExitCode {
    finish(dataplane::run(&DataplaneOptions {
        folder: args.folder,
        log_level: args.log_level,
        log_format: log_format(args.log_json),
    }))
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swarmr: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const fn log_format(json: bool) -> LogFormat {
    match json {
        true => LogFormat::Json,
        false => LogFormat::Text,
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
        log_format: log_format(args.log_json),
    }
}
