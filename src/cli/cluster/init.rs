//! `swarmr init`.

use clap::Args;
use serde_json::json;

use super::token::{self, Joining};
use super::{LIFECYCLE_DEADLINE, get_swarm};
use crate::api::client::target;
use crate::api::wire::{Swarm, SwarmInit};
use crate::cli::args::Global;
use crate::cli::check::Expected;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::options::MachineFlags;
use crate::cli::{launch, values};
use crate::spec::network::{Subnet, TUNNEL_PORT};
use crate::spec::{Availability, ClusterSpec, Nanos, Role, parse};

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) addresses: AddressFlags,
    /// UDP port of overlay traffic, 1024 to 49151; 0 is 4789
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    data_path_port: u16,
    /// Pool that overlay networks get their subnets from; may be repeated
    #[arg(long, value_name = "SUBNET", value_delimiter = ',')]
    default_addr_pool: Vec<Subnet>,
    /// Length of the subnets cut from the pools; 0 is 20, and 24 in pools that are named
    #[arg(long, value_name = "LENGTH", default_value_t = 0)]
    default_addr_pool_mask_length: u8,
    /// Encrypt the managers' keys with a key that is shown once
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    autolock: bool,
    /// Make a cluster of one manager out of what this node has stored
    #[arg(long)]
    force_new_cluster: bool,
    #[command(flatten)]
    settings: SettingFlags,
    /// Print the node's id only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    machine: MachineFlags,
}

impl InitArgs {
    #[cfg(test)]
    pub(crate) const fn machine(&self) -> &MachineFlags {
        &self.machine
    }
}

/// Where this node is reached; of `init` and `join`.
#[derive(Debug, Args)]
pub(crate) struct AddressFlags {
    /// What other nodes are told to dial: ADDRESS or INTERFACE, and a port
    #[arg(
        long,
        value_name = "ADDRESS|INTERFACE[:PORT]",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) advertise_addr: String,
    /// What this node listens on
    #[arg(
        long,
        value_name = "ADDRESS|INTERFACE[:PORT]",
        default_value = "0.0.0.0:2377"
    )]
    pub(crate) listen_addr: String,
    /// Where other nodes send overlay traffic, if not to the advertised address
    #[arg(
        long,
        value_name = "ADDRESS|INTERFACE",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) data_path_addr: String,
    /// Whether this node takes tasks
    #[arg(long, value_parser = values::availability(), default_value = "active")]
    pub(crate) availability: Availability,
}

/// Settings of the cluster; of `init` and `swarm update`.
#[derive(Debug, Default, Args)]
pub(crate) struct SettingFlags {
    /// Ended tasks that are kept for each replica; negative keeps all [default: 5]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    task_history_limit: Option<i64>,
    /// How often agents say that they are there [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    dispatcher_heartbeat: Option<Nanos>,
    /// How long certificates of nodes are valid [default: 2160h]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    cert_expiry: Option<Nanos>,
    /// A certificate authority outside the cluster (not built yet)
    #[arg(long, value_name = "SPEC")]
    external_ca: Vec<String>,
    /// Snapshots kept beside the newest
    #[arg(long, value_name = "COUNT")]
    max_snapshots: Option<u64>,
    /// Log entries between two snapshots [default: 10000]
    #[arg(long, value_name = "COUNT")]
    snapshot_interval: Option<u64>,
}

impl SettingFlags {
    /// Whether any was given.
    pub(crate) const fn any(&self) -> bool {
        self.task_history_limit.is_some()
            || self.dispatcher_heartbeat.is_some()
            || self.cert_expiry.is_some()
            || self.max_snapshots.is_some()
            || self.snapshot_interval.is_some()
            || !self.external_ca.is_empty()
    }

    /// Puts what was given into a spec, and leaves the rest.
    pub(crate) fn apply(&self, spec: &mut ClusterSpec) -> Result<(), Failure> {
        if !self.external_ca.is_empty() {
            return Err(
                Failure::error("external certificate authorities are not built yet")
                    .next("Leave --external-ca out: the cluster has an authority of its own."),
            );
        }
        if let Some(limit) = self.task_history_limit {
            spec.orchestration.task_history_retention_limit = Some(limit);
        }
        if let Some(period) = self.dispatcher_heartbeat {
            spec.dispatcher.heartbeat_period = Some(period);
        }
        if let Some(expiry) = self.cert_expiry {
            if expiry < Nanos::from_secs(3600) {
                return Err(Failure::usage(
                    "--cert-expiry is too short: want at least 1h",
                ));
            }
            spec.ca_config.node_cert_expiry = Some(expiry);
        }
        for (name, value) in [
            ("KeepOldSnapshots", self.max_snapshots),
            ("SnapshotInterval", self.snapshot_interval),
        ] {
            if let Some(value) = value {
                let raft = spec.other.entry("Raft".to_owned()).or_insert(json!({}));
                if let Some(raft) = raft.as_object_mut() {
                    raft.insert(name.to_owned(), json!(value));
                }
            }
        }
        Ok(())
    }
}

