//! Bad requests: each is refused with the right status and a message that says what is wrong, and
//! leaves the state as it was.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use swarmr::api::EngineAddress;
use swarmr::api::control::Standing;
use swarmr::spec::{NodeId, Role};

use super::fake_control::FakeControl;
use super::harness::{Recorded, Server};

fn service(name: &str, image: &str) -> Value {
    json!({"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": image}}})
}

/// A service with one thing changed.
fn web_with(pointer: &str, value: Value) -> String {
    let mut spec = json!({
        "Name": "other", "Labels": {}, "Mode": {"Replicated": {"Replicas": 1}},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "nginx", "Mounts": [], "Healthcheck": {}, "Secrets": [], "Configs": [], "StopGracePeriod": 0},
            "Resources": {"Limits": {}, "Reservations": {}},
            "RestartPolicy": {}, "Placement": {}, "Networks": [], "PluginSpec": null, "Runtime": ""
        },
        "UpdateConfig": {}, "RollbackConfig": {}, "EndpointSpec": {}, "Swarmr": null
    });
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[key] = value;
    spec.to_string()
}

#[tokio::test]
async fn bad_services_are_refused_with_what_is_allowed() {
    let server = Server::manager();
    server
        .post("/services/create", &service("web", "nginx"))
        .await
        .expect(201);
    server
        .post(
            "/services/create",
            &json!({"Name": "front", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}},
                "EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": 8080}]}}),
        )
        .await
        .expect(201);
    let before = server.control.state();
    let port = |port: Value| json!([port]);
    let rows: Vec<(String, u16, &str)> = vec![
        (String::new(), 400, "no body"),
        ("{".to_owned(), 400, "invalid JSON"),
        ("[]".to_owned(), 400, "want an object"),
        (
            web_with("/Name", json!("we b")),
            400,
            "name must be valid as a DNS name component",
        ),
        (web_with("/Name", json!("a".repeat(64))), 400, "1 to 63"),
        (
            web_with("/Name", json!("web")),
            409,
            "name conflicts with an existing object",
        ),
        (
            web_with("/TaskTemplate/ContainerSpec/Image", json!("")),
            400,
            "image reference must be provided",
        ),
        (
            web_with("/TaskTemplate/ContainerSpec/Image", json!("Nginx")),
            400,
            "must be lowercase",
        ),
        (
            web_with("/TaskTemplate/ContainerSpec/Image", json!("nginx:a b")),
            400,
            "the tag",
        ),
        (
            web_with("/Mode", json!({"Replicated": {"Replicas": -1}})),
            400,
            "Mode",
        ),
        (
            web_with("/Mode", json!({"Replicated": {}, "Global": {}})),
            400,
            "only one service mode",
        ),
        (
            web_with("/Mode", json!({"Global": {"Replicas": 3}})),
            400,
            "replicas can only be used with replicated mode",
        ),
        (
            web_with(
                "/Mode",
                json!({"ReplicatedJob": {"MaxConcurrent": 0, "TotalCompletions": 2}}),
            ),
            400,
            "Mode.ReplicatedJob.MaxConcurrent: got 0",
        ),
        (
            web_with("/Swarmr", json!({"Schedule": {"Cron": "* * * *"}})),
            400,
            "Swarmr.Schedule.Cron: got \"* * * *\": got 4 fields",
        ),
        (
            web_with(
                "/TaskTemplate/Resources/Limits",
                json!({"MemoryBytes": 1024}),
            ),
            400,
            "Must be at least 4MiB",
        ),
        (
            web_with("/TaskTemplate/Resources/Limits", json!({"NanoCPUs": 10})),
            400,
            "invalid cpu value",
        ),
        (
            web_with(
                "/TaskTemplate/Resources/Limits",
                json!({"MemoryBytes": "1g"}),
            ),
            400,
            "invalid request: TaskTemplate",
        ),
        (
            web_with(
                "/TaskTemplate/Resources/Reservations",
                json!({"GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 0}}]}),
            ),
            400,
            "a number above 0 or a name",
        ),
        (
            web_with(
                "/TaskTemplate/Resources/Reservations",
                json!({"GenericResources": [{"NobodyKnows": {"Kind": "gpu", "Value": 1}}]}),
            ),
            400,
            "Reservations.GenericResources[0]",
        ),
        (
            web_with("/Swarmr", json!({"Devices": [{"PathOnHost": "dev/x"}]})),
            400,
            "Swarmr.Devices[0].PathOnHost",
        ),
        (
            web_with(
                "/Swarmr",
                json!({"DeviceRequests": [{"Count": 1, "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}]}),
            ),
            400,
            "cannot set both Count and DeviceIDs",
        ),
        (
            web_with("/TaskTemplate/RestartPolicy/Delay", json!(-1)),
            400,
            "RestartPolicy.Delay",
        ),
        (
            web_with("/TaskTemplate/RestartPolicy/Condition", json!("sometimes")),
            400,
            "sometimes",
        ),
        (
            web_with("/UpdateConfig/MaxFailureRatio", json!(1.5)),
            400,
            "between 0 and 1",
        ),
        (
            web_with("/UpdateConfig/Delay", json!(-5)),
            400,
            "UpdateConfig.Delay",
        ),
        (
            web_with("/RollbackConfig/FailureAction", json!("rollback")),
            400,
            "RollbackConfig.FailureAction",
        ),
        (
            web_with("/UpdateConfig/Order", json!("both-first")),
            400,
            "both-first",
        ),
        (
            web_with("/TaskTemplate/ContainerSpec/StopGracePeriod", json!(-1)),
            400,
            "StopGracePeriod",
        ),
        (
            web_with("/TaskTemplate/ContainerSpec/Healthcheck/Interval", json!(5)),
            400,
            "Healthcheck.Interval",
        ),
        (
            web_with(
                "/TaskTemplate/ContainerSpec/Mounts",
                json!([{"Target": "/a"}, {"Target": "/a"}]),
            ),
            400,
            "duplicate mount point",
        ),
        (
            web_with(
                "/TaskTemplate/ContainerSpec/Secrets",
                json!([{"SecretName": "s"}]),
            ),
            501,
            "secrets",
        ),
        (
            web_with(
                "/TaskTemplate/ContainerSpec/Configs",
                json!([{"ConfigName": "c"}]),
            ),
            501,
            "configs",
        ),
        (
            web_with(
                "/TaskTemplate/ContainerSpec/Privileges",
                json!({"NoNewPrivileges": true}),
            ),
            501,
            "Privileges",
        ),
        (
            web_with("/TaskTemplate/PluginSpec", json!({"Name": "p"})),
            501,
            "PluginSpec",
        ),
        (
            web_with("/TaskTemplate/Runtime", json!("attachment")),
            501,
            "the runtime attachment",
        ),
        (
            web_with(
                "/Swarmr",
                json!({"DependsOn": [{"Service": "db"}, {"Service": "db"}]}),
            ),
            400,
            "Swarmr.DependsOn[1].Service",
        ),
        (
            web_with(
                "/Swarmr",
                json!({"DependsOn": [{"Service": "db", "Condition": "well"}]}),
            ),
            400,
            "started",
        ),
        (
            web_with(
                "/Swarmr",
                json!({"InitContainers": [{"Name": "a", "Image": "UPPER"}]}),
            ),
            400,
            "Swarmr.InitContainers[0].Image",
        ),
        (
            web_with("/Swarmr", json!({"Autoscale": {"Max": 3}})),
            400,
            "Swarmr.Autoscale",
        ),
        (
            web_with(
                "/TaskTemplate/Placement/Constraints",
                json!(["node.role=worker"]),
            ),
            400,
            "Constraints[0]",
        ),
        (
            web_with(
                "/TaskTemplate/Placement/Preferences",
                json!([{"Spread": {"SpreadDescriptor": "zone"}}]),
            ),
            400,
            "Preferences[0]",
        ),
        (
            web_with("/TaskTemplate/Networks", json!([{"Target": "nowhere"}])),
            404,
            "network nowhere not found",
        ),
        (
            web_with("/TaskTemplate/Networks", json!([{"Target": "ingress"}])),
            400,
            "ingress network",
        ),
        (
            web_with("/TaskTemplate/Networks", json!([{"Target": "host"}])),
            501,
            "the node's own network host",
        ),
        (
            web_with("/EndpointSpec/Ports", port(json!({"TargetPort": 0}))),
            400,
            "TargetPort",
        ),
        (
            web_with("/EndpointSpec/Ports", port(json!({"TargetPort": 99999}))),
            400,
            "EndpointSpec.Ports[0].TargetPort",
        ),
        (
            web_with(
                "/EndpointSpec/Ports",
                port(json!({"TargetPort": 80, "PublishedPort": 8080})),
            ),
            400,
            "already in use by service front",
        ),
        (
            web_with(
                "/EndpointSpec/Ports",
                json!([{"TargetPort": 80, "PublishedPort": 81}, {"TargetPort": 82, "PublishedPort": 81}]),
            ),
            400,
            "duplicate published ports",
        ),
        (
            web_with(
                "/EndpointSpec",
                json!({"Mode": "dnsrr", "Ports": [{"TargetPort": 80}]}),
            ),
            400,
            "dnsrr",
        ),
        (web_with("/EndpointSpec/Mode", json!("magic")), 400, "magic"),
        (
            web_with("/EndpointSpec", json!({"Mode": "dnsrr"})).replace(
                r#""Swarmr":null"#,
                r#""Swarmr":{"Connections":{"Sticky":true}}"#,
            ),
            400,
            "connections of a dnsrr service",
        ),
        (
            web_with("/Swarmr", json!({"Connections": {"Stuck": true}})),
            400,
            "Stuck",
        ),
    ];
    for (body, status, message) in rows {
        let answer = server.ask("POST", "/services/create", &body).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{body}\n{}",
            answer.message()
        );
        assert!(
            answer.message().contains(message),
            "{body}\n{}",
            answer.message()
        );
    }
    assert_eq!(
        before.services().count(),
        server.control.state().services().count()
    );
}

#[tokio::test]
async fn every_problem_of_a_service_is_told_at_once() {
    let server = Server::manager();
    let body = json!({
        "Name": "-", "TaskTemplate": {"ContainerSpec": {"Image": "Bad"}, "Resources": {"Limits": {"MemoryBytes": 1}}},
        "UpdateConfig": {"MaxFailureRatio": 2}
    });
    let answer = server
        .post("/services/create", &body)
        .await
        .expect(400)
        .json();
    let fields: Vec<&str> = answer["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "Name",
            "TaskTemplate.ContainerSpec.Image",
            "TaskTemplate.Resources.Limits.MemoryBytes",
            "UpdateConfig.MaxFailureRatio"
        ]
    );
    for problem in answer["problems"].as_array().unwrap() {
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains(problem["allowed"].as_str().unwrap())
        );
    }
}

#[tokio::test]
async fn bad_requests_about_everything_else_are_refused() {
    let server = Server::manager();
    server
        .post("/services/create", &service("web", "nginx"))
        .await
        .expect(201);
    server
        .post(
            "/networks/create",
            &json!({"Name": "app", "Driver": "overlay"}),
        )
        .await
        .expect(201);
    server
        .post("/configs/create", &json!({"Name": "c1", "Data": "Yw=="}))
        .await
        .expect(201);
    let node = Recorded::load("api-1.41").node.to_string();
    let node_version =
        server.get(&format!("/nodes/{node}")).await.json()["Version"]["Index"].to_string();
    let web_version = server.get("/services/web").await.json()["Version"]["Index"].to_string();
    let swarm_version = server.get("/swarm").await.json()["Version"]["Index"].to_string();
    let big = "QUFB".repeat(400_000);
    let spec = service("web", "nginx").to_string();
    let rows: Vec<(&str, String, String, u16, &str)> = vec![
        ("POST", "/services/web/update".into(), spec.clone(), 400, "invalid service version ''"),
        ("POST", "/services/web/update?version=x".into(), spec.clone(), 400, "invalid service version 'x'"),
        ("POST", "/services/web/update?version=1".into(), spec.clone(), 409, "update out of sequence"),
        ("POST", "/services/none/update?version=1".into(), spec.clone(), 404, "service none not found"),
        ("POST", format!("/services/web/update?version={web_version}&rollback=next"), spec.clone(), 400, "rollback"),
        ("POST", format!("/services/web/update?version={web_version}&rollback=previous"), String::new(), 400, "no previous spec"),
        ("POST", format!("/services/web/update?version={web_version}&registryAuthFrom=me"), spec, 400, "registryAuthFrom"),
        ("POST", format!("/services/web/update?version={web_version}"), service("other", "nginx").to_string(), 501, "the name"),
        ("POST", format!("/services/web/update?version={web_version}"), json!({"Name": "web", "Mode": {"Global": {}}, "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}}).to_string(), 501, "the mode"),
        ("GET", "/services/none".into(), String::new(), 404, "service none not found"),
        ("DELETE", "/services/none".into(), String::new(), 404, "service none not found"),
        ("GET", "/services?filters={\"bad\":[\"x\"]}".into(), String::new(), 400, "invalid filter 'bad'"),
        ("GET", "/services?filters=nonsense".into(), String::new(), 400, "invalid filters"),
        ("GET", "/services?status=maybe".into(), String::new(), 400, "status"),
        ("GET", "/services/web/logs".into(), String::new(), 400, "stdout"),
        ("GET", "/tasks/none".into(), String::new(), 404, "task none not found"),
        ("GET", "/tasks?filters={\"service\":[\"none\"]}".into(), String::new(), 404, "service none not found"),
        ("GET", "/tasks?filters={\"desired-state\":[\"gone\"]}".into(), String::new(), 400, "desired-state=gone"),
        ("GET", "/nodes/self".into(), String::new(), 404, "node self not found"),
        ("GET", "/nodes?filters={\"role\":[\"king\"]}".into(), String::new(), 400, "role=king"),
        ("POST", format!("/nodes/{node}/update?version={node_version}"), json!({"Availability": "drain"}).to_string(), 400, "Role"),
        ("POST", format!("/nodes/{node}/update?version={node_version}"), json!({"Availability": "idle", "Role": "manager"}).to_string(), 400, "active, pause, drain"),
        ("POST", format!("/nodes/{node}/update?version={node_version}"), json!({"Availability": "active", "Role": "worker"}).to_string(), 400, "last manager"),
        ("POST", format!("/nodes/{node}/update?version=0"), json!({"Availability": "active", "Role": "manager"}).to_string(), 409, "update out of sequence"),
        ("DELETE", format!("/nodes/{node}"), String::new(), 400, "last manager"),
        ("POST", "/networks/create".into(), json!({"Name": "app", "Driver": "overlay"}).to_string(), 409, "already exists"),
        ("POST", "/networks/create".into(), json!({"Name": "", "Driver": "overlay"}).to_string(), 400, "network name"),
        ("POST", "/networks/create".into(), json!({"Name": "n", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.0.0.0/99"}]}}).to_string(), 400, "invalid subnet"),
        ("POST", "/networks/create".into(), json!({"Name": "n", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.8.0.1"}]}}).to_string(), 400, "IPAM.Config.Gateway"),
        ("POST", "/networks/create".into(), json!({"Name": "n", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.0.0.0/25"}]}}).to_string(), 400, "overlaps network ingress"),
        ("POST", "/networks/create".into(), json!({"Name": "n", "Driver": "macvlan", "Scope": "swarm"}).to_string(), 501, "the driver macvlan"),
        ("POST", "/networks/create".into(), json!({"Name": "n", "Driver": "overlay", "EnableIPv6": true}).to_string(), 501, "IPv6"),
        ("POST", "/networks/create".into(), json!({"Name": "n", "Driver": "overlay", "Options": {"encrypted": "maybe"}}).to_string(), 400, "encrypted"),
        ("DELETE", "/networks/ingress".into(), String::new(), 403, "routing mesh"),
        ("GET", "/networks?filters={\"scope\":[\"moon\"]}".into(), String::new(), 400, "scope=moon"),
        ("POST", "/networks/app/connect".into(), json!({"Container": "c"}).to_string(), 501, "connecting containers"),
        ("POST", "/configs/create".into(), json!({"Name": "c1", "Data": "Yw=="}).to_string(), 409, "already exists"),
        ("POST", "/configs/create".into(), json!({"Name": "-c", "Data": "Yw=="}).to_string(), 400, "invalid config name"),
        ("POST", "/configs/create".into(), json!({"Name": "c2", "Data": ""}).to_string(), 400, "larger than 0"),
        ("POST", "/configs/create".into(), json!({"Name": "c2", "Data": big}).to_string(), 400, "at most 1024000 bytes"),
        ("POST", "/configs/create".into(), json!({"Name": "c2", "Data": "%"}).to_string(), 400, "Data"),
        ("POST", "/configs/create".into(), format!("{{\"Name\":\"{}\"}}", "x".repeat(5 << 20)), 413, "larger than"),
        ("GET", "/configs/none".into(), String::new(), 404, "config none not found"),
        ("POST", "/configs/c1/update?version=999".into(), json!({"Name": "c1", "Labels": {}}).to_string(), 409, "update out of sequence"),
        ("POST", "/secrets/create".into(), json!({"Name": "s"}).to_string(), 501, "secrets"),
        ("GET", "/secrets/s".into(), String::new(), 404, "secret s not found"),
        ("DELETE", "/secrets/s".into(), String::new(), 404, "secret s not found"),
        ("POST", "/swarm/init".into(), "{}".into(), 503, "already part of a swarm"),
        ("POST", "/swarm/leave".into(), String::new(), 503, "last manager"),
        ("POST", "/swarm/unlock".into(), json!({"UnlockKey": "k"}).to_string(), 409, "swarm is not locked"),
        ("POST", "/swarm/update?version=0".into(), json!({"Name": "default"}).to_string(), 409, "update out of sequence"),
        ("POST", format!("/swarm/update?version={swarm_version}"), json!({"Name": "mine"}).to_string(), 400, "must be named \"default\""),
        ("POST", format!("/swarm/update?version={swarm_version}&rotateWorkerToken=perhaps"), json!({}).to_string(), 400, "rotateWorkerToken"),
        ("POST", format!("/swarm/update?version={swarm_version}"), json!({"CAConfig": {"NodeCertExpiry": 5}}).to_string(), 400, "1h0m0s"),
        ("POST", format!("/swarm/update?version={swarm_version}"), json!({"EncryptionConfig": {"AutoLockManagers": true}}).to_string(), 501, "AutoLockManagers"),
        ("GET", "/events?since=yesterday".into(), String::new(), 400, "invalid time"),
        ("GET", "/v1.23/info".into(), String::new(), 400, "client version 1.23 is too old"),
        ("PUT", "/services/web".into(), String::new(), 404, "page not found"),
        ("GET", "/services/web/what".into(), String::new(), 404, "page not found"),
        ("GET", "/swarmr/v1/what".into(), String::new(), 404, "page not found"),
        ("GET", "/containers/json".into(), String::new(), 503, "--engine fake"),
    ];
    let before = server.control.state();
    for (method, path, body, status, message) in rows {
        let answer = server
            .ask(
                method,
                &path
                    .replace('{', "%7B")
                    .replace('}', "%7D")
                    .replace('"', "%22"),
                &body,
            )
            .await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{method} {path}\n{}",
            answer.message()
        );
        assert!(
            answer.message().contains(message),
            "{method} {path}\n{}",
            answer.message()
        );
        assert_eq!(answer.headers["api-version"], "1.53");
    }
    let after = server.control.state();
    assert!(before.nodes().eq(after.nodes()));
    assert!(before.services().eq(after.services()));
    assert!(before.networks().eq(after.networks()));
    assert!(before.configs().eq(after.configs()));
}

#[tokio::test]
async fn joining_and_initialising_badly_is_refused() {
    let server = Server::start(FakeControl::outside(), EngineAddress::Fake);
    let token = super::fake_control::WORKER_TOKEN;
    let rows: Vec<(&str, Value, u16, &str)> = vec![
        (
            "/swarm/join",
            json!({"JoinToken": token}),
            400,
            "at least 1 RemoteAddr",
        ),
        (
            "/swarm/join",
            json!({"RemoteAddrs": ["a:1"]}),
            400,
            "JoinToken",
        ),
        (
            "/swarm/join",
            json!({"RemoteAddrs": ["a:1"], "JoinToken": "SWMTKN-1-x"}),
            403,
            "refused",
        ),
        (
            "/swarm/join",
            json!({"RemoteAddrs": ["a:1"], "JoinToken": token}),
            503,
            "nobody answers at a:1",
        ),
        (
            "/swarm/join",
            json!({"RemoteAddrs": ["a:1"], "JoinToken": token, "Availability": "x"}),
            400,
            "availability",
        ),
        (
            "/swarm/init",
            json!({"DefaultAddrPool": ["10.0.0.0/99"]}),
            400,
            "DefaultAddrPool[0]",
        ),
        ("/swarm/init", json!({"SubnetSize": 31}), 400, "SubnetSize"),
        (
            "/swarm/init",
            json!({"DataPathPort": 80}),
            400,
            "DataPathPort",
        ),
        (
            "/swarm/init",
            json!({"AutoLockManagers": true}),
            501,
            "AutoLockManagers",
        ),
        (
            "/swarm/init",
            json!({"Spec": {"Name": "x"}}),
            400,
            "must be named",
        ),
        ("/swarm/leave", json!({}), 503, "not part of a swarm"),
    ];
    for (path, body, status, message) in rows {
        let answer = server.post(path, &body).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{path} {body}\n{}",
            answer.message()
        );
        assert!(
            answer.message().contains(message),
            "{path} {body}\n{}",
            answer.message()
        );
    }
    assert_eq!(server.control.state().index(), 0);
}

#[tokio::test]
async fn who_cannot_answer_says_why_with_a_code() {
    let recorded = Recorded::load("api-1.41");
    let server = Server::manager();
    let spec = service("web", "nginx");

    server.control.faults.unknown.store(true, Ordering::Relaxed);
    let answer = server
        .post("/services/create", &spec)
        .await
        .expect(500)
        .json();
    assert_eq!(answer["code"], "outcome-unknown");
    server
        .control
        .faults
        .unknown
        .store(false, Ordering::Relaxed);

    server
        .control
        .faults
        .no_quorum
        .store(true, Ordering::Relaxed);
    let answer = server.get("/services").await.expect(503).json();
    assert_eq!(answer["code"], "no-quorum");
    server.get("/networks").await.expect(200);
    server
        .control
        .faults
        .no_quorum
        .store(false, Ordering::Relaxed);

    server.control.faults.panics.store(true, Ordering::Relaxed);
    let answer = server.get("/services").await.expect(500);
    assert_eq!(answer.headers["swarm"], "active/manager");
    server.control.faults.panics.store(false, Ordering::Relaxed);
    server.get("/services").await.expect(200);

    server.control.set_standing(Standing::Member {
        node: NodeId::from_bits(2),
        cluster: recorded.cluster,
        role: Role::Worker,
        addr: "10.99.0.2:2377".to_owned(),
        managers: vec![(recorded.node, "10.99.0.1:2377".to_owned())],
    });
    let answer = server.get("/services").await.expect(503);
    assert_eq!(answer.json()["code"], "not-manager");
    assert_eq!(answer.headers["swarm"], "active/worker");
    assert!(
        answer
            .message()
            .contains("This node is not a swarm manager")
    );

    server.control.set_standing(Standing::Inactive);
    let answer = server.get("/swarm").await.expect(503);
    assert_eq!(answer.json()["code"], "not-in-cluster");
    assert_eq!(answer.headers["swarm"], "inactive");
    let info = server.get("/info").await.expect(200).json();
    assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");
}
