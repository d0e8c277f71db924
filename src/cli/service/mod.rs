//! `swarmr service …`.

mod create;
mod extension;
mod flags;
mod health;
mod history;
mod list;
mod logs;
mod merge;
mod planning;
mod pretty;
mod references;
mod run_now;
mod runs;
mod scale;
mod steer;
mod update;

use clap::{Args, Subcommand};

use super::context::{Context, ListArgs, filters};
use super::failure::Failure;
use super::output::data::Data;
use super::task_table::{self, TaskListArgs};
use crate::api::client::target;
use crate::api::wire::revision::Revision;
use crate::api::wire::{Network, Service};
use crate::spec::Mode;

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Make a service
    Create(Box<create::CreateArgs>),
    /// List the services
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// List the tasks of services
    Ps(PsArgs),
    /// Show services in detail
    Inspect(InspectArgs),
    /// Change a service
    Update(Box<update::UpdateArgs>),
    /// Show why tasks of services wait, node by node, and what would let them run
    Explain(planning::ExplainArgs),
    /// Show what an update would do, step by step, without doing it
    Plan(Box<update::UpdateArgs>),
    /// Return a service to what it was before its last update, or to some revision
    Rollback(update::RollbackArgs),
    /// List what a service has been
    History(history::HistoryArgs),
    /// Let an update take its next step
    Promote(steer::PromoteArgs),
    /// Let an update rest
    Pause(steer::NamesArgs),
    /// Let a paused update go on
    Resume(steer::SteerArgs),
    /// Replace all tasks, by the update policy
    Restart(steer::SteerArgs),
    /// Stop all tasks and keep everything else
    Stop(steer::NamesArgs),
    /// Start a stopped service
    Start(steer::SteerArgs),
    /// Set how many tasks services have
    Scale(scale::ScaleArgs),
    /// Run a job now
    RunNow(run_now::RunNowArgs),
    /// List the runs of a job
    Runs(runs::RunsArgs),
    /// Move tasks from the fullest nodes to the emptiest, until services are even
    Rebalance(RebalanceArgs),
    /// Show what the tasks of a service write
    Logs(logs::LogsArgs),
    /// Remove services
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Ids or names
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    #[command(flatten)]
    list: TaskListArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Ids or names
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "pretty")]
    format: Option<String>,
    /// Show it for people
    #[arg(long)]
    pretty: bool,
    /// Show what it was at that revision
    #[arg(long, value_name = "REVISION")]
    revision: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Ids or names
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Tasks move one at a time, by the service's update order, while all others \
    serve. The command does not wait for them."
)]
pub(crate) struct RebalanceArgs {
    /// Ids or names
    #[arg(value_name = "SERVICE", required_unless_present = "all")]
    services: Vec<String>,
    /// Every replicated service
    #[arg(short, long, conflicts_with = "services")]
    all: bool,
}

pub(crate) async fn run(context: &Context, command: ServiceCommand) -> Result<(), Failure> {
    match command {
        ServiceCommand::Create(args) => create::run(context, *args).await,
        ServiceCommand::Ls(args) => list(context, &args).await,
        ServiceCommand::Ps(args) => ps(context, args).await,
        ServiceCommand::Inspect(args) => inspect(context, args).await,
        ServiceCommand::Update(args) => update::run(context, *args).await,
        ServiceCommand::Explain(args) => planning::explain(context, &args).await,
        ServiceCommand::Plan(args) => update::plan(context, *args).await,
        ServiceCommand::Rollback(args) => update::roll_back(context, args).await,
        ServiceCommand::History(args) => history::run(context, args).await,
        ServiceCommand::Promote(args) => steer::promote(context, args).await,
        ServiceCommand::Pause(args) => steer::each(context, args, "pause").await,
        ServiceCommand::Resume(args) => steer::resume(context, args).await,
        ServiceCommand::Restart(args) => steer::restart(context, args).await,
        ServiceCommand::Stop(args) => steer::each(context, args, "stop").await,
        ServiceCommand::Start(args) => steer::start(context, args).await,
        ServiceCommand::Scale(args) => scale::run(context, args).await,
        ServiceCommand::RunNow(args) => run_now::run(context, args).await,
        ServiceCommand::Runs(args) => runs::run(context, args).await,
        ServiceCommand::Rebalance(args) => rebalance(context, args).await,
        ServiceCommand::Logs(args) => logs::run(context, args).await,
        ServiceCommand::Rm(args) => remove(context, args).await,
    }
}

