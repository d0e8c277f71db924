//! What a cluster says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use testhosts::http::Api;
use testhosts::{Local, LocalNode, Output, eventually};

/// Longest wait for anything that should come true: much more than it ever takes, for the machine
/// may be busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// An answer, of whatever kind, comes within this time, or the daemon hangs.
pub(crate) const BOUNDED: Duration = Duration::from_secs(20);

/// Daemons that are in no cluster, running.
pub(crate) fn daemons(count: usize) -> Result<Local> {
    let local = Local::new(env!("CARGO_BIN_EXE_swarmr"), count)?;
    for node in local.iter() {
        node.start()?;
    }
    Ok(local)
}

/// A cluster whose first `managers` daemons are managers; returns when all of them say so.
pub(crate) fn cluster(managers: usize, nodes: usize) -> Result<Local> {
    let local = Local::new(env!("CARGO_BIN_EXE_swarmr"), nodes)?;
    local.form(managers)?;
    let all: Vec<&LocalNode> = local.iter().collect();
    settled(&all[..managers], nodes)?;
    Ok(local)
}

/// Waits until each of these managers sees the same `nodes` nodes, all ready, and as managers
/// exactly these, with one leader.
pub(crate) fn settled(managers: &[&LocalNode], nodes: usize) -> Result<()> {
    let wanted: BTreeSet<String> = managers
        .iter()
        .map(|node| id(node))
        .collect::<Result<_>>()?;
    eventually("the cluster settles", SOON, || {
        for manager in managers {
            let seen = self::nodes(manager)?;
            ensure!(
                seen.len() == nodes,
                "{} sees {} nodes",
                manager.name(),
                seen.len()
            );
            for node in &seen {
                let state = node.pointer("/Status/State").and_then(Value::as_str);
                ensure!(state == Some("ready"), "{} sees {node}", manager.name());
            }
            let reachable: BTreeSet<String> = seen
                .iter()
                .filter(|node| text(node, "/ManagerStatus/Reachability") == "reachable")
                .map(|node| text(node, "/ID"))
                .collect();
            ensure!(
                reachable == wanted,
                "{} sees managers {reachable:?}",
                manager.name()
            );
            leader_among(&seen)?;
        }
        Ok(())
    })
}

/// Runs a command, its words separated by single spaces, that must succeed; what it printed.
pub(crate) fn run(node: &LocalNode, words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let output = node.swarmr(&words).and_then(Output::ok);
    output.unwrap_or_else(|error| panic!("on {}: {error:#}", node.name()))
}

/// Of three managers, those other than `place`.
pub(crate) fn others(local: &Local, place: usize) -> Vec<&LocalNode> {
    (0..3)
        .filter(|other| *other != place)
        .map(|other| &local[other])
        .collect()
}

/// The nodes as `node` lists them.
pub(crate) fn nodes(node: &LocalNode) -> Result<Vec<Value>> {
    list(&node.api().within(BOUNDED), "/nodes")
}

/// One node as `node` sees it.
pub(crate) fn node_seen(by: &LocalNode, id: &str) -> Result<Value> {
    by.api().within(BOUNDED).get(&format!("/nodes/{id}"))
}

/// A daemon's own node id; an error while it is in no cluster.
pub(crate) fn id(node: &LocalNode) -> Result<String> {
    let swarm = standing(node)?;
    let id = text(&swarm, "/NodeID");
    ensure!(!id.is_empty(), "{} is in no cluster: {swarm}", node.name());
    Ok(id)
}

/// `Swarm` of `GET /info`.
pub(crate) fn standing(node: &LocalNode) -> Result<Value> {
    let info = node.api().within(BOUNDED).get("/info")?;
    info.get("Swarm").cloned().context("no Swarm in /info")
}

/// `inactive`, `pending`, `active` ….
pub(crate) fn local_state(node: &LocalNode) -> Result<String> {
    Ok(text(&standing(node)?, "/LocalNodeState"))
}

