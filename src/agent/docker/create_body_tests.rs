use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::*;
use crate::spec::ContainerSpec;
use crate::spec::device::{DeviceMapping, DeviceRequest};
use crate::spec::service::{LogDriver, Resources};

fn want(spec: Value) -> ContainerWant {
    ContainerWant {
        name: "web.1.x".to_owned(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        spec: serde_json::from_value::<ContainerSpec>(spec).unwrap(),
        limits: Resources::default(),
        reservations: Resources::default(),
        log_driver: None,
        networking: Networking::EngineDefault,
        name_servers: Vec::new(),
        host_ports: Vec::new(),
        devices: Vec::new(),
        device_requests: Vec::new(),
    }
}

#[test]
fn devices_are_handed_on() {
    let mut want = want(json!({"Image": "web:1"}));
    want.devices = vec![DeviceMapping {
        path_on_host: "/dev/fake0".to_owned(),
        path_in_container: "/dev/x".to_owned(),
        cgroup_permissions: "rw".to_owned(),
    }];
    want.device_requests = vec![DeviceRequest {
        driver: "nvidia".to_owned(),
        device_ids: vec!["1".to_owned()],
        ..DeviceRequest::gpus(0)
    }];
    let (body, _) = rendered(&want, 53);
    assert_eq!(
        body["HostConfig"]["Devices"],
        json!([{"PathOnHost": "/dev/fake0", "PathInContainer": "/dev/x", "CgroupPermissions": "rw"}])
    );
    assert_eq!(
        body["HostConfig"]["DeviceRequests"],
        json!([{"Driver": "nvidia", "DeviceIDs": ["1"], "Capabilities": [["gpu"]]}])
    );
}

fn network(name: &str, last: u8, internal: bool) -> ContainerNetwork {
    ContainerNetwork {
        engine_name: name.to_owned(),
        address: Ipv4Addr::new(10, 0, 1, last),
        internal,
    }
}

fn rendered(want: &ContainerWant, minor: usize) -> (Value, Value) {
    let request = create_request(want, minor).unwrap();
    (
        serde_json::to_value(request.body).unwrap(),
        serde_json::to_value(request.connect).unwrap(),
    )
}

#[test]
fn a_plain_container_says_no_more_than_it_must() {
    let (body, connect) = rendered(&want(json!({"Image": "web:1"})), 53);
    assert_eq!(
        body,
        json!({
            "Image": "web:1",
            "Labels": {"a": "b"},
            "StopTimeout": 10,
            "HostConfig": {"RestartPolicy": {"Name": "no"}},
        })
    );
    assert_eq!(connect, json!([]));
}

#[test]
fn every_field_of_a_spec_reaches_the_engine() {
    let mut want = want(json!({
        "Image": "web:1",
        "Command": ["/entry"],
        "Args": ["-v"],
        "Env": ["A=1"],
        "Hostname": "web-1",
        "Dir": "/srv",
        "User": "1000",
        "Groups": ["audio"],
        "StopSignal": "SIGINT",
        "StopGracePeriod": 1_500_000_000,
        "TTY": true,
        "OpenStdin": true,
        "ReadOnly": true,
        "Init": true,
        "Mounts": [
            {"Source": "data", "Target": "/data", "VolumeOptions": {"NoCopy": true}},
            {"Type": "bind", "Source": "/etc", "Target": "/host", "ReadOnly": true},
            {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 4096}},
        ],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Retries": 3, "StartInterval": 2},
        "Hosts": ["10.9.9.9 db db.local"],
        "DNSConfig": {"Nameservers": ["1.1.1.1"], "Search": ["local"], "Options": ["ndots:2"]},
        "Sysctls": {"net.core.somaxconn": "1024"},
        "CapabilityAdd": ["CAP_NET_ADMIN"],
        "CapabilityDrop": ["CAP_CHOWN"],
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "OomScoreAdj": 100,
        "Privileges": {
            "NoNewPrivileges": true,
            "Seccomp": {"Mode": "unconfined"},
            "SELinuxContext": {"Disable": false, "User": "u"},
        },
    }));
    want.limits = Resources {
        nano_cpus: 500_000_000,
        memory_bytes: 1 << 20,
        pids: 7,
        ..Resources::default()
    };
    want.reservations.memory_bytes = 1 << 19;
    want.log_driver = Some(LogDriver {
        name: "json-file".to_owned(),
        options: [("max-size".to_owned(), "1m".to_owned())].into(),
    });
    want.name_servers = vec!["10.0.1.1".to_owned(), "1.1.1.1".to_owned()];
    want.host_ports = vec![PortConfig {
        target_port: 80,
        published_port: 8080,
        ..PortConfig::default()
    }];
    let (body, _) = rendered(&want, 53);
    assert_eq!(
        body,
        json!({
            "Image": "web:1",
            "Entrypoint": ["/entry"],
            "Cmd": ["-v"],
            "Env": ["A=1"],
            "Hostname": "web-1",
            "WorkingDir": "/srv",
            "User": "1000",
            "Labels": {"a": "b"},
            "Tty": true,
            "OpenStdin": true,
            "StopSignal": "SIGINT",
            "StopTimeout": 2,
            "Healthcheck": {
                "Test": ["CMD", "true"], "Interval": 5, "Retries": 3, "StartInterval": 2
            },
            "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {
                "RestartPolicy": {"Name": "no"},
                "Mounts": [
                    {"Type": "volume", "Source": "data", "Target": "/data",
                     "VolumeOptions": {"NoCopy": true}},
                    {"Type": "bind", "Source": "/etc", "Target": "/host", "ReadOnly": true},
                    {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 4096}},
                ],
                "NanoCpus": 500_000_000,
                "Memory": 1_048_576,
                "PidsLimit": 7,
                "MemoryReservation": 524_288,
                "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
                "CapAdd": ["CAP_NET_ADMIN"],
                "CapDrop": ["CAP_CHOWN"],
                "Sysctls": {"net.core.somaxconn": "1024"},
                "Init": true,
                "ReadonlyRootfs": true,
                "GroupAdd": ["audio"],
                "OomScoreAdj": 100,
                "ExtraHosts": ["db:10.9.9.9", "db.local:10.9.9.9"],
                "Dns": ["10.0.1.1", "1.1.1.1"],
                "DnsSearch": ["local"],
                "DnsOptions": ["ndots:2"],
                "PortBindings": {"80/tcp": [{"HostPort": "8080"}]},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
                "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "label=user:u"],
            },
        })
    );
}

