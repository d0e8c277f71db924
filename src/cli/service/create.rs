//! `swarmr service create`.

use std::path::PathBuf;

use clap::Args;

use super::flags::{CommonFlags, placement, reservations};
use super::{merge, planning, references};
use crate::api::client::target;
use crate::api::wire::Created;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::progress::{self, Operation, ProgressFlags};
use crate::spec::container::{DnsConfig, Mount, Ulimit};
use crate::spec::generic::GenericResource;
use crate::spec::parse::{self, FileReference, Ports};
use crate::spec::service::{
    EndpointMode, GlobalMode, NetworkAttachmentConfig, PlacementPreference, Replicated,
    ReplicatedJob,
};
use crate::spec::{Mode, ServiceSpec};

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Image, then the command and its arguments
    #[arg(
        value_name = "IMAGE [COMMAND] [ARG]",
        required = true,
        num_args = 1..,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    image: Vec<String>,
    /// Name [default: made up]
    #[arg(long)]
    name: Option<String>,
    /// How many tasks there are and what for
    #[arg(
        long,
        default_value = "replicated",
        value_parser = ["replicated", "global", "replicated-job", "global-job", "cron-job"]
    )]
    mode: String,
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    lists: Lists,
    /// Show what would happen, step by step, without doing it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    progress: ProgressFlags,
}

/// Flags that may be repeated.
#[derive(Debug, Args)]
struct Lists {
    /// Label of the service
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    label: Vec<(String, String)>,
    /// Label of its containers
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    container_label: Vec<(String, String)>,
    /// What a node must be like: node.labels.zone==a, node.role!=manager, …
    #[arg(long, value_name = "CONSTRAINT")]
    constraint: Vec<String>,
    /// What to spread tasks over: spread=node.labels.zone
    #[arg(long, value_name = "spread=LABEL", value_parser = parse::placement_preference)]
    placement_pref: Vec<PlacementPreference>,
    /// What else a node must have left
    #[arg(long, value_name = "KIND=COUNT|NAME", value_parser = parse::generic_resource)]
    generic_resource: Vec<GenericResource>,
    /// Network: NAME, or name=NAME,alias=ALIAS
    #[arg(long, value_name = "NETWORK", value_parser = parse::network)]
    network: Vec<NetworkAttachmentConfig>,
    /// Port to publish: 8080:80, or published=8080,target=80,protocol=tcp,mode=host
    #[arg(short, long, value_name = "PORT", value_parser = parse::port)]
    publish: Vec<Ports>,
    /// Line of /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = parse::host)]
    host: Vec<String>,
    /// Name server
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// Domain to search
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Option of the resolver
    #[arg(long, value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Environment variable; a name alone takes this shell's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// File of environment variables
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Mount: type=bind,source=/a,target=/b,readonly
    #[arg(long, value_name = "MOUNT", value_parser = parse::mount)]
    mount: Vec<Mount>,
    /// Secret: NAME, or source=NAME,target=FILE,uid=N,gid=N,mode=0444
    #[arg(long, value_name = "SECRET", value_parser = parse::file_reference)]
    secret: Vec<FileReference>,
    /// Config: NAME, or source=NAME,target=FILE,uid=N,gid=N,mode=0444
    #[arg(long, value_name = "CONFIG", value_parser = parse::file_reference)]
    config: Vec<FileReference>,
    /// Further group of the user
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Capability to add
    #[arg(long, value_name = "CAPABILITY", value_parser = parse::capability)]
    cap_add: Vec<String>,
    /// Capability to drop
    #[arg(long, value_name = "CAPABILITY", value_parser = parse::capability)]
    cap_drop: Vec<String>,
    /// Kernel parameter
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::sysctl)]
    sysctl: Vec<(String, String)>,
    /// Limit of a process
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = parse::ulimit)]
    ulimit: Vec<Ulimit>,
}

pub(super) async fn run(context: &Context, args: CreateArgs) -> Result<(), Failure> {
    if args.common.with_registry_auth {
        context.say("warning: logins at registries are not sent along yet: log in on each node");
    }
    let mut spec = spec(&args, &|name| std::env::var(name).ok())?;
    let container = &mut spec.task_template.container_spec;
    container.configs = references::configs(context, &args.lists.config).await?;
    container.secrets = references::secrets(context, &args.lists.secret).await?;
    if args.dry_run {
        return planning::rehearse_create(context, &spec).await;
    }
    let created: Created = context
        .client
        .post(&target(&["services", "create"], &[]), &spec)
        .await?;
    for warning in &created.warnings {
        context.say(&format!("warning: {warning}"));
    }
    context.print(&format!("{}\n", created.id))?;
    progress::wait(context, &created.id, Operation::create(), &args.progress).await
}

