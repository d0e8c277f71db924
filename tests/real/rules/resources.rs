//! What tasks need of a node: CPUs, named and counted things, devices, ports, plugins, a platform.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testhosts::IMAGE_WEB_2;

use super::Rule;
use super::stage::{Container, Stage};

pub(super) const RULES: [Rule; 8] = [
    ("CPUs that are reserved", cpus),
    ("counted resources, also once a node has fewer", counted),
    ("named resources", named),
    ("GPUs, one task each", gpus),
    ("a device by its path", device),
    ("ports of hosts, also by start-first", host_ports),
    ("plugins", plugins),
    ("platforms", platforms),
];

/// Device nodes that do what /dev/null does.
pub(super) const MAKE_DEVICES: &str = "mkdir /run/made && cd /run/made \
    && mknod gpu0 c 1 3 && mknod gpu1 c 1 3 && mknod modem c 1 3";
/// What is told of them, and of what else h3 is to have.
pub(super) const FLAGS: [&str; 5] = [
    "--node-device=gpu=/run/made/gpu*",
    "--node-device=modem=/run/made/modem",
    "--node-generic-resource=ssd=2",
    "--node-generic-resource=card=ace",
    "--node-generic-resource=card=king",
];

fn cpus(stage: &Stage) -> Result<String> {
    let info = stage.hosts[0].engine()?.send("GET", "/info", "", b"")?;
    let cpus = info.json()?["NCPU"].as_f64().context("no NCPU")?;
    // One task fills most of a node; of the smaller ones two fit.
    let (large, small) = (cpus * 0.75, cpus * 0.5);
    stage.create(
        "big",
        &format!("--replicas 4 --reserve-cpu {large} tools:latest"),
    )?;
    let three = stage.spread("big", [1, 1, 1])?;
    let reason = "insufficient resources on 3 nodes";
    stage.says("big", reason)?;
    let remedy = "to let one run: reserve";
    let explained = stage.swarmr("service explain big")?;
    ensure!(explained.contains(remedy), "{explained}");
    stage.swarmr(&format!(
        "service update --detach --quiet --reserve-cpu {small} --update-parallelism 0 big"
    ))?;
    let four = stage.counted("big", "four, at most two on each", |counts| {
        counts.iter().sum::<usize>() == 4 && counts.iter().all(|count| *count <= 2)
    })?;
    Ok(format!(
        "four of {large} CPUs on nodes of {cpus}: {three:?}, the fourth says {reason:?}; of {small}: {four:?}"
    ))
}

/// A variable of a container.
fn variable(stage: &Stage, container: &Container, name: &str) -> Result<String> {
    let inspected = stage.inspect(container)?;
    let all = inspected["Config"]["Env"].as_array().context("no Env")?;
    let value = all
        .iter()
        .filter_map(Value::as_str)
        .find_map(|line| line.strip_prefix(&format!("{name}=")));
    Ok(value.with_context(|| format!("no {name}"))?.to_owned())
}

fn counted(stage: &Stage) -> Result<String> {
    stage.create(
        "store",
        "--replicas 3 --restart-delay 100ms --generic-resource ssd=1 tools:latest",
    )?;
    let two = stage.spread("store", [0, 0, 2])?;
    let reason = "insufficient resources on 3 nodes";
    stage.says("store", reason)?;
    for container in stage.running("store")? {
        let told = variable(stage, &container, "DOCKER_RESOURCE_SSD")?;
        ensure!(told == "1", "a task is told of {told}");
    }
    let fewer = FLAGS.map(|flag| {
        if flag.ends_with("ssd=2") {
            "--node-generic-resource=ssd=1"
        } else {
            flag
        }
    });
    let restart = |flags: &[&str]| {
        stage.hosts[2].kill_daemon()?;
        stage.hosts[2].start_daemon(flags)
    };
    restart(&fewer)?;
    let one = stage.spread("store", [0, 0, 1])?;
    restart(&FLAGS)?;
    let again = stage.spread("store", [0, 0, 2])?;
    Ok(format!(
        "three, h3 has two: {two:?}, {reason:?}; it has one: {one:?}; two: {again:?}"
    ))
}

fn named(stage: &Stage) -> Result<String> {
    stage.create(
        "player",
        "--replicas 2 --generic-resource card=1 tools:latest",
    )?;
    let two = stage.spread("player", [0, 0, 2])?;
    let cards = stage
        .running("player")?
        .iter()
        .map(|container| variable(stage, container, "DOCKER_RESOURCE_CARD"))
        .collect::<Result<BTreeSet<_>>>()?;
    let each = ["ace", "king"].map(str::to_owned).into();
    ensure!(cards == each, "they have {cards:?}");
    Ok(format!("{two:?} with {cards:?}"))
}

/// Device nodes that a container was given: on the host, and inside.
fn devices(stage: &Stage, container: &Container) -> Result<Vec<(String, String)>> {
    let inspected = stage.inspect(container)?;
    let devices = inspected["HostConfig"]["Devices"].as_array();
    let text = |device: &Value, key: &str| device[key].as_str().unwrap_or_default().to_owned();
    Ok(devices
        .into_iter()
        .flatten()
        .map(|device| (text(device, "PathOnHost"), text(device, "PathInContainer")))
        .collect())
}

