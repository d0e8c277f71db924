//! Specs that are right pass, and the limits are where they are said to be.

use serde_json::json;
use swarmr::spec::config::Payload;
use swarmr::spec::validate::{
    MAX_CONFIG_BYTES, validate, validate_config, validate_network, validate_node,
};
use swarmr::spec::{ConfigSpec, NetworkSpec, NodeSpec, ServiceSpec};

fn fields(spec: serde_json::Value) -> Vec<String> {
    let spec: ServiceSpec = serde_json::from_value(spec).unwrap();
    let problems = validate(&spec);
    problems.into_iter().map(|problem| problem.field).collect()
}

fn named(name: &str) -> serde_json::Value {
    json!({"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}})
}

#[test]
fn names_are_dns_labels() {
    let longest = "a".repeat(63);
    for name in ["a", "web", "Web-1", "a_b", "0", longest.as_str()] {
        assert_eq!(fields(named(name)), Vec::<String>::new(), "{name}");
    }
    let too_long = "a".repeat(64);
    for name in ["", "-a", "a-", "a.b", "a b", "ü", "_a", too_long.as_str()] {
        assert_eq!(fields(named(name)), ["Name"], "{name}");
    }
}

#[test]
fn a_full_service_is_right() {
    let spec = json!({
        "Name": "web",
        "TaskTemplate": {
            "ContainerSpec": {"Image": "host:5000/a/b:1", "Env": ["A=1", "B"],
                "Mounts": [{"Type": "bind", "Source": "/a", "Target": "/a"}, {"Type": "tmpfs", "Target": "/b"}],
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000, "Retries": 3}, "StopGracePeriod": 0},
            "Resources": {"Limits": {"NanoCPUs": 1_000_000, "MemoryBytes": 4_194_304, "Pids": 1},
                "Reservations": {"NanoCPUs": 1_000_000}},
            "RestartPolicy": {"Condition": "on-failure", "Delay": 0, "Window": 0},
            "Placement": {"Constraints": ["node.role==worker", "node.labels.zone != a b"],
                "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}]},
            "Networks": [{"Target": "a"}, {"Target": "b"}]
        },
        "UpdateConfig": {"MaxFailureRatio": 1, "Monitor": 0},
        "RollbackConfig": {"MaxFailureRatio": 0.5},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": [
            {"TargetPort": 80, "PublishedPort": 80, "PublishMode": "host"},
            {"TargetPort": 80, "PublishedPort": 80, "Protocol": "udp", "PublishMode": "host"}]}
    });
    assert_eq!(fields(spec), Vec::<String>::new());
}

#[test]
fn limits_are_where_they_are_said_to_be() {
    let resources = |limits: serde_json::Value| json!({"Name": "a", "TaskTemplate": {"ContainerSpec": {"Image": "a"}, "Resources": limits}});
    assert_eq!(
        fields(resources(
            json!({"Limits": {"NanoCPUs": 999_999, "MemoryBytes": 4_194_303, "Pids": -1}})
        )),
        [
            "TaskTemplate.Resources.Limits.NanoCPUs",
            "TaskTemplate.Resources.Limits.MemoryBytes",
            "TaskTemplate.Resources.Limits.Pids"
        ]
    );
    assert_eq!(
        fields(resources(
            json!({"Limits": {"MemoryBytes": 5_000_000}, "Reservations": {"MemoryBytes": 6_000_000}})
        )),
        ["TaskTemplate.Resources.Reservations.MemoryBytes"]
    );
}

#[test]
fn networks_configs_and_nodes_are_checked() {
    let network = |value: serde_json::Value| -> usize {
        validate_network(&serde_json::from_value::<NetworkSpec>(value).unwrap()).len()
    };
    assert_eq!(network(json!({"Name": "a.b_c-d"})), 0);
    assert_eq!(
        network(
            json!({"Name": "a", "IPAM": {"Config": [{"Subnet": "10.1.0.0/16", "Gateway": "10.1.0.1", "IPRange": "10.1.1.0/24"}]}})
        ),
        0
    );
    assert_eq!(
        network(json!({"Name": "/", "IPAM": {"Driver": "x", "Config": [{"Subnet": "x"}, {}]}})),
        4
    );

    let config = |name: &str, length: usize| {
        validate_config(&ConfigSpec {
            name: name.to_owned(),
            data: Payload(vec![0; length].into()),
            ..ConfigSpec::default()
        })
        .len()
    };
    assert_eq!(config("a.b-c_1", 1), 0);
    assert_eq!(config("a", MAX_CONFIG_BYTES), 0);
    assert_eq!(config("a-", MAX_CONFIG_BYTES + 1), 2);
    assert_eq!(config(&"a".repeat(65), 0), 2);

    let node = NodeSpec {
        labels: [(String::new(), "x".to_owned())].into(),
        ..NodeSpec::default()
    };
    assert_eq!(validate_node(&node).len(), 1);
}
