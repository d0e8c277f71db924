//! `swarmr service update` and `swarmr service rollback`.

use clap::Args;
use serde_json::Value;

use super::flags::{CommonFlags, Words, placement, reservations, words};
use super::{create, merge, planning, references, steer};
use crate::api::client::target;
use crate::api::wire::{Service, ServiceUpdated};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::node::is_stale;
use crate::cli::progress::{self, Operation, ProgressFlags};
use crate::spec::ServiceSpec;
use crate::spec::container::{ContainerSpec, Mount, Ulimit};
use crate::spec::generic::GenericResource;
use crate::spec::parse::{self, FileReference, PortToRemove, Ports};
use crate::spec::service::{NetworkAttachmentConfig, PlacementPreference};

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

/// Flags that add to lists and remove from them.
#[derive(Debug, Default, Args)]
struct Lists {
    /// Add or change a label of the service
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    label_add: Vec<(String, String)>,
    /// Remove a label of the service
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Add or change a label of its containers
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    container_label_add: Vec<(String, String)>,
    /// Remove a label of its containers
    #[arg(long, value_name = "KEY")]
    container_label_rm: Vec<String>,
    /// Add a constraint
    #[arg(long, value_name = "CONSTRAINT")]
    constraint_add: Vec<String>,
    /// Remove a constraint
    #[arg(long, value_name = "CONSTRAINT")]
    constraint_rm: Vec<String>,
    /// Add a preference
    #[arg(long, value_name = "spread=LABEL", value_parser = parse::placement_preference)]
    placement_pref_add: Vec<PlacementPreference>,
    /// Remove a preference
    #[arg(long, value_name = "spread=LABEL", value_parser = parse::placement_preference)]
    placement_pref_rm: Vec<PlacementPreference>,
    /// Add or change a reservation
    #[arg(long, value_name = "KIND=COUNT|NAME", value_parser = parse::generic_resource)]
    generic_resource_add: Vec<GenericResource>,
    /// Remove a reservation
    #[arg(long, value_name = "KIND")]
    generic_resource_rm: Vec<String>,
    /// Attach to a network
    #[arg(long, value_name = "NETWORK", value_parser = parse::network)]
    network_add: Vec<NetworkAttachmentConfig>,
    /// Detach from a network
    #[arg(long, value_name = "NETWORK")]
    network_rm: Vec<String>,
    /// Publish a port
    #[arg(long, value_name = "PORT", value_parser = parse::port)]
    publish_add: Vec<Ports>,
    /// Do not publish a port any more, by its target
    #[arg(long, value_name = "TARGET[/PROTOCOL]", value_parser = parse::port_to_remove)]
    publish_rm: Vec<PortToRemove>,
    #[command(flatten)]
    container: ContainerLists,
}

