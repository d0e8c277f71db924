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
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn made(words: &[&str]) -> Result<Value, Failure> {
        let words = std::iter::once("create").chain(words.iter().copied());
        let args = Only::try_parse_from(words)
            .map_err(|error| Failure::usage(error.to_string()))?
            .args;
        let environment = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        Ok(serde_json::to_value(spec(&args, &environment)?).unwrap())
    }

    fn checked(words: &str, pointer: &str, want: Value) {
        let mut all: Vec<&str> = words.split_whitespace().collect();
        all.push("nginx");
        let got = made(&all).unwrap_or_else(|failure| panic!("{words}: {failure}"));
        assert_eq!(got.pointer(pointer), Some(&want), "{words}: {got:#}");
    }

    #[test]
    fn the_smallest_service_says_only_what_docker_says() {
        assert_eq!(
            made(&["--name", "web", "nginx"]).unwrap(),
            json!({
                "Name": "web",
                "Labels": {},
                "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}, "ForceUpdate": 0},
                "Mode": {"Replicated": {}},
                "EndpointSpec": {"Mode": "vip"}
            })
        );
    }

    #[test]
    fn each_flag_has_its_place_in_the_spec() {
        let container = "/TaskTemplate/ContainerSpec";
        let at = |field: &str| format!("{container}/{field}");
        let cases: Vec<(&str, String, Value)> = vec![
            (
                "--replicas 6",
                "/Mode".into(),
                json!({"Replicated": {"Replicas": 6}}),
            ),
            ("--mode global", "/Mode".into(), json!({"Global": {}})),
            (
                "--mode replicated-job --replicas 9 --max-concurrent 3",
                "/Mode".into(),
                json!({"ReplicatedJob": {"MaxConcurrent": 3, "TotalCompletions": 9}}),
            ),
            (
                "--mode replicated-job --replicas 9",
                "/Mode".into(),
                json!({"ReplicatedJob": {"MaxConcurrent": 9, "TotalCompletions": 9}}),
            ),
            (
                "--mode global-job",
                "/Mode".into(),
                json!({"GlobalJob": {}}),
            ),
            (
                "--mode cron-job --schedule @daily --replicas 2",
                "/Mode".into(),
                json!({"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 2}}),
            ),
            (
                "--mode global-job --schedule @hourly --timezone Europe/Rome --concurrency replace \
                 --missed-window 1m --history-runs 3 --suspend",
                "/Swarmr/Schedule".into(),
                json!({"Cron": "@hourly", "TimeZone": "Europe/Rome", "Concurrency": "replace",
                    "MissedWindow": 60_000_000_000_i64, "HistoryRuns": 3, "Suspended": true}),
            ),
            (
                "-l a=b --label c",
                "/Labels".into(),
                json!({"a": "b", "c": ""}),
            ),
            ("--container-label a=b", at("Labels"), json!({"a": "b"})),
            (
                "--constraint node.role==worker --constraint node.labels.x!=y",
                "/TaskTemplate/Placement".into(),
                json!({"Constraints": ["node.role==worker", "node.labels.x!=y"]}),
            ),
            (
                "--placement-pref spread=node.labels.zone --replicas-max-per-node 2",
                "/TaskTemplate/Placement".into(),
                json!({"MaxReplicas": 2,
                    "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}]}),
            ),
            (
                "--limit-cpu 0.5 --limit-memory 64m --limit-pids 9 --reserve-cpu 0.25 \
                 --reserve-memory 32m --generic-resource SSD=1",
                "/TaskTemplate/Resources".into(),
                json!({
                    "Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 64 << 20, "Pids": 9},
                    "Reservations": {"NanoCPUs": 250_000_000, "MemoryBytes": 32 << 20,
                        "GenericResources": [{"DiscreteResourceSpec": {"Kind": "SSD", "Value": 1}}]}
                }),
            ),
            (
                "--device /dev/a:/dev/b:rw --device /dev/c --gpus device=0,1",
                "/Swarmr".into(),
                json!({
                    "Devices": [
                        {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rw"},
                        {"PathOnHost": "/dev/c", "PathInContainer": "/dev/c", "CgroupPermissions": "rwm"}],
                    "DeviceRequests": [{"DeviceIDs": ["0", "1"], "Capabilities": [["gpu"]]}]
                }),
            ),
            (
                "--strategy binpack --affinity app=c,preferred \
                 --anti-affinity service.labels.app==d,topology=node.labels.zone",
                "/Swarmr".into(),
                json!({
                    "Strategy": "binpack",
                    "Affinities": [
                        {"Labels": {"app": "c"}, "Topology": "node.hostname", "Strength": "preferred"}],
                    "AntiAffinities": [{"Labels": {"app": "d"}, "Topology": "node.labels.zone"}]
                }),
            ),
            (
                "--network app --network name=db,alias=d",
                "/TaskTemplate/Networks".into(),
                json!([{"Target": "app"}, {"Target": "db", "Aliases": ["d"]}]),
            ),
            (
                "-p 8080:80 -p published=53,target=53,protocol=udp,mode=host --endpoint-mode dnsrr",
                "/EndpointSpec".into(),
                json!({"Mode": "dnsrr", "Ports": [
                    {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080,
                        "PublishMode": "ingress"},
                    {"Protocol": "udp", "TargetPort": 53, "PublishedPort": 53,
                        "PublishMode": "host"}]}),
            ),
            ("--host db:10.0.0.5", at("Hosts"), json!(["10.0.0.5 db"])),
            (
                "--dns 9.9.9.9 --dns-search x.test --dns-option ndots:1",
                at("DNSConfig"),
                json!({"Nameservers": ["9.9.9.9"], "Search": ["x.test"], "Options": ["ndots:1"]}),
            ),
            (
                "-e A=1 -e HOME -e UNSET",
                at("Env"),
                json!(["A=1", "HOME=/root", "UNSET"]),
            ),
            (
                "--mount source=data,target=/data",
                at("Mounts"),
                json!([{"Type": "volume", "Source": "data", "Target": "/data"}]),
            ),
            (
                "--group wheel --group 5",
                at("Groups"),
                json!(["wheel", "5"]),
            ),
            (
                "--cap-add net_admin --cap-add sys_time",
                at("CapabilityAdd"),
                json!(["CAP_NET_ADMIN", "CAP_SYS_TIME"]),
            ),
            (
                "--cap-drop chown",
                at("CapabilityDrop"),
                json!(["CAP_CHOWN"]),
            ),
            (
                "--sysctl net.core.somaxconn=9",
                at("Sysctls"),
                json!({"net.core.somaxconn": "9"}),
            ),
            (
                "--ulimit nofile=1:2",
                at("Ulimits"),
                json!([{"Name": "nofile", "Soft": 1, "Hard": 2}]),
            ),
            (
                "--hostname h --user u --workdir /w",
                at("Hostname"),
                json!("h"),
            ),
            ("-u u:g", at("User"), json!("u:g")),
            ("-w /w", at("Dir"), json!("/w")),
            ("--entrypoint /bin/x", at("Command"), json!(["/bin/x"])),
            ("-t", at("TTY"), json!(true)),
            ("--read-only", at("ReadOnly"), json!(true)),
            ("--init", at("Init"), json!(true)),
            ("--init=false", at("Init"), json!(false)),
            ("--stop-signal SIGINT", at("StopSignal"), json!("SIGINT")),
            (
                "--stop-grace-period 1m",
                at("StopGracePeriod"),
                json!(60_000_000_000_i64),
            ),
            ("--oom-score-adj -5", at("OomScoreAdj"), json!(-5)),
            ("--isolation process", at("Isolation"), json!("process")),
            (
                "--credential-spec file://x.json",
                at("Privileges"),
                json!({"CredentialSpec": {"File": "x.json"}}),
            ),
            (
                "--health-cmd true --health-interval 1s --health-timeout 2s --health-retries 3 \
                 --health-start-period 4s --health-start-interval 5s",
                at("Healthcheck"),
                json!({"Test": ["CMD-SHELL", "true"], "Interval": 1_000_000_000,
                    "Timeout": 2_000_000_000, "Retries": 3, "StartPeriod": 4_000_000_000_i64,
                    "StartInterval": 5_000_000_000_i64}),
            ),
            (
                "--no-healthcheck",
                at("Healthcheck"),
                json!({"Test": ["NONE"]}),
            ),
            (
                "--log-driver json-file --log-opt max-size=1m",
                "/TaskTemplate/LogDriver".into(),
                json!({"Name": "json-file", "Options": {"max-size": "1m"}}),
            ),
            (
                "--restart-condition on-failure --restart-delay 1s --restart-max-attempts 2 \
                 --restart-window 3s",
                "/TaskTemplate/RestartPolicy".into(),
                json!({"Condition": "on-failure", "Delay": 1_000_000_000, "MaxAttempts": 2,
                    "Window": 3_000_000_000_i64}),
            ),
            (
                "--update-parallelism 2 --update-delay 1s --update-failure-action rollback",
                "/UpdateConfig".into(),
                json!({"Parallelism": 2, "Delay": 1_000_000_000, "FailureAction": "rollback",
                    "Monitor": 5_000_000_000_i64, "MaxFailureRatio": 0, "Order": "stop-first"}),
            ),
            (
                "--update-delay 1s",
                "/UpdateConfig/Parallelism".into(),
                json!(1),
            ),
            (
                "--rollback-order start-first --rollback-monitor 2s --rollback-max-failure-ratio 1 \
                 --rollback-failure-action continue --rollback-parallelism 0",
                "/RollbackConfig".into(),
                json!({"Parallelism": 0, "FailureAction": "continue",
                    "Monitor": 2_000_000_000_i64, "MaxFailureRatio": 1, "Order": "start-first"}),
            ),
        ];
        for (words, pointer, want) in cases {
            checked(words, &pointer, want);
        }
    }

    #[test]
    fn what_follows_the_image_is_its_command() {
        let got = made(&["--name", "w", "alpine", "ping", "-c", "3", "--name", "x"]).unwrap();
        assert_eq!(got["Name"], "w");
        let container = &got["TaskTemplate"]["ContainerSpec"];
        assert_eq!(container["Image"], "alpine");
        assert_eq!(container["Args"], json!(["ping", "-c", "3", "--name", "x"]));
        let got = made(&["redis", "--appendonly", "yes"]).unwrap();
        assert_eq!(
            got["TaskTemplate"]["ContainerSpec"]["Args"],
            json!(["--appendonly", "yes"])
        );
        assert_eq!(got["Name"], "");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            "nginx-is-missing --name",
            "--no-such-flag x nginx",
            "--mode global --replicas 2 nginx",
            "--mode global --replicas-max-per-node 2 nginx",
            "--max-concurrent 2 nginx",
            "--mode replicated-job --update-delay 1s nginx",
            "--mode cron-job nginx",
            "--timezone Europe/Rome nginx",
            "--mode cron-job --schedule @daily --concurrency sometimes nginx",
            "--mode cron-job --schedule @daily --suspend --resume nginx",
            "--mode sometimes nginx",
            "--no-healthcheck --health-retries 3 nginx",
            "--replicas -1 nginx",
            "--replicas many nginx",
            "--update-delay 5 nginx",
            "--update-order backwards nginx",
            "--rollback-failure-action rollback nginx",
            "--update-max-failure-ratio 2 nginx",
            "--limit-memory lots nginx",
            "--publish 1:2:3 nginx",
            "--env =x nginx",
        ] {
            let words: Vec<&str> = words.split_whitespace().collect();
            if words.last() == Some(&"--name") {
                continue;
            }
            assert!(made(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn files_of_variables_are_read_line_by_line() {
        let environment = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let text = "# said\n\nA=1\n  B=two words\nHOME\nUNSET\n";
        assert_eq!(
            env_file(text, &environment).unwrap(),
            ["A=1", "B=two words", "HOME=/root"]
        );
        assert!(env_file("a b=c", &environment).is_err());
    }
}
