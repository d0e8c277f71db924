//! `swarmr service update` and `swarmr service rollback`.

mod container;
mod lists;

use clap::Args;
use serde_json::Value;

use super::flags::{CommonFlags, Words, words};
use super::{planning, references, steer};
use crate::api::client::target;
use crate::api::wire::{Service, ServiceUpdated};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::node::is_stale;
use crate::cli::progress::{self, Operation, ProgressFlags};
use crate::spec::ServiceSpec;
use crate::spec::service::NetworkAttachmentConfig;
use lists::Lists;

/// A change is made anew when somebody else's comes between.
const ATTEMPTS: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Id or name
    service: String,
    /// Image
    #[arg(long)]
    image: Option<String>,
    /// Arguments of the command
    #[arg(long, value_name = "COMMAND", value_parser = words, allow_hyphen_values = true)]
    args: Option<Words>,
    /// Replace all tasks although nothing else changes
    #[arg(long)]
    force: bool,
    /// Return to what it was before the last update
    #[arg(long)]
    rollback: bool,
    /// Show what would happen, step by step, without doing it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    lists: Lists,
    #[command(flatten)]
    progress: ProgressFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Id or name
    service: String,
    /// To that revision; "service history" lists them
    #[arg(long, value_name = "REVISION")]
    to_revision: Option<u64>,
    #[command(flatten)]
    progress: ProgressFlags,
}

/// What flags name and the API knows by id.
#[derive(Debug, Default)]
struct Resolved {
    configs: Vec<Value>,
    secrets: Vec<Value>,
    networks: Vec<NetworkAttachmentConfig>,
    networks_to_remove: Vec<String>,
}

pub(super) async fn run(context: &Context, args: UpdateArgs) -> Result<(), Failure> {
    if args.dry_run {
        return plan(context, args).await;
    }
    if args.rollback {
        return roll_back_by_update(context, &args).await;
    }
    if args.common.with_registry_auth {
        context.say("warning: logins at registries are not sent along yet: log in on each node");
    }
    let resolved = resolve(context, &args).await?;
    let before = write(context, &args.service, &[], |spec| {
        args.apply(spec, &resolved, &|name| std::env::var(name).ok())
    })
    .await?;
    context.print(&format!("{}\n", args.service))?;
    let id = before.id.to_string();
    let operation = Operation::update(before.update_status);
    progress::wait(context, &id, operation, &args.progress).await
}

/// `service plan`: what the same flags of `service update` would do.
pub(super) async fn plan(context: &Context, args: UpdateArgs) -> Result<(), Failure> {
    let resolved = resolve(context, &args).await?;
    let service: Service = context.get(&["services", &args.service], &[]).await?;
    let mut spec = ServiceSpec::clone(&service.spec);
    args.apply(&mut spec, &resolved, &|name| std::env::var(name).ok())?;
    let query: &[_] = if args.rollback {
        &[("rollback", "previous")]
    } else {
        &[]
    };
    planning::rehearse_update(context, &service.id.to_string(), &spec, query).await
}

async fn resolve(context: &Context, args: &UpdateArgs) -> Result<Resolved, Failure> {
    let container = &args.lists.container;
    Ok(Resolved {
        configs: references::configs(context, &container.config_add).await?,
        secrets: references::secrets(context, &container.secret_add).await?,
        networks: references::with_ids(context, &args.lists.network_add).await?,
        networks_to_remove: references::network_ids(context, &args.lists.network_rm).await?,
    })
}

pub(super) async fn roll_back(context: &Context, args: RollbackArgs) -> Result<(), Failure> {
    let before = match args.to_revision {
        Some(revision) => {
            let revision = revision.to_string();
            let query = [("revision", revision.as_str())];
            steer::ask(context, &args.service, "rollback", &query).await?
        }
        None => {
            let query = [("rollback", "previous")];
            write(context, &args.service, &query, |_| Ok(())).await?
        }
    };
    context.print(&format!("{}\n", args.service))?;
    let id = before.id.to_string();
    let operation = Operation::rollback(before.update_status);
    progress::wait(context, &id, operation, &args.progress).await
}

async fn roll_back_by_update(context: &Context, args: &UpdateArgs) -> Result<(), Failure> {
    let probe = ServiceSpec::default();
    let mut changed = probe.clone();
    args.apply(&mut changed, &Resolved::default(), &|_| None)?;
    if changed != probe {
        return Err(Failure::usage(
            "--rollback cannot be used with options that change the service",
        ));
    }
    let args = RollbackArgs {
        service: args.service.clone(),
        to_revision: None,
        progress: args.progress.clone(),
    };
    roll_back(context, args).await
}

/// Reads a service, changes its spec, writes it back; again where somebody else was quicker.
/// Gives the service as it was.
pub(super) async fn write(
    context: &Context,
    name: &str,
    query: &[(&str, &str)],
    change: impl Fn(&mut ServiceSpec) -> Result<(), Failure>,
) -> Result<Service, Failure> {
    let mut attempt = 1;
    loop {
        let service: Service = context.get(&["services", name], &[]).await?;
        let mut spec = ServiceSpec::clone(&service.spec);
        change(&mut spec)?;
        let id = service.id.to_string();
        let version = service.meta.version.index.to_string();
        let mut all = vec![("version", version.as_str())];
        all.extend_from_slice(query);
        let target = target(&["services", &id, "update"], &all);
        match context
            .client
            .post::<_, ServiceUpdated>(&target, &spec)
            .await
        {
            Ok(updated) => {
                for warning in updated.warnings.unwrap_or_default() {
                    context.say(&format!("warning: {warning}"));
                }
                return Ok(service);
            }
            Err(error) if is_stale(&error) && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

impl UpdateArgs {
    fn apply(
        &self,
        spec: &mut ServiceSpec,
        resolved: &Resolved,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Failure> {
        self.common.apply(spec)?;
        if let Some(image) = &self.image {
            image.clone_into(&mut spec.task_template.container_spec.image);
        }
        if let Some(Words(args)) = &self.args {
            args.clone_into(&mut spec.task_template.container_spec.args);
        }
        if self.force {
            spec.task_template.force_update += 1;
        }
        self.lists.apply(spec, resolved);
        let container = &mut spec.task_template.container_spec;
        self.lists.container.apply(container, resolved, environment)
    }
}

#[cfg(test)]
mod tests;
