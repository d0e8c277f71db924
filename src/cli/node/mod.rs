//! `swarmr node …`.

mod change;
mod drain;
mod list;
mod pretty;

use clap::{Args, Subcommand};

use super::context::{Context, ListArgs};
use super::failure::Failure;
use super::output::data::Data;
use super::task_table::{self, TaskListArgs};
use crate::api::client::target;
use crate::api::wire::Node;
use crate::spec::Availability;

pub(crate) use change::is_stale;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show nodes in detail
    Inspect(InspectArgs),
    /// List what runs on nodes
    Ps(PsArgs),
    /// Change a node's role, availability or labels
    Update(change::UpdateArgs),
    /// Move what runs on nodes elsewhere, and put nothing more on them
    Drain(drain::DrainArgs),
    /// Put nothing more on nodes; what runs there stays
    Pause(NamesArgs),
    /// Put tasks on nodes again; what has not left them stays
    Activate(NamesArgs),
    /// Make workers managers
    Promote(NamesArgs),
    /// Make managers workers
    Demote(NamesArgs),
    /// Remove nodes that are down
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Ids, names, or "self"
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "pretty")]
    format: Option<String>,
    /// Show it for people
    #[arg(long)]
    pretty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Ids, names, or "self"
    #[arg(value_name = "NODE", default_value = "self")]
    nodes: Vec<String>,
    #[command(flatten)]
    list: TaskListArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// Ids or names
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Ids or names
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
    /// Remove a node that is not down, too
    #[arg(short, long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Ls(args) => list::run(context, &args).await,
        NodeCommand::Inspect(args) => inspect(context, args).await,
        NodeCommand::Ps(args) => ps(context, args).await,
        NodeCommand::Update(args) => change::update(context, args).await,
        NodeCommand::Drain(args) => drain::drain(context, &args).await,
        NodeCommand::Pause(args) => drain::set(context, &args.nodes, Availability::Pause).await,
        NodeCommand::Activate(args) => drain::set(context, &args.nodes, Availability::Active).await,
        NodeCommand::Promote(args) => change::promote(context, &args.nodes).await,
        NodeCommand::Demote(args) => change::demote(context, &args.nodes).await,
        NodeCommand::Rm(args) => remove(context, args).await,
    }
}

async fn inspect(context: &Context, args: InspectArgs) -> Result<(), Failure> {
    let mut names = Vec::new();
    for node in &args.nodes {
        names.push(context.node_name(node).await?);
    }
    if args.pretty || args.format.as_deref() == Some("pretty") {
        let (nodes, failures) = context.get_each::<Node>("nodes", &names, &[]).await;
        let texts: Vec<String> = nodes.iter().map(pretty::node).collect();
        context.print(&texts.join("\n"))?;
        return Failure::join(failures);
    }
    let (nodes, failures) = context.get_each::<Data>("nodes", &names, &[]).await;
    context.print_inspected(&nodes, failures, args.format.as_deref())
}

async fn ps(context: &Context, args: PsArgs) -> Result<(), Failure> {
    let mut names = Vec::new();
    for node in &args.nodes {
        names.push(context.node_name(node).await?);
    }
    let (nodes, failures) = context.get_each::<Node>("nodes", &names, &[]).await;
    if !nodes.is_empty() {
        let wanted = nodes
            .iter()
            .map(|node| ("node".to_owned(), node.id.to_string()))
            .collect();
        task_table::show(context, wanted, &args.list).await?;
    }
    Failure::join(failures)
}

async fn remove(context: &Context, args: RemoveArgs) -> Result<(), Failure> {
    let query: &[(&str, &str)] = if args.force { &[("force", "1")] } else { &[] };
    let mut failures = Vec::new();
    for node in &args.nodes {
        match context
            .client
            .delete(&target(&["nodes", node], query))
            .await
        {
            Ok(()) => context.print(&format!("{node}\n"))?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}
