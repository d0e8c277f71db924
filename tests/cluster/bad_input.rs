//! Bad input, by command line and by API: each is refused with what was wrong, what was got and what
//! is allowed, and changes nothing.

use std::fs;

use serde_json::{Value, json};
use testhosts::LocalNode;

use super::look::{agreed, cluster, config, create_config, run, text};
use super::refusal::{BadCommand, BadRequest, command, judge_all, request};

/// Objects for the tables to clash with.
fn furnish(node: &LocalNode) {
    run(
        node,
        "network create -d overlay --opt encrypted=false --subnet 10.77.0.0/24 app",
    );
    run(
        node,
        "service create -d --name web --replicas 2 --network app --publish 18081:80 web:1",
    );
    run(node, "service create -d --name every --mode global every:1");
    create_config(&node.api(), "settings", "x").unwrap();
}

#[test]
fn commands_about_services_that_cannot_be_done_say_why() {
    let local = cluster(1, 1).unwrap();
    let node = &local[0];
    furnish(node);
    let before = agreed(node).unwrap();
    let table: &[BadCommand] = &[
        // Names.
        command("service create --name -bad web:1", 1, &["-bad"]),
        command(
            "service create --name=_bad web:1",
            1,
            &["_bad", "name", "another"],
        ),
        command(
            "service create --name two.words web:1",
            1,
            &["two.words", "name"],
        ),
        command(
            "service create --name web web:1",
            4,
            &["web", "already exists"],
        ),
        // Counts.
        command(
            "service create --replicas=many web:1",
            2,
            &["--replicas", "many"],
        ),
        command(
            "service create --replicas=-1 web:1",
            2,
            &["--replicas", "-1"],
        ),
        command(
            "service create --mode global --replicas 2 web:1",
            2,
            &["--replicas", "replicated"],
        ),
        command(
            "service create --mode sometimes web:1",
            2,
            &["--mode", "sometimes", "replicated", "global"],
        ),
        command(
            "service create --update-parallelism=-2 web:1",
            2,
            &["--update-parallelism", "-2"],
        ),
        command(
            "service create --update-max-failure-ratio 7 web:1",
            2,
            &["7", "0", "1"],
        ),
        command(
            "service create --restart-max-attempts=-1 web:1",
            2,
            &["--restart-max-attempts", "-1"],
        ),
        command("service scale web", 2, &["web", "="]),
        command("service scale web=many", 2, &["web=many"]),
        command("service scale every=3", 1, &["every", "replicated"]),
        command("service scale nobody=3", 3, &["nobody", "not found"]),
        // Durations.
        command(
            "service create --update-delay 5 web:1",
            2,
            &["--update-delay", "5", "unit"],
        ),
        command(
            "service create --update-monitor soon web:1",
            2,
            &["--update-monitor", "soon"],
        ),
        command(
            "service create --stop-grace-period=-3s web:1",
            2,
            &["--stop-grace-period", "-3s"],
        ),
        command(
            "service create --restart-delay 1fortnight web:1",
            2,
            &["--restart-delay", "1fortnight"],
        ),
        // Sizes.
        command(
            "service create --limit-memory 12xx web:1",
            2,
            &["--limit-memory", "12xx"],
        ),
        command(
            "service create --limit-memory 1m web:1",
            1,
            &["memory", "4MiB"],
        ),
        command(
            "service create --limit-cpu two web:1",
            2,
            &["--limit-cpu", "two"],
        ),
        command(
            "service create --limit-cpu 0.0001 web:1",
            1,
            &["cpu", "0.001"],
        ),
        command(
            "service create --limit-memory 64m --reserve-memory 128m web:1",
            1,
            &["MemoryBytes", "limit"],
        ),
        // Where.
        command(
            "service create --constraint node.role web:1",
            1,
            &["node.role", "==", "!="],
        ),
        command("service create --constraint ==x web:1", 1, &["==x"]),
        command(
            "service create --placement-pref zone web:1",
            2,
            &["zone", "spread"],
        ),
        command(
            "service create --network nowhere web:1",
            3,
            &["nowhere", "not found"],
        ),
        // Images.
        command(
            "service create UPPER/Case:1",
            1,
            &["UPPER/Case:1", "lower case"],
        ),
        command(
            "service create web:tag:tag",
            1,
            &["web:tag:tag", "reference"],
        ),
        command("service create", 2, &["IMAGE"]),
        // Ports.
        command("service create --publish 99999:80 web:1", 2, &["99999"]),
        command("service create --publish 80:0 web:1", 2, &["0"]),
        command(
            "service create --publish 80:80/icmp web:1",
            2,
            &["icmp", "tcp", "udp"],
        ),
        command(
            "service create --publish 18081:80 web:1",
            4,
            &["18081", "web", "another"],
        ),
        // Closed lists.
        command(
            "service create --update-failure-action explode web:1",
            2,
            &["explode", "pause", "continue", "rollback"],
        ),
        command(
            "service create --rollback-failure-action rollback web:1",
            2,
            &["rollback", "pause", "continue"],
        ),
        command(
            "service create --restart-condition never web:1",
            2,
            &["never", "none", "on-failure", "any"],
        ),
        command(
            "service create --endpoint-mode ipvs web:1",
            2,
            &["ipvs", "vip", "dnsrr"],
        ),
        command(
            "service create --update-order middle web:1",
            2,
            &["middle", "start-first", "stop-first"],
        ),
        command(
            "service create --mount type=bind,target=/x web:1",
            2,
            &["source"],
        ),
        command(
            "service create --mount type=cloud,target=/x web:1",
            2,
            &["cloud"],
        ),
        command(
            "service create --env =value web:1",
            2,
            &["=value", "NAME=VALUE"],
        ),
        // What is not there.
        command("service update nobody", 3, &["nobody", "not found"]),
        command("service rollback web", 1, &["web", "previous"]),
        command("service inspect nobody", 3, &["nobody", "not found"]),
        command("service ps nobody", 3, &["nobody", "not found"]),
        command("service rm nobody", 3, &["nobody", "not found"]),
        command(
            "service update --label-rm nothing --env-rm NOTHING --mode global web",
            2,
            &["--mode"],
        ),
        // Output.
        command("service ls --filter color=red", 1, &["color"]),
        command("service ls --filter color", 2, &["color", "="]),
        command("service ls --format {{.Nothing}}", 2, &["Nothing"]),
        command("service ls --format {{.Name", 2, &["template", "}}"]),
        command("service paint web", 2, &["paint"]),
        command("service ls --colour", 2, &["--colour"]),
    ];
    judge_all(table.iter().map(|bad| bad.judge(node))).unwrap();
    assert_eq!(agreed(node).unwrap(), before);
}

