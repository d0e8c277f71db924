//! The command line: reads arguments, talks to the daemon through `api::client`, prints.
//!
//! `main` calls [`parse`], then either starts the daemon or calls [`run`]. One file or folder per
//! group of commands. Layer: entry.

mod args;
mod check;
mod cluster;
mod config;
mod context;
mod doctor;
mod failure;
mod launch;
mod network;
mod node;
mod options;
mod output;
mod progress;
mod service;
mod status;
mod system;
mod task_table;
mod uninstall;
mod values;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command, Global};
use context::Context;
use failure::{Exit, Failure};

use crate::api::client::Client;

pub use options::{DaemonArgs, DataplaneArgs};

/// What the arguments ask for.
#[derive(Debug)]
pub enum Parsed {
    /// Become the daemon.
    Daemon(DaemonArgs),
    /// Become the process that holds what outlives a daemon.
    Dataplane(DataplaneArgs),
    /// Run one command.
    Client(Box<ClientCommand>),
    /// Help was shown, or the arguments were wrong and it was said.
    Done(ExitCode),
}

/// One command with its options.
#[derive(Debug)]
pub struct ClientCommand {
    global: Global,
    command: Command,
}

/// Reads this process's arguments.
pub fn parse() -> Parsed {
    match Cli::try_parse() {
        Ok(Cli {
            global,
            command: Command::Daemon(daemon),
        }) => Parsed::Daemon(options::daemon_args(&global, daemon)),
        Ok(Cli {
            global,
            command: Command::Dataplane(flags),
        }) => Parsed::Dataplane(options::dataplane_args(&global, flags)),
        Ok(Cli { global, command }) => Parsed::Client(Box::new(ClientCommand { global, command })),
        Err(error) => {
            // Nothing is left to do when even that cannot be written.
            drop(error.print());
            Parsed::Done(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)))
        }
    }
}

/// Runs one command to its end.
pub fn run(command: ClientCommand) -> ExitCode {
    let request_id = request_id();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return finish(&Failure::error(format!("cannot start: {error}")), "", false),
    };
    let ClientCommand { global, command } = command;
    let debug = global.log_level.contains("debug") || global.log_level.contains("trace");
    let context = Context {
        client: Client::new(&global.socket(), &request_id),
    };
    match runtime.block_on(dispatch(&context, &global, command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => finish(&failure, &request_id, debug),
    }
}

fn finish(failure: &Failure, request_id: &str, debug: bool) -> ExitCode {
    eprint!("{}", failure.report());
    if debug && failure.exit != Exit::Done {
        eprintln!("request {request_id}");
    }
    failure.exit.into()
}

/// 64 random bits: enough to tell commands apart in a log.
fn request_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

async fn dispatch(context: &Context, global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        // `parse` has taken it already.
        Command::Daemon(_) | Command::Dataplane(_) => {
            Err(Failure::usage("the daemon is not a client's command"))
        }
        Command::Init(args) => cluster::init::run(context, global, *args).await,
        Command::Join(args) => cluster::join::run(context, global, args).await,
        Command::Leave(args) => cluster::leave(context, args).await,
        Command::JoinToken(args) => cluster::token::run(context, args).await,
        Command::Swarm { command } => cluster::run(context, global, command).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Check(args) => check::run(context, global, &args).await,
        Command::Uninstall(args) => uninstall::run(context, global, args).await,
        Command::Info(args) => system::info(context, args).await,
        Command::Version(args) => system::version(context, args).await,
        Command::Node { command } => node::run(context, command).await,
        Command::Service { command } => service::run(context, command).await,
        Command::Network { command } => network::run(context, command).await,
        Command::Config { command } => config::run(context, command).await,
        Command::Completion { shell } => system::completion(context, shell),
    }
}
