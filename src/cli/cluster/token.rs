//! `swarmr join-token`.

use clap::Args;

use super::get_swarm;
use crate::api::client::target;
use crate::api::wire::{Node, Swarm};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::values;
use crate::spec::Role;

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Which role the token gives
    #[arg(value_name = "worker|manager", value_parser = values::role())]
    role: Role,
    /// Replace the token: the old one lets nobody join from then on
    #[arg(long)]
    rotate: bool,
    /// Print the token only
    #[arg(short, long)]
    quiet: bool,
}

/// What a new node must be told.
pub(super) struct Joining {
    role: Role,
    token: String,
    /// Where a manager is reached.
    pub(super) addr: String,
}

impl Joining {
    pub(super) fn instructions(&self) -> String {
        format!(
            "To add a {} to this swarm, run the following command:\n\n    \
             swarmr join --token {} {}\n\n",
            self.role, self.token, self.addr
        )
    }
}

pub(crate) async fn run(context: &Context, args: TokenArgs) -> Result<(), Failure> {
    let mut swarm = get_swarm(context).await?;
    if args.rotate {
        let version = swarm.meta.version.index.to_string();
        let which = match args.role {
            Role::Worker => "rotateWorkerToken",
            Role::Manager => "rotateManagerToken",
        };
        let query = [("version", version.as_str()), (which, "true")];
        context
            .client
            .post_bytes(&target(&["swarm", "update"], &query), &swarm.spec)
            .await?;
        swarm = get_swarm(context).await?;
    }
    if args.quiet {
        return context.print(&format!("{}\n", token(&swarm, args.role)?));
    }
    let joining = joining(context, &swarm, args.role).await?;
    if args.rotate {
        context.print(&format!(
            "Successfully rotated {} join token.\n\n",
            args.role
        ))?;
    }
    context.print(&joining.instructions())
}

/// What a node that is to join must be told by this manager.
pub(super) async fn joining(
    context: &Context,
    swarm: &Swarm,
    role: Role,
) -> Result<Joining, Failure> {
    let info = context.swarm_info().await?;
    let node: Node = context.get(&["nodes", &info.node_id], &[]).await?;
    let addr = node
        .manager_status
        .map(|status| status.addr)
        .unwrap_or(info.node_addr);
    Ok(Joining {
        role,
        token: token(swarm, role)?,
        addr,
    })
}

fn token(swarm: &Swarm, role: Role) -> Result<String, Failure> {
    let tokens = swarm
        .join_tokens
        .as_ref()
        .ok_or_else(|| Failure::error("the daemon did not show the join tokens"))?;
    Ok(match role {
        Role::Worker => tokens.worker.clone(),
        Role::Manager => tokens.manager.clone(),
    })
}
