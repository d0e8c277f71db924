//! `swarmr network …`.

use clap::{Args, Subcommand};

use super::context::{Context, ListArgs, filters};
use super::doctor::{self, DoctorArgs};
use super::failure::{Exit, Failure};
use super::output::data::Data;
use super::output::format::{self, Columns};
use super::output::{natural, short_id};
use crate::api::client::{ClientError, target};
use crate::api::wire::network::{ConfigFrom, IpamConfig, NetworkIpam};
use crate::api::wire::{Network, NetworkCreate, NetworkCreated};
use crate::spec::parse;
use crate::spec::service::Labels;

const COLUMNS: Columns = Columns {
    default: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
};

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network
    Create(Box<CreateArgs>),
    /// List the networks
    #[command(visible_alias = "list")]
    Ls(NetworkListArgs),
    /// Show networks in detail
    Inspect(InspectArgs),
    /// Remove networks that nothing uses
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
    /// Remove all networks that nothing uses
    Prune(PruneArgs),
    /// Compare networks with what is wanted on every node, and mend them
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[arg(value_name = "NETWORK")]
    name: String,
    /// "overlay" makes a network of the cluster, all others are the local engine's
    #[arg(short, long, default_value = "bridge")]
    driver: String,
    /// Let containers that are no tasks join it
    #[arg(long)]
    attachable: bool,
    /// Make it the network of the routing mesh
    #[arg(long)]
    ingress: bool,
    /// No way out of it
    #[arg(long)]
    internal: bool,
    /// "swarm" or "local" [default: the driver's]
    #[arg(long, default_value = "", hide_default_value = true)]
    scope: String,
    /// Subnet [default: from the address pools]
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<String>,
    /// Gateway of a subnet
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Part of a subnet that containers get addresses from
    #[arg(long, value_name = "SUBNET")]
    ip_range: Vec<String>,
    /// Address that is used by something else
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = parse::driver_opt)]
    aux_address: Vec<(String, String)>,
    /// Whether it has IPv4 addresses
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv4: Option<bool>,
    /// Whether it has IPv6 addresses
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv6: Option<bool>,
    /// What gives out addresses
    #[arg(long, value_name = "DRIVER", default_value = "default")]
    ipam_driver: String,
    /// Option of the driver that gives out addresses
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::driver_opt)]
    ipam_opt: Vec<(String, String)>,
    /// Option of the driver
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse::driver_opt)]
    opt: Vec<(String, String)>,
    /// Make a configuration, not a network
    #[arg(long)]
    config_only: bool,
    /// The configuration to take
    #[arg(long, value_name = "NETWORK")]
    config_from: Option<String>,
    /// Label
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    label: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct NetworkListArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Show ids whole
    #[arg(long)]
    no_trunc: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the services behind their addresses
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
    /// Do not mind networks that are not there
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Remove only what matches; may be repeated
    #[arg(long = "filter", value_name = "KEY=VALUE", value_parser = super::context::filter)]
    filters: Vec<(String, String)>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, command: NetworkCommand) -> Result<(), Failure> {
    match command {
        NetworkCommand::Create(args) => create(context, *args).await,
        NetworkCommand::Ls(args) => list(context, args).await,
        NetworkCommand::Inspect(args) => inspect(context, args).await,
        NetworkCommand::Rm(args) => remove(context, args).await,
        NetworkCommand::Prune(args) => prune(context, args).await,
        NetworkCommand::Doctor(args) => doctor::run(context, args).await,
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<(), Failure> {
    let created: NetworkCreated = context
        .client
        .post(&target(&["networks", "create"], &[]), &request(args)?)
        .await?;
    for line in created.warning.lines() {
        context.say(&format!("warning: {line}"));
    }
    context.print(&format!("{}\n", created.id))
}

fn request(args: CreateArgs) -> Result<NetworkCreate, Failure> {
    Ok(NetworkCreate {
        ipam: Some(ipam(&args)?),
        name: args.name,
        check_duplicate: true,
        driver: args.driver,
        scope: args.scope,
        enable_ipv4: args.ipv4,
        enable_ipv6: args.ipv6.unwrap_or(false),
        internal: args.internal,
        attachable: args.attachable,
        ingress: args.ingress,
        config_only: args.config_only,
        config_from: args.config_from.map(|network| ConfigFrom { network }),
        options: args.opt.into_iter().collect(),
        labels: args.label.into_iter().collect(),
    })
}

/// One entry per subnet; gateways, ranges and other addresses go to the subnet that holds them.
fn ipam(args: &CreateArgs) -> Result<NetworkIpam, Failure> {
    let mut config: Vec<IpamConfig> = args
        .subnet
        .iter()
        .map(|subnet| IpamConfig {
            subnet: subnet.clone(),
            ..IpamConfig::default()
        })
        .collect();
    let holder = |what: &str, address: &str| -> Result<usize, Failure> {
        let base = address.split('/').next().unwrap_or(address);
        if let Some(place) = config.iter().position(|it| holds(&it.subnet, base)) {
            return Ok(place);
        }
        match config.len() {
            0 => Err(Failure::usage(format!("{what} {address} needs a --subnet"))),
            _ => Err(Failure::usage(format!(
                "{what} {address} lies in no --subnet: want one inside {}",
                args.subnet.join(", ")
            ))),
        }
    };
    let mut places = Vec::new();
    for gateway in &args.gateway {
        places.push((holder("--gateway", gateway)?, "gateway", gateway.clone()));
    }
    for range in &args.ip_range {
        places.push((holder("--ip-range", range)?, "range", range.clone()));
    }
    let mut auxiliary = Vec::new();
    for (name, address) in &args.aux_address {
        auxiliary.push((holder("--aux-address", address)?, name, address));
    }
    for (place, what, address) in places {
        match what {
            "gateway" => config[place].gateway = address,
            _ => config[place].ip_range = address,
        }
    }
    for (place, name, address) in auxiliary {
        config[place]
            .auxiliary_addresses
            .insert(name.clone(), address.clone());
    }
    let options: Labels = args.ipam_opt.iter().cloned().collect();
    Ok(NetworkIpam {
        driver: args.ipam_driver.clone(),
        options: (!options.is_empty()).then_some(options),
        config,
    })
}

/// Whether a subnet in text holds an address in text. IPv6 is the daemon's to judge.
fn holds(subnet: &str, address: &str) -> bool {
    use crate::spec::network::Subnet;
    match (subnet.parse::<Subnet>(), address.parse()) {
        (Ok(subnet), Ok(address)) => subnet.contains(address),
        _ => subnet.contains(':') == address.contains(':'),
    }
}

async fn list(context: &Context, args: NetworkListArgs) -> Result<(), Failure> {
    let filters = filters(&args.list.filters);
    let query: Vec<(&str, &str)> = filters
        .as_deref()
        .map(|filters| ("filters", filters))
        .into_iter()
        .collect();
    let networks: Vec<Network> = context.get(&["networks"], &query).await?;
    let rows = rows(networks, args.no_trunc);
    context.print(&format::list(COLUMNS, &rows, args.list.wanted())?)
}

fn rows(mut networks: Vec<Network>, whole: bool) -> Vec<Data> {
    networks.sort_by(|left, right| natural::compare(&left.name, &right.name));
    networks
        .iter()
        .map(|network| {
            let labels: Vec<String> = network
                .labels
                .iter()
                .flatten()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let id = if whole {
                network.id.as_str()
            } else {
                short_id(&network.id)
            };
            format::row([
                ("ID", id.into()),
                ("Name", network.name.clone().into()),
                ("Driver", network.driver.clone().into()),
                ("Scope", network.scope.clone().into()),
                ("IPv4", network.enable_ipv4.into()),
                ("IPv6", network.enable_ipv6.into()),
                ("Internal", network.internal.into()),
                ("Labels", labels.join(",").into()),
                ("CreatedAt", network.created.to_string().into()),
            ])
        })
        .collect()
}

async fn inspect(context: &Context, args: InspectArgs) -> Result<(), Failure> {
    let query: &[(&str, &str)] = if args.verbose {
        &[("verbose", "true")]
    } else {
        &[]
    };
    let (networks, failures) = context
        .get_each::<Data>("networks", &args.networks, query)
        .await;
    context.print_inspected(&networks, failures, args.format.as_deref())
}

async fn remove(context: &Context, args: RemoveArgs) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for network in &args.networks {
        match context
            .client
            .delete(&target(&["networks", network], &[]))
            .await
        {
            Ok(()) => context.print(&format!("{network}\n"))?,
            Err(ClientError::Refused { status, .. }) if args.force && status.as_u16() == 404 => {}
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}

async fn prune(context: &Context, args: PruneArgs) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Pruned {
        #[serde(default)]
        networks_deleted: Option<Vec<String>>,
    }
    if !args.force && !confirmed(context)? {
        return Err(Failure::new(Exit::Error, "nothing was removed"));
    }
    let filters = filters(&args.filters);
    let query: Vec<(&str, &str)> = filters
        .as_deref()
        .map(|filters| ("filters", filters))
        .into_iter()
        .collect();
    let answer = context
        .client
        .post_empty(&target(&["networks", "prune"], &query))
        .await?;
    let pruned: Pruned = serde_json::from_slice(&answer)
        .map_err(|error| Failure::error(format!("the answer was not understood: {error}")))?;
    let removed = pruned.networks_deleted.unwrap_or_default();
    if removed.is_empty() {
        return Ok(());
    }
    context.print(&format!("Deleted Networks:\n{}\n", removed.join("\n")))
}

fn confirmed(context: &Context) -> Result<bool, Failure> {
    context.say(
        "WARNING! This will remove all custom networks not used by at least one container or \
         service.\nAre you sure you want to continue? [y/N]",
    );
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::error(format!("standard input: {error}")))?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::cli::output::format::Wanted;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn requested(words: &str) -> Result<NetworkCreate, Failure> {
        let words = std::iter::once("create").chain(words.split_whitespace());
        request(Only::try_parse_from(words).unwrap().args)
    }

    #[test]
    fn flags_of_create_reach_the_request() {
        let got = requested(
            "-d overlay --attachable --internal --subnet 10.9.0.0/24 --gateway 10.9.0.1 \
             --ip-range 10.9.0.128/25 --aux-address nas=10.9.0.5 --opt encrypted=false \
             --label a=b --ipv6 app",
        )
        .unwrap();
        assert_eq!(
            serde_json::to_value(&got).unwrap(),
            json!({
                "Name": "app", "CheckDuplicate": true, "Driver": "overlay", "Scope": "",
                "EnableIPv6": true, "Internal": true, "Attachable": true, "Ingress": false,
                "ConfigOnly": false,
                "IPAM": {"Driver": "default", "Options": null, "Config": [{
                    "Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1", "IPRange": "10.9.0.128/25",
                    "AuxiliaryAddresses": {"nas": "10.9.0.5"}}]},
                "Options": {"encrypted": "false"}, "Labels": {"a": "b"}
            })
        );
    }

    #[test]
    fn a_gateway_needs_the_subnet_it_lies_in() {
        assert!(requested("--gateway 10.9.0.1 app").is_err());
        let failure = requested("--subnet 10.9.0.0/24 --gateway 10.8.0.1 app").unwrap_err();
        assert_eq!(
            failure.message,
            "--gateway 10.8.0.1 lies in no --subnet: want one inside 10.9.0.0/24"
        );
    }

    #[test]
    fn networks_are_listed_as_docker_lists_them() {
        let network = |id: &str, name: &str, driver: &str, scope: &str| -> Network {
            serde_json::from_value(json!({
                "Name": name, "Id": id, "Created": "2026-11-23T02:29:50Z", "Scope": scope,
                "Driver": driver, "Labels": null
            }))
            .unwrap()
        };
        let rows = rows(
            vec![
                network("ml59tchyq802zldg4994inhsm", "ov1", "overlay", "swarm"),
                network(
                    "764c39ea3d9c54007080c9ba20772dca",
                    "bridge",
                    "bridge",
                    "local",
                ),
            ],
            false,
        );
        assert_eq!(
            format::list(COLUMNS, &rows, Wanted::default()).unwrap(),
            "NETWORK ID     NAME      DRIVER    SCOPE\n\
             764c39ea3d9c   bridge    bridge    local\n\
             ml59tchyq802   ov1       overlay   swarm\n"
        );
    }
}