#[test]
fn commands_about_everything_else_that_cannot_be_done_say_why() {
    let local = cluster(1, 1).unwrap();
    let node = &local[0];
    furnish(node);
    let folder = node.state_dir();
    let file = |name: &str, content: &[u8]| {
        let path = folder.parent().unwrap().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (good, empty) = (file("good", b"x"), file("empty", b""));
    let big = file("big", &vec![b'x'; 1_024_001]);
    let before = agreed(node).unwrap();
    let table: &[BadCommand] = &[
        command("node inspect nobody", 3, &["nobody", "not found"]),
        command("node ps nobody", 3, &["nobody", "not found"]),
        command("node rm nobody", 3, &["nobody", "not found"]),
        command("node promote nobody", 3, &["nobody", "not found"]),
        command(
            "node update --availability asleep self",
            2,
            &["asleep", "active", "pause", "drain"],
        ),
        command(
            "node update --role king self",
            2,
            &["king", "worker", "manager"],
        ),
        command("node ls --filter role=king", 1, &["role", "king"]),
        BadCommand {
            words: vec!["config", "create", "bad/name", &good],
            code: 1,
            says: &["bad/name", "name"],
        },
        BadCommand {
            words: vec!["config", "create", "settings", &good],
            code: 4,
            says: &["settings", "already exists"],
        },
        BadCommand {
            words: vec!["config", "create", "none", &empty],
            code: 1,
            says: &["0 bytes", "larger than 0"],
        },
        BadCommand {
            words: vec!["config", "create", "huge", &big],
            code: 1,
            says: &["1024001", "1024000"],
        },
        command("config create absent /no/such/file", 1, &["/no/such/file"]),
        command("config create nothing", 2, &["FILE"]),
        command("config inspect nobody", 3, &["nobody", "not found"]),
        command("config rm nobody", 3, &["nobody", "not found"]),
        command(
            "network create -d overlay app",
            4,
            &["app", "already exists"],
        ),
        command(
            "network create -d overlay --subnet 10.0.300.0/24 odd",
            1,
            &["10.0.300.0/24", "ADDRESS/LENGTH"],
        ),
        command(
            "network create -d overlay --subnet 10.77.0.128/25 odd",
            4,
            &["10.77.0.128/25", "overlaps", "app"],
        ),
        command(
            "network create -d overlay --opt encrypted=false odd/name",
            1,
            &["odd/name", "name"],
        ),
        command("network rm nobody", 3, &["nobody", "not found"]),
        command("network rm app", 4, &["app", "in use", "web"]),
        command("network rm ingress", 5, &["ingress"]),
        command("join-token king", 2, &["king", "worker", "manager"]),
        command("swarm update --cert-expiry 5m", 2, &["--cert-expiry", "1h"]),
        command("swarm update --task-history-limit few", 2, &["few"]),
        command("swarm unlock-key", 2, &[]),
        command("no-such-command", 2, &["no-such-command"]),
    ];
    judge_all(table.iter().map(|bad| bad.judge(node))).unwrap();
    assert_eq!(agreed(node).unwrap(), before);
}

/// A service as a client would create it, with one thing changed.
fn service(pointer: &str, value: Value) -> Value {
    let mut spec = json!({
        "Name": "fine",
        "TaskTemplate": {
            "ContainerSpec": {"Image": "web:1"},
            "Resources": {"Limits": {}, "Reservations": {}},
            "Placement": {},
            "RestartPolicy": {},
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Parallelism": 1},
        "EndpointSpec": {},
    });
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[name] = value;
    spec
}

fn bad_service<'a>(
    pointer: &str,
    value: Value,
    status: u16,
    says: &'a [&'a str],
) -> BadRequest<'a> {
    request(
        "POST",
        "/services/create",
        service(pointer, value),
        status,
        says,
    )
}