fn gpus(stage: &Stage) -> Result<String> {
    stage.create(
        "train",
        "--replicas 3 --gpus 1 --update-order start-first --update-monitor 500ms tools:latest",
    )?;
    let two = stage.spread("train", [0, 0, 2])?;
    let reason = "device missing or in use on 3 nodes";
    stage.says("train", reason)?;
    let mut given = BTreeSet::new();
    for container in stage.running("train")? {
        for (path, inside) in devices(stage, &container)? {
            stage.exec(&container, &format!("[ -c {inside} ] && echo x >{inside}"))?;
            given.insert(path);
        }
    }
    let each = ["/run/made/gpu0", "/run/made/gpu1"]
        .map(str::to_owned)
        .into();
    ensure!(given == each, "they have {given:?}");
    // Both are taken, so that no new task finds one before an old task stops.
    let before = stage.ids("train")?;
    stage.swarmr("service scale --quiet train=2")?;
    stage.swarmr("service update --quiet --force train")?;
    stage.until("two others run", || {
        let now = stage.ids("train")?;
        ensure!(now.len() == 2 && now.is_disjoint(&before), "{now:?}");
        Ok(())
    })?;
    stage.swarmr("service scale --detach train=1")?;
    let one = stage.spread("train", [0, 0, 1])?;
    stage.create("next", "--gpus 1 tools:latest")?;
    let next = stage.spread("next", [0, 0, 1])?;
    Ok(format!(
        "three, h3 has two: {two:?} with {given:?}, {reason:?}; two updated \
         start-first in their places; scaled to {one:?}, another service has {next:?}"
    ))
}

fn device(stage: &Stage) -> Result<String> {
    stage.create(
        "modem",
        "--device /run/made/modem:/dev/modem:rw tools:latest",
    )?;
    stage.spread("modem", [0, 0, 1])?;
    let first = &stage.running("modem")?[0];
    stage.exec(first, "[ -c /dev/modem ] && echo ATZ >/dev/modem")?;
    stage.create("other", "--device /run/made/modem tools:latest")?;
    stage.says("other", "device missing or in use on 3 nodes")?;
    let explained = stage.swarmr("service explain other")?;
    ensure!(
        explained.contains("/run/made/modem is taken") && explained.contains("is not there"),
        "{explained}"
    );
    stage.swarmr("service rm modem")?;
    let then = stage.spread("other", [0, 0, 1])?;
    Ok(format!(
        "written to in its container on h3; who comes second waits and says why, then {then:?}"
    ))
}

fn host_ports(stage: &Stage) -> Result<String> {
    stage.create(
        "near",
        "--replicas 4 --publish published=8090,target=80,mode=host --update-order start-first \
         --update-monitor 500ms web:1",
    )?;
    let three = stage.spread("near", [1, 1, 1])?;
    let reason = "host-mode port already in use on 3 nodes";
    stage.says("near", reason)?;
    let first = answers(stage, "1")?;
    stage.swarmr("service scale --quiet near=3")?;
    stage.swarmr("service update --quiet --image web:2 --wait-timeout 60s near")?;
    let updated = stage.all_of_image("near", IMAGE_WEB_2, 3)?;
    let then = answers(stage, "2")?;
    ensure!(updated == [1, 1, 1], "they are {updated:?}");
    Ok(format!(
        "four: {three:?}, the fourth says {reason:?}; {first} of version 1 answered, after the update {then} of version 2"
    ))
}

/// Waits until port 8090 of each host is answered by a container of its own; gives how many.
fn answers(stage: &Stage, version: &str) -> Result<usize> {
    let mut servers = BTreeSet::new();
    for host in stage.hosts.iter() {
        let address = SocketAddr::from((host.address(), 8090));
        let client = stage.hosts.client();
        let server = stage.until(&format!("version {version} on {address}"), || {
            let reply = client.get(address, "/", std::time::Duration::from_secs(2))?;
            ensure!(
                reply.word("version").as_deref() == Some(version),
                "{}",
                reply.text()
            );
            reply.word("host").context("no host")
        })?;
        servers.insert(server);
    }
    ensure!(servers.len() == 3, "{servers:?} answered");
    Ok(servers.len())
}

fn plugins(stage: &Stage) -> Result<String> {
    stage.create(
        "logged",
        "--log-driver nowhere --update-monitor 500ms tools:latest",
    )?;
    let reason = "missing plugin on 3 nodes";
    stage.says("logged", reason)?;
    let none = stage.containers("logged")?.len();
    ensure!(none == 0, "{none} containers are there");
    stage.swarmr("service update --detach --quiet --log-driver json-file logged")?;
    let one = stage.counted("logged", "one", |counts| counts.iter().sum::<usize>() == 1)?;
    Ok(format!(
        "a log driver that no engine has: {reason:?}; json-file: {one:?}"
    ))
}

/// The docker command learns an image's platforms from its registry; here they are said.
fn platforms(stage: &Stage) -> Result<String> {
    let info = stage.hosts[0]
        .engine()?
        .send("GET", "/info", "", b"")?
        .json()?;
    let own = info["Architecture"].as_str().context("no Architecture")?;
    for (name, architecture) in [("alien", "s390x"), ("native", own)] {
        let spec = json!({
            "Name": name,
            "TaskTemplate": {
                "ContainerSpec": {"Image": "tools:latest", "StopGracePeriod": 1_000_000_000},
                "Placement": {"Platforms": [{"OS": "linux", "Architecture": architecture}]},
            },
            "Mode": {"Replicated": {"Replicas": 3}},
        });
        let body = serde_json::to_vec(&spec)?;
        let api = stage.hosts[0].swarmr_api()?;
        api.send("POST", "/services/create", "application/json", &body)?
            .json()?;
    }
    let native = stage.spread("native", [1, 1, 1])?;
    let reason = "unsupported platform on 3 nodes";
    stage.says("alien", reason)?;
    let alien = stage.counts("alien")?;
    ensure!(alien == [0, 0, 0], "{alien:?} run");
    Ok(format!(
        "for {own}: {native:?}; for s390x: {alien:?}, {reason:?}"
    ))
}