pub(crate) async fn run(context: &Context, global: &Global, args: InitArgs) -> Result<(), Failure> {
    let request = request(&args)?;
    let expected = Expected {
        listen_addr: args.addresses.listen_addr.clone(),
        data_path_port: args.data_path_port,
        address_pools: args.default_addr_pool.clone(),
    };
    launch::ensure_daemon(context, global, &args.machine, &expected).await?;
    let node: String = context
        .client
        .with_deadline(LIFECYCLE_DEADLINE)
        .post(&target(&["swarm", "init"], &[]), &request)
        .await?;
    if args.quiet {
        return context.print(&format!("{node}\n"));
    }
    let swarm = get_swarm(context).await?;
    let joining = token::joining(context, &swarm, Role::Worker).await?;
    context.print(&welcome(&node, &joining, &swarm))
}

/// What `POST /swarm/init` is to be told.
fn request(args: &InitArgs) -> Result<SwarmInit, Failure> {
    if args.data_path_port != 0 && !(1024..=49151).contains(&args.data_path_port) {
        return Err(Failure::usage(format!(
            "--data-path-port {} is not valid: want 1024 to 49151, or 0 for 4789",
            args.data_path_port
        )));
    }
    let mut spec = ClusterSpec::default();
    args.settings.apply(&mut spec)?;
    Ok(SwarmInit {
        listen_addr: args.addresses.listen_addr.clone(),
        advertise_addr: args.addresses.advertise_addr.clone(),
        data_path_addr: args.addresses.data_path_addr.clone(),
        data_path_port: args.data_path_port,
        default_addr_pool: args
            .default_addr_pool
            .iter()
            .map(ToString::to_string)
            .collect(),
        subnet_size: args.default_addr_pool_mask_length,
        force_new_cluster: args.force_new_cluster,
        auto_lock_managers: args.autolock,
        availability: args.addresses.availability,
        spec,
    })
}

fn welcome(node: &str, joining: &Joining, swarm: &Swarm) -> String {
    let port = joining
        .addr
        .rsplit_once(':')
        .map_or("2377", |(_, port)| port);
    let data_path_port = match swarm.data_path_port {
        0 => 4789,
        port => port,
    };
    format!(
        "Swarm initialized: current node ({node}) is now a manager.\n\n\
         {}\
         To add a manager to this swarm, run \"swarmr join-token manager\" and follow the \
         instructions.\n\n\
         Ports to open between the nodes: {port}/udp (all control traffic), \
         {TUNNEL_PORT}/udp (encrypted networks),\n\
         {data_path_port}/udp (plain networks) and what your services publish.\n",
        joining.instructions()
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: InitArgs,
    }

    fn parsed(words: &str) -> InitArgs {
        let words = std::iter::once("init").chain(words.split_whitespace());
        Only::try_parse_from(words).unwrap().args
    }

    #[test]
    fn flags_of_init_reach_the_request() {
        let args = parsed(
            "--advertise-addr 10.0.0.1 --listen-addr eth0:2400 --data-path-addr eth1 \
             --data-path-port 4800 --default-addr-pool 10.20.0.0/16 \
             --default-addr-pool 10.30.0.0/16 --default-addr-pool-mask-length 26 \
             --availability drain --task-history-limit -1 --dispatcher-heartbeat 2s \
             --cert-expiry 48h --snapshot-interval 500 --max-snapshots 2",
        );
        let request = request(&args).unwrap();
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({
                "ListenAddr": "eth0:2400",
                "AdvertiseAddr": "10.0.0.1",
                "DataPathAddr": "eth1",
                "DataPathPort": 4800,
                "DefaultAddrPool": ["10.20.0.0/16", "10.30.0.0/16"],
                "SubnetSize": 26,
                "ForceNewCluster": false,
                "AutoLockManagers": false,
                "Availability": "drain",
                "Spec": {
                    "Name": "default",
                    "Labels": {},
                    "Orchestration": {"TaskHistoryRetentionLimit": -1},
                    "Dispatcher": {"HeartbeatPeriod": 2_000_000_000_i64},
                    "CAConfig": {"NodeCertExpiry": 172_800_000_000_000_i64},
                    "Raft": {"SnapshotInterval": 500, "KeepOldSnapshots": 2}
                }
            })
        );
    }

    #[test]
    fn what_init_cannot_take_is_refused_before_anything_happens() {
        for words in [
            "--data-path-port 80",
            "--cert-expiry 5m",
            "--external-ca protocol=cfssl",
        ] {
            assert!(request(&parsed(words)).is_err(), "{words}");
        }
        for words in ["--default-addr-pool 10.0.0.0", "--availability sleepy"] {
            let words = std::iter::once("init").chain(words.split_whitespace());
            assert!(Only::try_parse_from(words).is_err());
        }
    }
}