#[test]
fn older_engines_get_one_network_at_once_and_the_others_before_the_start() {
    let mut want = want(json!({"Image": "web:1", "Healthcheck": {"StartInterval": 2}}));
    want.networking =
        Networking::Overlays(vec![network("in", 11, true), network("out", 12, false)]);
    let (body, connect) = rendered(&want, 41);
    assert_eq!(body["HostConfig"]["NetworkMode"], "in");
    assert_eq!(
        body["NetworkingConfig"],
        json!({"EndpointsConfig": {"in": {"IPAMConfig": {"IPv4Address": "10.0.1.11"}}}})
    );
    assert_eq!(body["Healthcheck"], json!({}));
    assert_eq!(
        connect,
        json!([["out", {"IPAMConfig": {"IPv4Address": "10.0.1.12"}}]])
    );
}

#[test]
fn newer_engines_get_all_networks_with_their_macs_and_the_way_out() {
    let mut want = want(json!({"Image": "web:1"}));
    want.networking =
        Networking::Overlays(vec![network("in", 11, true), network("out", 12, false)]);
    let (body, connect) = rendered(&want, 53);
    assert_eq!(
        body["NetworkingConfig"],
        json!({"EndpointsConfig": {
            "in": {
                "IPAMConfig": {"IPv4Address": "10.0.1.11"},
                "MacAddress": "02:42:0a:00:01:0b",
            },
            "out": {
                "IPAMConfig": {"IPv4Address": "10.0.1.12"},
                "MacAddress": "02:42:0a:00:01:0c",
                "GwPriority": 1,
            },
        }})
    );
    assert_eq!(connect, json!([]));
}

#[test]
fn a_mount_that_no_engine_knows_is_refused() {
    let want = want(json!({"Image": "web:1", "Mounts": [{"Type": "warp", "Target": "/x"}]}));
    let refused = create_request(&want, 53).unwrap_err();
    assert!(refused.to_string().contains("warp"), "{refused}");
}
