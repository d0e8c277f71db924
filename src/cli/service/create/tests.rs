//! What the flags of `service create` make of a spec.

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
