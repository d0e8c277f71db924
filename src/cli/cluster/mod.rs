//! `swarmr init`, `join`, `leave`, `join-token`, and `swarmr swarm …`, which is the same in
//! Docker's words.

pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod token;
mod update;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::args::Global;
use super::context::Context;
use super::failure::{Exit, Failure};
use crate::api::client::target;
use crate::api::wire::Swarm;

/// Entering or leaving a cluster takes a few round trips and an fsync on each side.
const LIFECYCLE_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(crate) enum SwarmCommand {
    /// Make a cluster of this node
    Init(Box<init::InitArgs>),
    /// Join a cluster as a worker or a manager, by which token it is
    Join(join::JoinArgs),
    /// Show or replace the token that lets nodes join
    JoinToken(token::TokenArgs),
    /// Leave the cluster
    Leave(LeaveArgs),
    /// Change settings of the cluster
    Update(update::UpdateArgs),
    /// Show the certificate of the cluster's root
    Ca(CaArgs),
}

#[derive(Debug, Args)]
pub(crate) struct LeaveArgs {
    /// Leave although this is a manager, or the last one
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    /// Replace the root (not built yet)
    #[arg(long)]
    rotate: bool,
}

pub(crate) async fn run(
    context: &Context,
    global: &Global,
    command: SwarmCommand,
) -> Result<(), Failure> {
    match command {
        SwarmCommand::Init(args) => init::run(context, global, *args).await,
        SwarmCommand::Join(args) => join::run(context, global, args).await,
        SwarmCommand::JoinToken(args) => token::run(context, args).await,
        SwarmCommand::Leave(args) => leave(context, args).await,
        SwarmCommand::Update(args) => update::run(context, args).await,
        SwarmCommand::Ca(args) => show_root(context, args).await,
    }
}

pub(crate) async fn leave(context: &Context, args: LeaveArgs) -> Result<(), Failure> {
    let query: &[(&str, &str)] = if args.force { &[("force", "1")] } else { &[] };
    context
        .client
        .with_deadline(LIFECYCLE_DEADLINE)
        .post_empty(&target(&["swarm", "leave"], query))
        .await?;
    context.print("Node left the swarm.\n")
}

async fn show_root(context: &Context, args: CaArgs) -> Result<(), Failure> {
    if args.rotate {
        return Err(Failure::new(
            Exit::Error,
            "replacing the root certificate is not built yet",
        ));
    }
    let swarm = get_swarm(context).await?;
    context.print(&format!("{}\n", swarm.tls_info.trust_root.trim_end()))
}

async fn get_swarm(context: &Context) -> Result<Swarm, Failure> {
    context.get(&["swarm"], &[]).await
}