fn leader_among(nodes: &[Value]) -> Result<String> {
    let leaders: Vec<String> = nodes
        .iter()
        .filter(|node| node.pointer("/ManagerStatus/Leader") == Some(&json!(true)))
        .map(|node| text(node, "/ID"))
        .collect();
    match leaders.as_slice() {
        [leader] => Ok(leader.clone()),
        _ => Err(anyhow!("leaders: {leaders:?}")),
    }
}

/// The place in `local` of the leader that running managers agree on.
pub(crate) fn leader(local: &Local) -> Result<usize> {
    eventually("there is a leader", SOON, || {
        let mut seen = BTreeSet::new();
        for node in local.iter().filter(|node| node.is_running()) {
            if standing(node)?.get("ControlAvailable") == Some(&json!(true)) {
                seen.insert(leader_among(&nodes(node)?)?);
            }
        }
        ensure!(seen.len() == 1, "leaders: {seen:?}");
        let found = local
            .iter()
            .enumerate()
            .find(|(_, node)| node.is_running() && id(node).is_ok_and(|id| seen.contains(&id)));
        found
            .map(|(place, _)| place)
            .context("the leader is not running")
    })
}

/// The tasks of a service, those that ended too.
pub(crate) fn tasks(api: &Api, service: &str) -> Result<Vec<Value>> {
    let filters = json!({"service": [service]}).to_string();
    list(api, &format!("/tasks?filters={}", encoded(&filters)))
}

/// Tasks of a service that run and are to run.
pub(crate) fn running(api: &Api, service: &str) -> Result<Vec<Value>> {
    let mut tasks = tasks(api, service)?;
    tasks.retain(runs);
    Ok(tasks)
}

/// Whether a task runs and is to run.
pub(crate) fn runs(task: &Value) -> bool {
    text(task, "/Status/State") == "running" && text(task, "/DesiredState") == "running"
}

/// Waits until exactly `count` tasks of a service run and none is on its way, and returns them.
pub(crate) fn converged(node: &LocalNode, service: &str, count: usize) -> Result<Vec<Value>> {
    let api = node.api().within(BOUNDED);
    eventually(&format!("{count} tasks of {service} run"), SOON, || {
        let all = tasks(&api, service)?;
        let running: Vec<Value> = all.iter().filter(|task| runs(task)).cloned().collect();
        let under_way = all.iter().filter(|task| !runs(task) && !ended(task));
        let under_way: Vec<String> = under_way.map(brief).collect();
        ensure!(
            running.len() == count && under_way.is_empty(),
            "{} run, under way: {under_way:?}",
            running.len()
        );
        Ok(running)
    })
}

/// Whether a task has come to its end.
pub(crate) fn ended(task: &Value) -> bool {
    let state = text(task, "/Status/State");
    [
        "complete", "shutdown", "failed", "rejected", "remove", "orphaned",
    ]
    .contains(&state.as_str())
}

/// A task in a few words, for messages.
pub(crate) fn brief(task: &Value) -> String {
    format!(
        "{} {} on {} {}/{} {} {}",
        text(task, "/ID"),
        image(task),
        text(task, "/NodeID"),
        text(task, "/Status/State"),
        text(task, "/DesiredState"),
        text(task, "/Status/Message"),
        text(task, "/Status/Err"),
    )
}

/// How many of these tasks each node has.
pub(crate) fn spread(tasks: &[Value]) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for task in tasks {
        *spread.entry(text(task, "/NodeID")).or_insert(0) += 1;
    }
    spread
}

pub(crate) fn image(task: &Value) -> String {
    text(task, "/Spec/ContainerSpec/Image")
}

/// The containers of a daemon's pretended engine, by id, with the task each belongs to.
pub(crate) fn containers(node: &LocalNode) -> Result<BTreeMap<String, Container>> {
    let engine = engine_file(&node.state_dir())?;
    let containers = engine.get("containers").and_then(Value::as_object);
    let containers = containers.context("no containers in the engine's file")?;
    Ok(containers
        .iter()
        .map(|(id, container)| {
            let task = container
                .get("labels")
                .and_then(|all| all.get("com.docker.swarm.task.id"));
            let container = Container {
                task: task.and_then(Value::as_str).unwrap_or_default().to_owned(),
                runs: container.pointer("/phase/Running").is_some(),
            };
            (id.clone(), container)
        })
        .collect())
}

