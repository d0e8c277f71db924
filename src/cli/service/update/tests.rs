//! What the flags of `service update` make of a spec.

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
        if let (Some(changed), Some(old)) = (got.pointer_mut(&pointer), before.pointer(&pointer)) {
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
fn where_connections_go_is_said_one_by_one_and_taken_back() {
    let given = updated("--sticky --weight-label size").unwrap();
    let connections = &given["Swarmr"]["Connections"];
    assert_eq!(*connections, json!({"Sticky": true, "WeightLabel": "size"}));
    let mut spec: ServiceSpec = serde_json::from_value(given).unwrap();
    let words = ["update", "--sticky=false", "--weight-label", "none", "web"];
    let args = Only::try_parse_from(words).unwrap().args;
    args.common.extension.apply(&mut spec).unwrap();
    assert_eq!(spec.connections(), None);
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