#[test]
fn requests_that_cannot_be_done_say_why() {
    let local = cluster(1, 1).unwrap();
    let node = &local[0];
    furnish(node);
    let before = agreed(node).unwrap();
    let web = node.api().get("/services/web").unwrap();
    let (web_id, spec) = (text(&web, "/ID"), web["Spec"].clone());
    let version = web
        .pointer("/Version/Index")
        .and_then(Value::as_u64)
        .unwrap();
    let update = |version: u64| format!("/services/{web_id}/update?version={version}");
    let with = |pointer: &str, value: Value| {
        let mut spec = spec.clone();
        *spec.pointer_mut(pointer).unwrap() = value;
        spec
    };
    let template = "/TaskTemplate";
    let table = [
        request("POST", "/services/create", json!("{not json"), 400, &[]),
        request("POST", "/services/create", json!(null), 400, &[]),
        request("POST", "/services/create", json!([]), 400, &[]),
        bad_service("/Name", json!("web"), 409, &["web", "already exists"]),
        bad_service("/Name", json!("two words"), 400, &["Name", "two words"]),
        bad_service("/Name", json!("n".repeat(64)), 400, &["Name", "63"]),
        bad_service(
            "/Mode/Replicated",
            json!({"Replicas": -1}),
            400,
            &["Replicas"],
        ),
        bad_service("/Mode/Global", json!({}), 400, &["only one", "mode"]),
        bad_service(
            &format!("{template}/ContainerSpec/Image"),
            json!(""),
            400,
            &["Image"],
        ),
        bad_service(
            &format!("{template}/ContainerSpec/Image"),
            json!("UP:1"),
            400,
            &["Image", "UP:1", "lower case"],
        ),
        bad_service(
            &format!("{template}/Placement/Constraints"),
            json!(["node.role"]),
            400,
            &["Constraints[0]", "node.role", "=="],
        ),
        bad_service(
            &format!("{template}/Resources/Limits/MemoryBytes"),
            json!(1),
            400,
            &["MemoryBytes", "4MiB"],
        ),
        bad_service(
            &format!("{template}/Resources/Limits/NanoCPUs"),
            json!(1),
            400,
            &["NanoCPUs", "0.001"],
        ),
        bad_service(
            &format!("{template}/RestartPolicy/Delay"),
            json!(-1),
            400,
            &["Delay", "-1"],
        ),
        bad_service(
            &format!("{template}/RestartPolicy/Condition"),
            json!("never"),
            400,
            &["never"],
        ),
        bad_service(
            "/UpdateConfig/Delay",
            json!(-5),
            400,
            &["UpdateConfig.Delay", "-5"],
        ),
        bad_service(
            "/UpdateConfig/MaxFailureRatio",
            json!(2),
            400,
            &["MaxFailureRatio", "2", "between 0 and 1"],
        ),
        bad_service(
            "/UpdateConfig/FailureAction",
            json!("explode"),
            400,
            &["explode"],
        ),
        bad_service(
            "/EndpointSpec/Ports",
            json!([{"TargetPort": 0}]),
            400,
            &["TargetPort"],
        ),
        bad_service(
            "/EndpointSpec/Ports",
            json!([{"TargetPort": 80, "PublishedPort": 18081}]),
            400,
            &["18081", "web"],
        ),
        bad_service(
            "/EndpointSpec/Ports",
            json!([{"TargetPort": 80, "PublishedPort": 70000}]),
            400,
            &[],
        ),
        bad_service("/EndpointSpec/Mode", json!("ipvs"), 400, &["ipvs"]),
        bad_service(
            &format!("{template}/Networks"),
            json!([{"Target": "nowhere"}]),
            404,
            &["nowhere", "not found"],
        ),
        bad_service(
            "/Swarmr",
            json!({"Schedule": {"Cron": "* * * * *"}}),
            400,
            &["Swarmr.Schedule", "replicated-job"],
        ),
        bad_service("/Swarmr", json!({"Cron": "* * * * *"}), 400, &["Cron"]),
        request(
            "POST",
            update(version - 1),
            spec.clone(),
            409,
            &["out of sequence", "retry"],
        ),
        request(
            "POST",
            format!("/services/{web_id}/update"),
            spec.clone(),
            400,
            &["version"],
        ),
        request(
            "POST",
            format!("/services/{web_id}/update?version=x"),
            spec.clone(),
            400,
            &["version", "x"],
        ),
        request(
            "POST",
            update(version),
            with("/Name", json!("other")),
            501,
            &["name"],
        ),
        request(
            "POST",
            update(version),
            with("/Mode", json!({"Global": {}})),
            501,
            &["mode"],
        ),
        request(
            "POST",
            format!("/services/nobody/update?version={version}"),
            spec.clone(),
            404,
            &["nobody"],
        ),
        request(
            "POST",
            format!("{}&rollback=previous", update(version)),
            spec.clone(),
            400,
            &["previous"],
        ),
        request(
            "GET",
            "/services/nobody",
            json!(null),
            404,
            &["nobody", "not found"],
        ),
        request(
            "DELETE",
            "/services/nobody",
            json!(null),
            404,
            &["nobody", "not found"],
        ),
        request(
            "GET",
            "/services?filters=%7B%22color%22%3A%5B%22red%22%5D%7D",
            json!(null),
            400,
            &["color"],
        ),
        request(
            "GET",
            "/services?filters=nonsense",
            json!(null),
            400,
            &["filter"],
        ),
        request(
            "GET",
            "/tasks/nobody",
            json!(null),
            404,
            &["nobody", "not found"],
        ),
        request(
            "GET",
            "/nodes/nobody",
            json!(null),
            404,
            &["nobody", "not found"],
        ),
        request(
            "DELETE",
            "/nodes/nobody",
            json!(null),
            404,
            &["nobody", "not found"],
        ),
        request(
            "POST",
            "/configs/create",
            config("settings", "y"),
            409,
            &["settings", "already exists"],
        ),
        request(
            "POST",
            "/configs/create",
            config("bad/name", "y"),
            400,
            &["bad/name"],
        ),
        request(
            "POST",
            "/configs/create",
            config("empty", ""),
            400,
            &["larger than 0"],
        ),
        request(
            "POST",
            "/configs/create",
            config("huge", &"x".repeat(1_024_001)),
            400,
            &["1024000"],
        ),
        request(
            "POST",
            "/configs/create",
            json!({"Name": "c", "Data": "not base64!"}),
            400,
            &[],
        ),
        request(
            "GET",
            "/configs/nobody",
            json!(null),
            404,
            &["nobody", "not found"],
        ),
        request(
            "DELETE",
            "/configs/nobody",
            json!(null),
            404,
            &["nobody", "not found"],
        ),
        request(
            "POST",
            "/networks/create",
            json!({"Name": "app", "Driver": "overlay"}),
            409,
            &["app"],
        ),
        request(
            "POST",
            "/networks/create",
            json!({"Name": "odd", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.77.0.0/16"}]}}),
            400,
            &["10.77.0.0/16", "overlaps", "app"],
        ),
        request(
            "DELETE",
            "/networks/app",
            json!(null),
            403,
            &["app", "in use", "web"],
        ),
        request(
            "POST",
            "/swarm/update?version=0",
            json!({"Name": "default"}),
            409,
            &["out of sequence"],
        ),
        request("POST", "/swarm/init", json!("{"), 400, &[]),
        request(
            "POST",
            "/swarm/join",
            json!({"RemoteAddrs": []}),
            400,
            &["RemoteAddrs"],
        ),
        request(
            "GET",
            "/swarmr/v1/nothing",
            json!(null),
            404,
            &["not found"],
        ),
        request("PUT", "/services", json!(null), 404, &["not found"]),
        request("GET", "/secrets/none", json!(null), 404, &["none"]),
    ];
    judge_all(table.iter().map(|bad| bad.judge(node))).unwrap();
    assert_eq!(agreed(node).unwrap(), before);
}

#[test]
fn an_ambiguous_name_is_not_guessed() {
    let local = cluster(1, 2).unwrap();
    let node = &local[0];
    // Both daemons are on this machine, so both nodes have its name.
    let listed = run(node, "node ls --format {{.Hostname}}");
    let name = listed.lines().next().unwrap();
    let inspect = format!("node inspect {name}");
    command(&inspect, 1, &[name, "ambiguous"])
        .judge(node)
        .unwrap();
    let path = format!("/nodes/{name}");
    request("GET", path, json!(null), 400, &[name, "ambiguous"])
        .judge(node)
        .unwrap();
}

#[test]
fn a_daemon_that_is_not_there_is_told_apart_from_one_that_refuses() {
    let local = super::look::daemons(1).unwrap();
    let node = &local[0];
    node.kill().unwrap();
    for words in [
        "node ls",
        "service ls",
        "status",
        "service create web:1",
        "leave",
    ] {
        let output = node.swarmr(&words.split(' ').collect::<Vec<_>>()).unwrap();
        let socket = node.socket().display().to_string();
        super::refusal::refused(&output, 6, &[&socket, "not running", "swarmr daemon"]).unwrap();
    }
}
