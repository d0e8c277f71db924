//! The built program and the docker CLI against the same daemon: what they print is the same, and
//! so is what they make of the same flags.

use std::path::{Path, PathBuf};

use serde_json::Value;
use swarmr::spec::NodeId;
use swarmr::state::task::{DesiredState, Slot, TaskState};
use tokio::process::Command;
use tokio::time::timeout;

use crate::api::harness::{PATIENCE, Recorded, Server};

/// Ages in tables move on while two programs ask one after the other.
const ATTEMPTS: usize = 20;

/// The newest docker CLI of this machine.
fn docker() -> Option<PathBuf> {
    let found = ["/usr/local/bin/docker", "/usr/bin/docker"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file());
    assert!(
        found.is_some() || std::env::var_os("SWARMR_REQUIRE_ENGINE").is_none(),
        "SWARMR_REQUIRE_ENGINE is set and there is no docker CLI in /usr/bin or /usr/local/bin"
    );
    if found.is_none() {
        println!("nothing tried: there is no docker CLI in /usr/bin or /usr/local/bin");
    }
    found
}

/// Runs a program against the server: whether it succeeded, and its data.
pub(super) async fn run(
    program: &Path,
    server: &Server,
    arguments: &[&str],
) -> (bool, String, String) {
    let home = tempfile::tempdir().unwrap();
    let running = Command::new(program)
        .arg("-H")
        .arg(format!("unix://{}", server.socket.display()))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, running).await.unwrap().unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

pub(super) fn swarmr() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_swarmr"))
}

/// A cluster of two nodes with a service, its history, a network and a config.
async fn furnished() -> Server {
    let server = Server::manager();
    let here = Recorded::load("api-1.41").node;
    let other = NodeId::from_bits(u128::MAX / 9);
    server.control.add_worker(other, "h2");
    let make: &[&[&str]] = &[
        &[
            "network",
            "create",
            "-d",
            "overlay",
            "--opt",
            "encrypted=false",
            "app",
        ],
        &[
            "service",
            "create",
            "-d",
            "--name",
            "web",
            "--replicas",
            "2",
            "--network",
            "app",
            "-p",
            "8080:80",
            "-l",
            "tier=front",
            "--constraint",
            "node.role==manager",
            "--limit-cpu",
            "0.5",
            "--limit-memory",
            "64m",
            "-e",
            "A=1",
            "--update-delay",
            "1s",
            "--mount",
            "type=bind,source=/a,target=/b,readonly",
            "nginx:1",
            "serve",
        ],
        &[
            "service",
            "create",
            "-d",
            "--name",
            "agent",
            "--mode",
            "global",
            "-p",
            "mode=host,published=9000,target=90",
            "nginx:1",
        ],
    ];
    for arguments in make {
        let (success, _, stderr) = run(swarmr(), &server, arguments).await;
        assert!(success, "{arguments:?}: {stderr}");
    }
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), "hello").unwrap();
    let file = config.path().to_str().unwrap();
    let (success, _, stderr) = run(
        swarmr(),
        &server,
        &["config", "create", "-l", "a=b", "site", file],
    )
    .await;
    assert!(success, "{stderr}");
    let state = server.control.state();
    let web = state.find_service("web").unwrap().id;
    let agent = state.find_service("agent").unwrap().id;
    let control = &server.control;
    let old = control.run_task(web, Slot::Replica(1), here, TaskState::Running);
    control.set_desired(old, DesiredState::Shutdown);
    control.report(old, here, TaskState::Shutdown);
    control.run_task(web, Slot::Replica(1), other, TaskState::Running);
    control.run_task(web, Slot::Replica(2), here, TaskState::Starting);
    for node in [here, other] {
        control.run_task(agent, Slot::Node(node), node, TaskState::Running);
    }
    server
}