#[derive(Debug, Default, Args)]
struct ContainerLists {
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = parse::host)]
    host_add: Vec<String>,
    /// Remove a line from /etc/hosts
    #[arg(long, value_name = "NAME[:ADDRESS]")]
    host_rm: Vec<String>,
    /// Add a name server
    #[arg(long, value_name = "ADDRESS")]
    dns_add: Vec<String>,
    /// Remove a name server
    #[arg(long, value_name = "ADDRESS")]
    dns_rm: Vec<String>,
    /// Add a domain to search
    #[arg(long, value_name = "DOMAIN")]
    dns_search_add: Vec<String>,
    /// Remove a domain to search
    #[arg(long, value_name = "DOMAIN")]
    dns_search_rm: Vec<String>,
    /// Add an option of the resolver
    #[arg(long, value_name = "OPTION")]
    dns_option_add: Vec<String>,
    /// Remove an option of the resolver
    #[arg(long, value_name = "OPTION")]
    dns_option_rm: Vec<String>,
    /// Add or change an environment variable
    #[arg(long, value_name = "NAME[=VALUE]")]
    env_add: Vec<String>,
    /// Remove an environment variable
    #[arg(long, value_name = "NAME")]
    env_rm: Vec<String>,
    /// Add or change a mount
    #[arg(long, value_name = "MOUNT", value_parser = parse::mount)]
    mount_add: Vec<Mount>,
    /// Remove a mount, by its target
    #[arg(long, value_name = "TARGET")]
    mount_rm: Vec<String>,
    /// Add or change a secret
    #[arg(long, value_name = "SECRET", value_parser = parse::file_reference)]
    secret_add: Vec<FileReference>,
    /// Remove a secret
    #[arg(long, value_name = "NAME")]
    secret_rm: Vec<String>,
    /// Add or change a config
    #[arg(long, value_name = "CONFIG", value_parser = parse::file_reference)]
    config_add: Vec<FileReference>,
    /// Remove a config
    #[arg(long, value_name = "NAME")]
    config_rm: Vec<String>,
    /// Add a group of the user
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Remove a group of the user
    #[arg(long, value_name = "GROUP")]
    group_rm: Vec<String>,
    /// Add a capability; one that was dropped is only not dropped any more
    #[arg(long, value_name = "CAPABILITY", value_parser = parse::capability)]
    cap_add: Vec<String>,
    /// Drop a capability; one that was added is only not added any more
    #[arg(long, value_name = "CAPABILITY", value_parser = parse::capability)]
    cap_drop: Vec<String>,
    /// Add or change a kernel parameter
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::sysctl)]
    sysctl_add: Vec<(String, String)>,
    /// Remove a kernel parameter
    #[arg(long, value_name = "NAME")]
    sysctl_rm: Vec<String>,
    /// Add or change a limit of a process
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = parse::ulimit)]
    ulimit_add: Vec<Ulimit>,
    /// Remove a limit of a process
    #[arg(long, value_name = "NAME")]
    ulimit_rm: Vec<String>,
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

impl Lists {
    fn apply(&self, spec: &mut ServiceSpec, resolved: &Resolved) {
        let relabel = |labels: &mut crate::spec::service::Labels,
                       remove: &[String],
                       add: &[(String, String)]| {
            labels.retain(|key, _| !remove.contains(key));
            labels.extend(add.iter().cloned());
        };
        relabel(&mut spec.labels, &self.label_rm, &self.label_add);
        relabel(
            &mut spec.task_template.container_spec.labels,
            &self.container_label_rm,
            &self.container_label_add,
        );
        if !self.constraint_add.is_empty() || !self.constraint_rm.is_empty() {
            merge::by_key(
                &mut placement(spec).constraints,
                &self.constraint_rm,
                &self.constraint_add,
                Clone::clone,
            );
        }
        if !self.placement_pref_add.is_empty() || !self.placement_pref_rm.is_empty() {
            let preferences = &mut placement(spec).preferences;
            preferences.retain(|preference| !self.placement_pref_rm.contains(preference));
            preferences.extend(self.placement_pref_add.iter().cloned());
        }
        if !self.generic_resource_add.is_empty() || !self.generic_resource_rm.is_empty() {
            merge::by_key(
                &mut reservations(spec).generic_resources,
                &self.generic_resource_rm,
                &self.generic_resource_add,
                |resource| resource.kind().to_owned(),
            );
        }
        if !resolved.networks.is_empty() || !resolved.networks_to_remove.is_empty() {
            // Where an old client put them, they move to where they belong.
            if spec.task_template.networks.is_empty() {
                spec.task_template.networks = std::mem::take(&mut spec.networks);
            }
            merge::by_key(
                &mut spec.task_template.networks,
                &resolved.networks_to_remove,
                &resolved.networks,
                |network| network.target.clone(),
            );
        }
        if !self.publish_add.is_empty() || !self.publish_rm.is_empty() {
            let add: Vec<_> = self
                .publish_add
                .iter()
                .flat_map(|ports| ports.0.clone())
                .collect();
            let endpoint = spec.endpoint_spec.get_or_insert_default();
            merge::ports(&mut endpoint.ports, &self.publish_rm, &add);
        }
    }
}