/// What the flags ask for; `environment` looks a variable of the caller's up.
fn spec(
    args: &CreateArgs,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<ServiceSpec, Failure> {
    let (image, arguments) = args
        .image
        .split_first()
        .ok_or_else(|| Failure::usage("the image is missing"))?;
    if image.starts_with('-') {
        return Err(Failure::usage(format!("there is no option {image}"))
            .next("\"swarmr service create --help\" lists them."));
    }
    let scheduled = args.common.extension.schedule.schedule.is_some();
    if args.mode == "cron-job" && !scheduled {
        return Err(Failure::usage("--mode cron-job needs --schedule")
            .next("Say when it runs, such as --schedule \"*/5 * * * *\" or --schedule @daily."));
    }
    let mut spec = ServiceSpec {
        // Without one the daemon makes one up.
        name: args.name.clone().unwrap_or_default(),
        mode: match args.mode.as_str() {
            "global" => Mode::Global(GlobalMode {}),
            "replicated-job" | "cron-job" => Mode::ReplicatedJob(ReplicatedJob {
                max_concurrent: Some(1),
                total_completions: Some(1),
            }),
            "global-job" => Mode::GlobalJob(GlobalMode {}),
            _ => Mode::Replicated(Replicated::default()),
        },
        ..ServiceSpec::default()
    };
    if let (Mode::ReplicatedJob(job), Some(replicas)) = (&mut spec.mode, args.common.replicas) {
        job.max_concurrent = Some(replicas);
    }
    image.clone_into(&mut spec.task_template.container_spec.image);
    arguments.clone_into(&mut spec.task_template.container_spec.args);
    args.common.apply(&mut spec)?;
    args.lists.apply(&mut spec, environment)?;
    let endpoint = spec.endpoint_spec.get_or_insert_default();
    endpoint.mode.get_or_insert(EndpointMode::Vip);
    Ok(spec)
}

impl Lists {
    fn apply(
        &self,
        spec: &mut ServiceSpec,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Failure> {
        spec.labels = self.label.iter().cloned().collect();
        if !self.constraint.is_empty() {
            placement(spec).constraints.clone_from(&self.constraint);
        }
        if !self.placement_pref.is_empty() {
            placement(spec).preferences.clone_from(&self.placement_pref);
        }
        if !self.generic_resource.is_empty() {
            reservations(spec)
                .generic_resources
                .clone_from(&self.generic_resource);
        }
        spec.task_template.networks.clone_from(&self.network);
        let endpoint = spec.endpoint_spec.get_or_insert_default();
        endpoint.ports = self
            .publish
            .iter()
            .flat_map(|ports| ports.0.clone())
            .collect();
        self.apply_to_container(spec, environment)
    }

    fn apply_to_container(
        &self,
        spec: &mut ServiceSpec,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Failure> {
        let container = &mut spec.task_template.container_spec;
        container.labels = self.container_label.iter().cloned().collect();
        container.hosts.clone_from(&self.host);
        if !self.dns.is_empty() || !self.dns_search.is_empty() || !self.dns_option.is_empty() {
            container.dns_config = Some(DnsConfig {
                nameservers: self.dns.clone(),
                search: self.dns_search.clone(),
                options: self.dns_option.clone(),
            });
        }
        for file in &self.env_file {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::error(format!("environment file {}: {error}", file.display()))
            })?;
            container.env.extend(env_file(&text, environment)?);
        }
        for entry in &self.env {
            container.env.push(env_entry(entry, environment)?);
        }
        container.mounts.clone_from(&self.mount);
        container.groups.clone_from(&self.group);
        merge::capabilities(
            &mut container.capability_add,
            &mut container.capability_drop,
            &self.cap_add,
            &self.cap_drop,
        );
        container.sysctls = self.sysctl.iter().cloned().collect();
        container.ulimits.clone_from(&self.ulimit);
        Ok(())
    }
}

/// `NAME=VALUE` as it is, `NAME` with the caller's value where it has one.
pub(super) fn env_entry(
    entry: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Failure> {
    let name = entry.split('=').next().unwrap_or(entry);
    if name.is_empty() {
        return Err(Failure::usage(format!(
            "environment variable {entry:?} is not valid: want NAME or NAME=VALUE"
        )));
    }
    if entry.contains('=') {
        return Ok(entry.to_owned());
    }
    Ok(environment(name).map_or_else(|| name.to_owned(), |value| format!("{name}={value}")))
}

/// One variable a line; comments and empty lines do not count, a name alone takes the caller's
/// value or is left out.
fn env_file(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, Failure> {
    let mut entries = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or(line);
        if name.contains(char::is_whitespace) {
            return Err(Failure::usage(format!(
                "environment file: the name {name:?} holds a space"
            )));
        }
        if line.contains('=') || environment(name).is_some() {
            entries.push(env_entry(line, environment)?);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