async fn list(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let filters = filters(&args.filters);
    let mut query = vec![("status", "true")];
    query.extend(filters.as_deref().map(|filters| ("filters", filters)));
    let services: Vec<Service> = context.get(&["services"], &query).await?;
    context.print(&list::table(services, args.wanted())?)
}

async fn ps(context: &Context, args: PsArgs) -> Result<(), Failure> {
    let (services, failures) = context
        .get_each::<Service>("services", &args.services, &[])
        .await;
    if !services.is_empty() {
        let wanted = services
            .iter()
            .map(|service| ("service".to_owned(), service.id.to_string()))
            .collect();
        task_table::show(context, wanted, &args.list).await?;
    }
    Failure::join(failures)
}

async fn inspect(context: &Context, args: InspectArgs) -> Result<(), Failure> {
    if let Some(revision) = args.revision {
        return inspect_revision(context, &args, revision).await;
    }
    let query = [("insertDefaults", "true")];
    if args.pretty || args.format.as_deref() == Some("pretty") {
        let (services, failures) = context
            .get_each::<Service>("services", &args.services, &query)
            .await;
        let networks: Vec<Network> = context.get(&["networks"], &[]).await?;
        let texts: Vec<String> = services
            .iter()
            .map(|service| pretty::service(service, &networks, context.now()))
            .collect();
        context.print(&texts.concat())?;
        return Failure::join(failures);
    }
    let (services, failures) = context
        .get_each::<Data>("services", &args.services, &query)
        .await;
    context.print_inspected(&services, failures, args.format.as_deref())
}

async fn inspect_revision(
    context: &Context,
    args: &InspectArgs,
    revision: u64,
) -> Result<(), Failure> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    let number = revision.to_string();
    let pretty = args.pretty || args.format.as_deref() == Some("pretty");
    for name in &args.services {
        let path = ["swarmr", "v1", "services", name, "revisions", &number];
        if pretty {
            match context.get::<Revision>(&path, &[]).await {
                Ok(revision) => {
                    let mut service: Service = context.get(&["services", name], &[]).await?;
                    service.spec = revision.spec.unwrap_or(service.spec);
                    service.update_status = None;
                    let networks: Vec<Network> = context.get(&["networks"], &[]).await?;
                    context.print(&pretty::service(&service, &networks, context.now()))?;
                }
                Err(failure) => failures.push(failure),
            }
        } else {
            match context.get::<Data>(&path, &[]).await {
                Ok(revision) => found.push(revision),
                Err(failure) => failures.push(failure),
            }
        }
    }
    if pretty {
        return Failure::join(failures);
    }
    context.print_inspected(&found, failures, args.format.as_deref())
}

async fn rebalance(context: &Context, args: RebalanceArgs) -> Result<(), Failure> {
    let mut names = args.services;
    if args.all {
        let services: Vec<Service> = context.get(&["services"], &[]).await?;
        let replicated = services
            .into_iter()
            .filter(|service| matches!(service.spec.mode, Mode::Replicated(_)));
        names.extend(replicated.map(|service| service.spec.name.clone()));
    }
    let mut failures = Vec::new();
    for service in &names {
        let target = target(&["services", service, "rebalance"], &[]);
        match context.client.post_empty(&target).await {
            Ok(_) => context.print(&format!("{service}\n"))?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}

async fn remove(context: &Context, args: RemoveArgs) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for service in &args.services {
        match context
            .client
            .delete(&target(&["services", service], &[]))
            .await
        {
            Ok(()) => context.print(&format!("{service}\n"))?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}
