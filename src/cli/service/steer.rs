//! `swarmr service promote|pause|resume|restart|stop|start`.

use clap::Args;

use crate::api::client::target;
use crate::api::wire::Service;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::progress::{self, Operation, ProgressFlags};

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// Id or name
    service: String,
    /// Go on to the end, past all other steps
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    progress: ProgressFlags,
}

#[derive(Debug, Args)]
pub(crate) struct SteerArgs {
    /// Id or name
    service: String,
    #[command(flatten)]
    progress: ProgressFlags,
}

#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// Ids or names
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

pub(super) async fn promote(context: &Context, args: PromoteArgs) -> Result<(), Failure> {
    let query: &[(&str, &str)] = if args.full { &[("full", "true")] } else { &[] };
    ask(context, &args.service, "promote", query).await?;
    wait(
        context,
        &args.service,
        Operation::update(None),
        &args.progress,
    )
    .await
}

pub(super) async fn resume(context: &Context, args: SteerArgs) -> Result<(), Failure> {
    let before = ask(context, &args.service, "resume", &[]).await?;
    let rolls_back = before
        .update_status
        .is_some_and(|update| crate::cli::output::word(&update.state).starts_with("rollback"));
    let operation = if rolls_back {
        Operation::rollback(None)
    } else {
        Operation::update(None)
    };
    wait(context, &args.service, operation, &args.progress).await
}

pub(super) async fn restart(context: &Context, args: SteerArgs) -> Result<(), Failure> {
    let before = ask(context, &args.service, "restart", &[]).await?;
    let operation = Operation::update(before.update_status);
    wait(context, &args.service, operation, &args.progress).await
}

pub(super) async fn start(context: &Context, args: SteerArgs) -> Result<(), Failure> {
    let before = ask(context, &args.service, "start", &[]).await?;
    let operation = Operation::update(before.update_status);
    wait(context, &args.service, operation, &args.progress).await
}

/// Pauses or stops: there is nothing to wait for that would have to go well.
pub(super) async fn each(context: &Context, args: NamesArgs, verb: &str) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for service in &args.services {
        match ask(context, service, verb, &[]).await {
            Ok(_) => context.print(&format!("{service}\n"))?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::join(failures)
}

/// Gives the service as it was before.
pub(super) async fn ask(
    context: &Context,
    name: &str,
    verb: &str,
    query: &[(&str, &str)],
) -> Result<Service, Failure> {
    let service: Service = context.get(&["services", name], &[]).await?;
    let id = service.id.to_string();
    let target = target(&["swarmr", "v1", "services", &id, verb], query);
    context.client.post_empty(&target).await?;
    Ok(service)
}

async fn wait(
    context: &Context,
    service: &str,
    operation: Operation,
    flags: &ProgressFlags,
) -> Result<(), Failure> {
    context.print(&format!("{service}\n"))?;
    progress::wait(context, service, operation, flags).await
}