impl ContainerLists {
    fn apply(
        &self,
        container: &mut ContainerSpec,
        resolved: &Resolved,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Failure> {
        container.hosts.retain(|line| !self.removes_host(line));
        merge::by_key(&mut container.hosts, &[], &self.host_add, Clone::clone);
        self.apply_dns(container);
        let env_add = self
            .env_add
            .iter()
            .map(|entry| create::env_entry(entry, environment))
            .collect::<Result<Vec<_>, _>>()?;
        merge::by_key(&mut container.env, &self.env_rm, &env_add, |entry| {
            merge::env_name(entry)
        });
        merge::by_key(
            &mut container.mounts,
            &self.mount_rm,
            &self.mount_add,
            |mount| mount.target.clone(),
        );
        let unreferenced = |references: &mut Vec<Value>, remove: &[String], add: &[Value]| {
            references.retain(|reference| !remove.contains(&references::name_of(reference)));
            merge::by_key(references, &[], add, references::mounted_at);
        };
        unreferenced(&mut container.configs, &self.config_rm, &resolved.configs);
        unreferenced(&mut container.secrets, &self.secret_rm, &resolved.secrets);
        merge::by_key(
            &mut container.groups,
            &self.group_rm,
            &self.group_add,
            Clone::clone,
        );
        if !self.cap_add.is_empty() || !self.cap_drop.is_empty() {
            merge::capabilities(
                &mut container.capability_add,
                &mut container.capability_drop,
                &self.cap_add,
                &self.cap_drop,
            );
        }
        container
            .sysctls
            .retain(|name, _| !self.sysctl_rm.contains(name));
        container.sysctls.extend(self.sysctl_add.iter().cloned());
        merge::by_key(
            &mut container.ulimits,
            &self.ulimit_rm,
            &self.ulimit_add,
            |ulimit| ulimit.name.clone(),
        );
        Ok(())
    }

    fn apply_dns(&self, container: &mut ContainerSpec) {
        let lists = [
            (&self.dns_rm, &self.dns_add),
            (&self.dns_search_rm, &self.dns_search_add),
            (&self.dns_option_rm, &self.dns_option_add),
        ];
        if lists
            .iter()
            .all(|(remove, add)| remove.is_empty() && add.is_empty())
        {
            return;
        }
        let dns = container.dns_config.get_or_insert_default();
        let places = [&mut dns.nameservers, &mut dns.search, &mut dns.options];
        for (place, (remove, add)) in places.into_iter().zip(lists) {
            merge::by_key(place, remove, add, Clone::clone);
        }
    }

    /// Whether a line of `/etc/hosts` is named by `NAME` or `NAME:ADDRESS`.
    fn removes_host(&self, line: &str) -> bool {
        let (address, names) = line.split_once(' ').unwrap_or((line, ""));
        self.host_rm.iter().any(|gone| {
            let (name, wanted) = gone.split_once(':').unwrap_or((gone, ""));
            names.split_whitespace().any(|known| known == name)
                && (wanted.is_empty() || wanted == address)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: UpdateArgs,
    }

    fn existing() -> ServiceSpec {
        serde_json::from_value(json!({
            "Name": "web",
            "Labels": {"a": "1", "b": "2"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "web:1",
                    "Args": ["old"],
                    "Labels": {"c": "3"},
                    "Env": ["A=1", "B=2"],
                    "Hosts": ["10.0.0.5 db", "10.0.0.6 cache"],
                    "DNSConfig": {"Nameservers": ["9.9.9.9"], "Search": ["x.test"]},
                    "Mounts": [{"Type": "volume", "Source": "v", "Target": "/v"}],
                    "Configs": [{"File": {"Name": "/site"}, "ConfigID": "1", "ConfigName": "site"}],
                    "CapabilityDrop": ["CAP_CHOWN"],
                    "Sysctls": {"x": "1"},
                    "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
                    "Groups": ["wheel"],
                    "Unknown": {"kept": true}
                },
                "Resources": {
                    "Limits": {"NanoCPUs": 5, "MemoryBytes": 7},
                    "Reservations": {"GenericResources":
                        [{"DiscreteResourceSpec": {"Kind": "SSD", "Value": 1}}]}
                },
                "Placement": {"Constraints": ["node.role==worker"],
                    "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}]},
                "Networks": [{"Target": "net1"}],
                "ForceUpdate": 4
            },
            "Mode": {"Replicated": {"Replicas": 3}},
            "UpdateConfig": {"Parallelism": 2, "Delay": 5, "MaxFailureRatio": 0},
            "EndpointSpec": {"Mode": "vip", "Ports":
                [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080,
                    "PublishMode": "ingress"}]}
        }))
        .unwrap()
    }

    fn updated(words: &str) -> Result<Value, Failure> {
        let all = ["update"]
            .into_iter()
            .chain(words.split_whitespace())
            .chain(["web"]);
        let args = Only::try_parse_from(all)
            .map_err(|error| Failure::usage(error.to_string()))?
            .args;
        let resolved = Resolved {
            networks: args
                .lists
                .network_add
                .iter()
                .map(|network| NetworkAttachmentConfig {
                    target: format!("id-of-{}", network.target),
                    ..network.clone()
                })
                .collect(),
            networks_to_remove: args.lists.network_rm.clone(),
            configs: args
                .lists
                .container
                .config_add
                .iter()
                .map(|config| {
                    json!({"File": {"Name": format!("/{}", config.target)},
                    "ConfigID": "2", "ConfigName": config.source})
                })
                .collect(),
            secrets: Vec::new(),
        };
        let mut spec = existing();
        args.apply(&mut spec, &resolved, &|name| {
            (name == "HOME").then(|| "/root".to_owned())
        })?;
        Ok(serde_json::to_value(spec).unwrap())
    }

    #[test]
    fn no_flag_leaves_the_spec_as_it_is() {
        assert_eq!(
            updated("").unwrap(),
            serde_json::to_value(existing()).unwrap()
        );
    }

    #[test]
    fn each_flag_changes_its_part_of_the_spec_only() {
        let at = |field: &str| format!("/TaskTemplate/ContainerSpec/{field}");
        let cases: Vec<(&str, String, Value)> = vec![
            ("--image web:2", at("Image"), json!("web:2")),
            ("--args new", at("Args"), json!(["new"])),
            ("--force", "/TaskTemplate/ForceUpdate".into(), json!(5)),
            (
                "--replicas 9",
                "/Mode".into(),
                json!({"Replicated": {"Replicas": 9}}),
            ),
            (
                "--label-add a=9 --label-add z --label-rm b",
                "/Labels".into(),
                json!({"a": "9", "z": ""}),
            ),
            (
                "--container-label-rm c --container-label-add d=4",
                at("Labels"),
                json!({"d": "4"}),
            ),
            (
                "--env-add A=9 --env-add HOME --env-rm B",
                at("Env"),
                json!(["A=9", "HOME=/root"]),
            ),
            (
                "--host-rm db --host-add db:10.0.0.7",
                at("Hosts"),
                json!(["10.0.0.6 cache", "10.0.0.7 db"]),
            ),
            (
                "--host-rm db:10.9.9.9",
                at("Hosts"),
                json!(["10.0.0.5 db", "10.0.0.6 cache"]),
            ),
            (
                "--dns-add 8.8.8.8 --dns-rm 9.9.9.9 --dns-search-rm x.test --dns-option-add a",
                at("DNSConfig"),
                json!({"Nameservers": ["8.8.8.8"], "Options": ["a"]}),
            ),
            (
                "--mount-add type=tmpfs,target=/v --mount-add type=tmpfs,target=/t",
                at("Mounts"),
                json!([{"Type": "tmpfs", "Target": "/v"}, {"Type": "tmpfs", "Target": "/t"}]),
            ),
            (
                "--config-add source=site2,target=site",
                at("Configs"),
                json!([{"File": {"Name": "/site"}, "ConfigID": "2", "ConfigName": "site2"}]),
            ),
            (
                "--cap-add chown --cap-add net_raw",
                at("CapabilityAdd"),
                json!(["CAP_NET_RAW"]),
            ),
            (
                "--sysctl-add x=2 --sysctl-add y=3",
                at("Sysctls"),
                json!({"x": "2", "y": "3"}),
            ),
            (
                "--ulimit-add nofile=8 --ulimit-add core=0",
                at("Ulimits"),
                json!([{"Name": "nofile", "Soft": 8, "Hard": 8},
                    {"Name": "core", "Soft": 0, "Hard": 0}]),
            ),
            (
                "--group-add audio --group-rm wheel",
                at("Groups"),
                json!(["audio"]),
            ),
            (
                "--constraint-add node.labels.x==y --constraint-rm node.role==worker",
                "/TaskTemplate/Placement/Constraints".into(),
                json!(["node.labels.x==y"]),
            ),
            (
                "--placement-pref-rm spread=node.labels.zone --placement-pref-add spread=node.labels.rack",
                "/TaskTemplate/Placement/Preferences".into(),
                json!([{"Spread": {"SpreadDescriptor": "node.labels.rack"}}]),
            ),
            (
                "--generic-resource-add SSD=3",
                "/TaskTemplate/Resources/Reservations/GenericResources".into(),
                json!([{"DiscreteResourceSpec": {"Kind": "SSD", "Value": 3}}]),
            ),
            (
                "--network-add db --network-rm net1",
                "/TaskTemplate/Networks".into(),
                json!([{"Target": "id-of-db"}]),
            ),
            (
                "--publish-add 9090:90 --publish-rm 80",
                "/EndpointSpec/Ports".into(),
                json!([{"Protocol": "tcp", "TargetPort": 90, "PublishedPort": 9090,
                    "PublishMode": "ingress"}]),
            ),
            (
                "--limit-cpu 1",
                "/TaskTemplate/Resources/Limits".into(),
                json!({"NanoCPUs": 1_000_000_000, "MemoryBytes": 7}),
            ),
            (
                "--update-parallelism 4",
                "/UpdateConfig".into(),
                json!({"Parallelism": 4, "Delay": 5, "MaxFailureRatio": 0}),
            ),
            (
                "--rollback-delay 2s",
                "/RollbackConfig/Parallelism".into(),
                json!(1),
            ),
            (
                "--endpoint-mode dnsrr",
                "/EndpointSpec/Mode".into(),
                json!("dnsrr"),
            ),
        ];
        let before = serde_json::to_value(existing()).unwrap();
        for (words, pointer, want) in cases {
            let mut got = updated(words).unwrap_or_else(|failure| panic!("{words}: {failure}"));
            assert_eq!(got.pointer(&pointer), Some(&want), "{words}");
            // With that part put back, everything else is as before, up to neighbours that the
            // case names itself.
            if let (Some(changed), Some(old)) =
                (got.pointer_mut(&pointer), before.pointer(&pointer))
            {
                old.clone_into(changed);
                if !words.contains("cap-add") {
                    assert_eq!(got, before, "{words}");
                }
            }
        }
        let removed = updated("--mount-rm /v --config-rm site --sysctl-rm x --ulimit-rm nofile");
        let container = &removed.unwrap()["TaskTemplate"]["ContainerSpec"];
        for field in ["Mounts", "Configs", "Sysctls", "Ulimits"] {
            assert!(container.get(field).is_none(), "{field}: {container:#}");
        }
        assert_eq!(container["Unknown"], json!({"kept": true}));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            "--max-concurrent 3",
            "--publish-rm web",
            "--env-add =x",
            "--image",
            "--no-healthcheck --health-cmd true",
        ] {
            assert!(updated(words).is_err(), "{words}");
        }
    }
}