#[tokio::test]
async fn both_programs_show_the_same() {
    let Some(docker) = docker() else { return };
    let server = furnished().await;
    let commands: &[&[&str]] = &[
        &["node", "ls"],
        &["node", "ls", "-q"],
        &["node", "ls", "--filter", "role=worker"],
        &[
            "node",
            "ls",
            "--format",
            "{{.Hostname}} {{.Status}} {{.TLSStatus}}",
        ],
        &["node", "inspect", "self"],
        &["node", "inspect", "--pretty", "self"],
        &["node", "inspect", "-f", "{{.Description.Hostname}}", "h2"],
        &["node", "ps"],
        &["node", "ps", "h2"],
        &["service", "ls"],
        &["service", "ls", "-q"],
        &["service", "ls", "--format", "{{.Name}}: {{.Replicas}}"],
        &["service", "ls", "--format", r"table {{.Name}}\t{{.Mode}}"],
        &["service", "ls", "--filter", "mode=global"],
        &["service", "ps", "web"],
        &["service", "ps", "web", "agent"],
        &["service", "ps", "-q", "web"],
        &["service", "ps", "--no-trunc", "web"],
        &["service", "ps", "--no-resolve", "web"],
        &["service", "ps", "--format", "{{.Name}} {{.Node}}", "web"],
        &["service", "ps", "--filter", "desired-state=running", "web"],
        &["service", "inspect", "web"],
        &["service", "inspect", "--pretty", "web"],
        &["service", "inspect", "--pretty", "agent"],
        &["service", "inspect", "-f", "{{json .Spec.Mode}}", "web"],
        &[
            "service",
            "inspect",
            "-f",
            "{{range .Endpoint.Ports}}{{.PublishedPort}}{{end}}",
            "web",
        ],
        &["config", "ls"],
        &["config", "inspect", "site"],
        &["config", "inspect", "--pretty", "site"],
        &["network", "inspect", "app"],
        &["swarm", "join-token", "-q", "manager"],
        &["swarm", "ca"],
        &["service", "rm", "nowhere"],
        &["node", "rm", "nowhere"],
        &[
            "config",
            "inspect",
            "-f",
            "{{.Spec.Name}}",
            "nowhere",
            "site",
        ],
    ];
    let mut wrong = Vec::new();
    for arguments in commands {
        let mut attempt = 1;
        loop {
            let (theirs, their_data, _) = run(&docker, &server, arguments).await;
            let (ours, our_data, stderr) = run(swarmr(), &server, arguments).await;
            if their_data == our_data {
                assert_eq!(theirs, ours, "{arguments:?}: {stderr}");
                break;
            }
            if attempt == ATTEMPTS {
                wrong.push(format!(
                    "{arguments:?}\n--- docker\n{their_data}\n--- swarmr\n{our_data}{stderr}"
                ));
                break;
            }
            attempt += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn both_programs_make_the_same_service_of_the_same_flags() {
    let Some(docker) = docker() else { return };
    let server = Server::manager();
    let network = [
        "network",
        "create",
        "-d",
        "overlay",
        "--opt",
        "encrypted=false",
        "app",
    ];
    assert!(run(swarmr(), &server, &network).await.0);
    let creates: &[&str] = &[
        "nginx:1",
        "--replicas 3 --label a=b --container-label c=d nginx:1 serve --port 80",
        "--mode global --endpoint-mode dnsrr nginx:1",
        "--constraint node.role==worker --placement-pref spread=node.labels.zone --replicas-max-per-node 2 nginx:1",
        "--limit-cpu .5 --limit-memory 64m --limit-pids 9 --reserve-cpu .25 --reserve-memory 32m nginx:1",
        "--network name=app,alias=x nginx:1",
        "-p 8080:80 -p 53:53/udp -p published=9000,target=90,mode=host nginx:1",
        "--hostname h --host db:10.0.0.5 --dns 9.9.9.9 --dns-search x.test --dns-option ndots:1 nginx:1",
        "-e A=1 -e B --user u:g --workdir /w --group 5 -t --read-only --init nginx:1",
        "--mount type=volume,source=v,target=/v,volume-nocopy=true --mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770 nginx:1",
        "--mount type=bind,source=/a,target=/b,readonly,bind-propagation=rshared nginx:1",
        "--mount type=volume,source=n,target=/n,volume-driver=local,volume-opt=type=nfs,volume-label=a=b nginx:1",
        "--cap-add net_admin --cap-drop CHOWN --sysctl net.core.somaxconn=9 --ulimit nofile=1:2 nginx:1",
        "--stop-signal SIGINT --stop-grace-period 1m --entrypoint /bin/x nginx:1",
        "--health-cmd true --health-interval 1s --health-timeout 2s --health-retries 3 --health-start-period 4s nginx:1",
        "--no-healthcheck --log-driver json-file --log-opt max-size=1m nginx:1",
        "--restart-condition on-failure --restart-delay 1s --restart-max-attempts 2 --restart-window 3s nginx:1",
        "--update-parallelism 2 --update-delay 1s --update-monitor 2s --update-failure-action rollback --update-max-failure-ratio 0.5 --update-order start-first nginx:1",
        "--rollback-parallelism 0 --rollback-delay 1s --rollback-failure-action continue nginx:1",
    ];
    let mut wrong = Vec::new();
    for flags in creates {
        let theirs = created(&docker, &server, flags).await;
        let ours = created(swarmr(), &server, flags).await;
        differences("", &ours, &theirs)
            .into_iter()
            .for_each(|found| wrong.push(format!("{flags}: {found}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn both_programs_change_a_service_in_the_same_way() {
    let Some(docker) = docker() else { return };
    let server = Server::manager();
    let network = [
        "network",
        "create",
        "-d",
        "overlay",
        "--opt",
        "encrypted=false",
        "app",
    ];
    assert!(run(swarmr(), &server, &network).await.0);
    let updates: &[&str] = &[
        "--image nginx:2 --force",
        "--replicas 5 --args x",
        "--label-add a=9 --label-rm b --container-label-add c=d",
        "--env-add A=9 --env-rm B --env-add C=3",
        "--constraint-add node.role==manager --constraint-rm node.labels.x==y",
        "--publish-add 9090:90 --publish-rm 80",
        "--publish-add 8080:80",
        "--publish-add 8081:80",
        "--mount-add type=tmpfs,target=/v",
        "--mount-rm /v",
        "--host-add db:10.0.0.7 --host-rm db",
        "--dns-add 8.8.8.8 --dns-rm 9.9.9.9",
        "--network-add app",
        "--cap-add CHOWN",
        "--cap-add NET_RAW --cap-drop SYS_TIME",
        "--sysctl-add x=2 --ulimit-add nofile=8",
        "--limit-cpu 1 --reserve-memory 8m",
        "--update-parallelism 4",
        "--rollback-delay 2s --restart-condition none",
        "--health-cmd false",
        "--no-healthcheck",
        "--endpoint-mode dnsrr --publish-rm 80",
        "--stop-grace-period 3s --user root --read-only --hostname h",
        "--log-driver none --group-add audio --placement-pref-add spread=node.labels.z",
    ];
    let mut wrong = Vec::new();
    for flags in updates {
        let theirs = updated(&docker, &server, flags).await;
        let ours = updated(swarmr(), &server, flags).await;
        differences("", &ours, &theirs)
            .into_iter()
            .for_each(|found| wrong.push(format!("{flags}: {found}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The spec that a program makes of `service create`.
async fn created(program: &Path, server: &Server, flags: &str) -> Value {
    let mut arguments = vec![
        "service",
        "create",
        "-d",
        "--no-resolve-image",
        "--name",
        "web",
    ];
    arguments.extend(flags.split_whitespace());
    let (success, _, stderr) = run(program, server, &arguments).await;
    assert!(success, "{} {flags}: {stderr}", program.display());
    taken(server).await
}

/// The spec that a program makes of `service update`, from one that is always the same.
async fn updated(program: &Path, server: &Server, flags: &str) -> Value {
    let before = "service create -d --name web --replicas 2 -l a=1 -l b=2 -e A=1 -e B=2 -p 8080:80 \
        --constraint node.labels.x==y --mount type=volume,source=v,target=/v --host db:10.0.0.5 \
        --dns 9.9.9.9 --cap-drop CHOWN --sysctl x=1 --ulimit nofile=1:2 --limit-memory 64m \
        --health-cmd true --health-interval 3s --update-delay 1s nginx:1 serve";
    let before: Vec<&str> = before.split_whitespace().collect();
    let (success, _, stderr) = run(swarmr(), server, &before).await;
    assert!(success, "{stderr}");
    let mut arguments = vec!["service", "update", "-d", "--no-resolve-image"];
    arguments.extend(flags.split_whitespace());
    arguments.push("web");
    let (success, _, stderr) = run(program, server, &arguments).await;
    assert!(success, "{} {flags}: {stderr}", program.display());
    taken(server).await
}

/// The stored spec of the service, without what says nothing; the service is removed.
async fn taken(server: &Server) -> Value {
    let state = server.control.state();
    let spec = state.find_service("web").unwrap().spec.clone();
    let mut spec = serde_json::to_value(&*spec).unwrap();
    drop_empty(&mut spec);
    assert!(run(swarmr(), server, &["service", "rm", "web"]).await.0);
    spec
}

/// Where two values differ.
fn differences(path: &str, ours: &Value, theirs: &Value) -> Vec<String> {
    match (ours, theirs) {
        _ if ours == theirs => Vec::new(),
        (Value::Object(left), Value::Object(right)) => left
            .keys()
            .chain(right.keys().filter(|key| !left.contains_key(*key)))
            .flat_map(|key| differences(&format!("{path}/{key}"), &ours[key], &theirs[key]))
            .collect(),
        _ => vec![format!("{path}: ours {ours}, theirs {theirs}")],
    }
}

/// Takes out `{}`, `[]`, `null` and the `false` and `0` that one client writes and the other
/// leaves out, and sorts what Docker's client writes in any order.
fn drop_empty(value: &mut Value) {
    if let Value::Array(items) = value {
        items.iter_mut().for_each(drop_empty);
    }
    if let Value::Object(entries) = value {
        for entry in entries.values_mut() {
            drop_empty(entry);
        }
        if let Some(Value::Array(env)) = entries.get_mut("Env") {
            env.sort_by_key(ToString::to_string);
        }
        entries.retain(|_, entry| match entry {
            Value::Null => false,
            Value::Bool(truth) => *truth,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::Object(entries) => !entries.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::String(_) => true,
        });
    }
}

/// Runs our program, which must succeed, and gives what it prints.
async fn ours(server: &Server, arguments: &[&str]) -> String {
    let (success, stdout, stderr) = run(swarmr(), server, arguments).await;
    assert!(success, "{arguments:?}: {stderr}");
    stdout
}

#[tokio::test]
async fn services_are_steered_from_the_command_line() {
    let server = Server::manager();
    let create = "service create -d --name web --replicas 2 --update-steps 50%,100% \
        --update-progress-deadline 2m --rollback-progress-deadline 0 --update-step-delay 1h \
        --restart-delay 1s --restart-max-delay 1m --restart-backoff 3 --restart-reset 5m \
        --revisions-limit 4 web:1";
    ours(&server, &create.split_whitespace().collect::<Vec<_>>()).await;
    let shown = ours(&server, &["service", "inspect", "web"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let minute = 60_000_000_000_i64;
    assert_eq!(
        shown[0]["Spec"]["Swarmr"],
        serde_json::json!({
            "Update": {
                "ProgressDeadline": 2 * minute, "Steps": ["50%", "100%"], "StepDelay": 60 * minute
            },
            "Rollback": {"ProgressDeadline": 0},
            "Restart": {"MaxDelay": minute, "Backoff": 3.0, "Reset": 5 * minute},
            "RevisionsLimit": 4
        })
    );
    ours(
        &server,
        &["service", "update", "-d", "--image", "web:2", "web"],
    )
    .await;
    let history = ours(&server, &["service", "history", "web"]).await;
    assert!(history.contains("2 (current)"), "{history}");
    assert!(history.contains("image web:1 to web:2"), "{history}");
    ours(&server, &["service", "pause", "web"]).await;
    let (success, _, stderr) = run(swarmr(), &server, &["service", "promote", "-d", "web"]).await;
    assert!(
        !success && stderr.contains("does not wait for a promotion"),
        "{stderr}"
    );
    ours(&server, &["service", "resume", "-d", "web"]).await;
    ours(
        &server,
        &["service", "rollback", "-d", "--to-revision", "1", "web"],
    )
    .await;
    let first = ours(&server, &["service", "inspect", "--revision", "2", "web"]).await;
    assert!(first.contains("web:2"), "{first}");
    let pretty = ["service", "inspect", "--pretty", "--revision", "2", "web"];
    assert!(ours(&server, &pretty).await.contains("web:2"));
    ours(&server, &["service", "stop", "web"]).await;
    let list = ours(&server, &["service", "ls"]).await;
    assert!(list.contains("0/2 (stopped)"), "{list}");
    ours(&server, &["service", "start", "-d", "web"]).await;
    let (success, _, stderr) = run(swarmr(), &server, &["service", "restart", "-d", "web"]).await;
    assert!(!success && stderr.contains("is not finished"), "{stderr}");
    ours(
        &server,
        &["service", "update", "-d", "--update-steps", "none", "web"],
    )
    .await;
    let shown = ours(&server, &["service", "inspect", "web"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let update = &shown[0]["Spec"]["Swarmr"]["Update"];
    assert_eq!(update.get("Steps"), None, "{update}");
    assert_eq!(update["ProgressDeadline"], 2 * minute);
}