/// Waits until the engines hold these tasks' containers, running, and no others.
pub(crate) fn engines_hold(local: &Local, tasks: &[Value]) -> Result<()> {
    eventually(
        "the engines hold the tasks' containers and no others",
        SOON,
        || {
            let wanted: BTreeSet<String> = tasks.iter().map(|task| text(task, "/ID")).collect();
            let mut held = BTreeSet::new();
            for node in local.iter() {
                for (id, container) in containers(node)? {
                    if container.runs {
                        ensure!(
                            held.insert(container.task.clone()),
                            "two containers of task {}",
                            container.task
                        );
                        let task = tasks
                            .iter()
                            .find(|task| text(task, "/ID") == container.task);
                        let known =
                            task.map(|task| text(task, "/Status/ContainerStatus/ContainerID"));
                        ensure!(known.as_deref() == Some(&id), "{id} is of {known:?}");
                    }
                }
            }
            ensure!(held == wanted, "held {held:?}, wanted {wanted:?}");
            Ok(())
        },
    )
}

/// How many containers a daemon's pretended engine ever created.
pub(crate) fn ever_created(node: &LocalNode) -> Result<u64> {
    let engine = engine_file(&node.state_dir())?;
    engine
        .get("created")
        .and_then(Value::as_u64)
        .context("no count in the engine's file")
}

/// A container of a pretended engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) task: String,
    pub(crate) runs: bool,
}

/// The file in which a pretended engine keeps its containers; empty before it has any.
fn engine_file(state_dir: &Path) -> Result<Value> {
    match fs::read(state_dir.join("fake-engine")) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(json!({"containers": {}, "created": 0}))
        }
        Err(error) => Err(error.into()),
    }
}

/// What everybody agreed on, without what changes by itself: two of them are equal when nothing was
/// written in between.
pub(crate) fn agreed(node: &LocalNode) -> Result<Value> {
    let api = node.api().within(BOUNDED);
    let specs: Vec<Value> = list(&api, "/nodes")?
        .iter()
        .map(|node| json!([node.get("ID"), node.get("Spec")]))
        .collect();
    Ok(json!({
        "swarm": api.get("/swarm")?,
        "nodes": specs,
        "services": api.get("/services")?,
        "networks": api.get("/networks")?,
        "configs": api.get("/configs")?,
    }))
}

/// Creates a config and returns its id.
pub(crate) fn create_config(api: &Api, name: &str, data: &str) -> Result<String> {
    let made = api.post("/configs/create", &config(name, data))?;
    Ok(text(&made, "/ID"))
}

/// Creates a config as soon as somebody takes it. One whose outcome was unknown may be there
/// already.
pub(crate) fn create_config_soon(node: &LocalNode, name: &str) -> Result<()> {
    let api = node.api().within(BOUNDED);
    eventually("a write is accepted", SOON, || {
        match create_config(&api, name, "x") {
            Err(error) if !format!("{error:#}").contains("status 409") => Err(error),
            _ => Ok(()),
        }
    })
}

/// The names of all configs, as `node` sees them.
pub(crate) fn config_names(node: &LocalNode) -> Result<BTreeSet<String>> {
    let configs = list(&node.api().within(BOUNDED), "/configs")?;
    Ok(configs
        .iter()
        .map(|config| text(config, "/Spec/Name"))
        .collect())
}

/// The body that creates a config.
pub(crate) fn config(name: &str, data: &str) -> Value {
    json!({"Name": name, "Data": base64(data.as_bytes())})
}

/// A list of the API.
pub(crate) fn list(api: &Api, path: &str) -> Result<Vec<Value>> {
    match api.get(path)? {
        Value::Array(all) => Ok(all),
        Value::Null => Ok(Vec::new()),
        other => Err(anyhow!("{path} is no list: {other}")),
    }
}

/// The text at `pointer`; empty if there is none.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// `text` as part of a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_query_is_encoded_so_that_no_byte_means_anything() {
    assert_eq!(
        encoded(r#"{"a":["b&c"]}"#),
        "%7B%22a%22%3A%5B%22b%26c%22%5D%7D"
    );
}
