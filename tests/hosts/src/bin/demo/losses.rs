//! The steps in which something is lost: a host, the leader, everything.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testhosts::{Host, IMAGE_WEB_1, eventually};

use crate::stage::{PATIENCE, Stage, list};
use crate::steps::only_version;

pub(crate) fn power_loss(stage: &mut Stage) -> Result<String> {
    let first = &stage.hosts[0];
    let leader = stage.leader(first)?.name();
    let spread = stage.spread()?;
    let lost = stage
        .hosts
        .iter()
        .zip(&spread)
        .find(|(host, (_, tasks))| host.name() != leader && *tasks > 0)
        .map(|(host, _)| host)
        .context("no host but the leader's has a task")?;
    let by = stage
        .hosts
        .iter()
        .find(|host| host.name() != lost.name())
        .context("another host")?;
    stage.aim(|host| host.name() != lost.name())?;
    stage.requests()?;

    println!("  {} loses its power", lost.name());
    let begin = Instant::now();
    lost.power_off()?;
    let mut apps = stage.apps();
    let replaced = eventually("the tasks are replaced", PATIENCE, || {
        let accepting = apps.accepting();
        ensure!(
            accepting == 4,
            "{accepting} of 4 applications accept connections"
        );
        Ok(Instant::now())
    })?;
    let replaced = (replaced - begin).as_secs_f64();
    println!("  seen: after {replaced:.1} s 4 applications accept connections on the survivors");
    stage.count(4)?;
    let during = stage.requests()?;
    stage.swarmr_ok(by, &["node", "ls"])?;
    thread::sleep(Duration::from_secs(2));
    stage
        .all_answered()
        .context("after the tasks were replaced")?;

    println!("  {} has power again", lost.name());
    lost.power_on()?;
    lost.start_engine()?;
    lost.start_daemon(&[])?;
    stage.nodes_ready(by, 3)?;
    stage.count(4)?;
    stage.swarmr_ok(by, &["service", "scale", "web=8"])?;
    stage.count(8)?;
    let used = lost.service_containers("web")?.len();
    ensure!(used > 0, "{} is not used again", lost.name());
    stage.ask_everywhere(&[lost])?;
    stage.aim(|_| true)?;
    Ok(format!(
        "replaced after {replaced:.1} s, {} of {} requests failed meanwhile; back, clean, {used} of 8 tasks",
        during.failed, during.sent
    ))
}

pub(crate) fn leader_killed(stage: &mut Stage) -> Result<String> {
    let leader = stage.leader(&stage.hosts[0])?;
    let by = stage
        .hosts
        .iter()
        .find(|host| host.name() != leader.name())
        .context("another host")?;
    stage.swarmr_ok(by, &["service", "scale", "web=8"])?;
    // What a dead daemon's tables say is not judged here: only the others.
    stage.aim(|host| host.name() != leader.name())?;
    stage.requests()?;
    let words = [
        "service",
        "update",
        "-d",
        "--image",
        IMAGE_WEB_1,
        "--update-parallelism",
        "1",
    ];
    stage.swarmr_ok(by, &[&words[..], &["--update-delay", "2s", "web"]].concat())?;
    let done = eventually("the update has begun", PATIENCE, || {
        let done = running_with(stage, by, IMAGE_WEB_1)?;
        ensure!(done >= 1, "no task is updated yet");
        Ok(done)
    })?;
    let started = stage.look(by, "/services/web")?["UpdateStatus"]["StartedAt"].clone();

    println!(
        "  kill -9 of the leader's daemon on {}, with {done} of 8 tasks updated",
        leader.name()
    );
    let begin = Instant::now();
    leader.kill_daemon()?;
    let wait = first_write(by)? - begin;
    let wait_ms = wait.as_secs_f64() * 1000.0;
    println!(
        "  seen: {} accepts a write after {wait_ms:.0} ms",
        by.name()
    );
    eventually("another leads", PATIENCE, || {
        let new = stage.leader(by)?.name();
        ensure!(new != leader.name(), "{new} still leads");
        Ok(())
    })?;

    // The dead daemon's tasks can only be updated once it is back.
    leader.start_daemon(&[])?;
    eventually("the update is completed", PATIENCE, || {
        let service = stage.look(by, "/services/web")?;
        let status = &service["UpdateStatus"];
        ensure!(status["State"] == "completed", "the update is {status}");
        ensure!(
            status["StartedAt"] == started,
            "it is another update: {status}"
        );
        Ok(())
    })?;
    stage.nodes_ready(by, 3)?;
    stage.swarmr_ok(by, &["node", "ls"])?;
    stage.count(8)?;
    let answered = stage.all_answered()?;
    stage.aim(|_| true)?;
    only_version(stage, "1")?;
    Ok(format!(
        "next write after {wait_ms:.0} ms, update continued and completed, {answered}"
    ))
}

pub(crate) fn all_killed(stage: &mut Stage) -> Result<String> {
    let first = &stage.hosts[0];
    stage.nodes_ready(first, 3)?;
    let containers = stage.container_ids()?;
    let identity = |by: &Host| -> Result<(Value, Vec<Value>)> {
        let cluster = stage.look(by, "/swarm")?["ID"].clone();
        let services = stage.look(by, "/services")?;
        let mut services: Vec<_> = list(&services)
            .iter()
            .map(|each| each["ID"].clone())
            .collect();
        services.sort_by_key(ToString::to_string);
        Ok((cluster, services))
    };
    let before = identity(first)?;
    stage.requests()?;

    println!("  kill -9 of all daemons");
    stage.hosts.each(Host::kill_daemon)?;
    thread::sleep(Duration::from_secs(3));
    let alone = stage.all_answered().context("while no daemon ran")?;
    stage.hosts.each(|host| host.start_daemon(&[]))?;
    same_again(stage, &containers)?;
    ensure!(
        identity(first)? == before,
        "another cluster, or other services"
    );
    let restarted = stage
        .all_answered()
        .context("while the daemons came back")?;

    println!("  kill -9 of all engines");
    stage.hosts.each(Host::kill_engine)?;
    thread::sleep(Duration::from_secs(3));
    stage.hosts.each(Host::start_engine)?;
    same_again(stage, &containers)?;
    ensure!(
        identity(first)? == before,
        "another cluster, or other services"
    );
    let engines = stage
        .all_answered()
        .context("while the engines came back")?;
    stage.swarmr_ok(first, &["service", "ps", "web"])?;
    Ok(format!(
        "the same {} containers after both; without daemons {alone}, restart {restarted}, engines {engines}",
        containers.len()
    ))
}

/// Waits until the cluster is whole, takes writes, and its containers are
/// exactly these; and still are a little later.
fn same_again(stage: &Stage, containers: &BTreeSet<String>) -> Result<()> {
    for host in stage.hosts.iter() {
        stage.nodes_ready(host, 3)?;
    }
    first_write(&stage.hosts[0])?;
    for _ in 0..3 {
        let now = stage.container_ids()?;
        let (lost, new) = (
            containers.difference(&now).count(),
            now.difference(containers).count(),
        );
        ensure!(lost == 0 && new == 0, "{lost} containers lost, {new} new");
        thread::sleep(Duration::from_secs(2));
    }
    println!(
        "  seen: the same {} containers by docker ps",
        containers.len()
    );
    Ok(())
}

/// Running tasks of `web` with this image.
fn running_with(stage: &Stage, by: &Host, image: &str) -> Result<usize> {
    let tasks = stage.look(by, "/tasks?filters=%7B%22service%22%3A%5B%22web%22%5D%7D")?;
    Ok(list(&tasks)
        .iter()
        .filter(|task| task["Status"]["State"] == "running" && task["DesiredState"] == "running")
        .filter(|task| {
            let spec = task["Spec"]["ContainerSpec"]["Image"]
                .as_str()
                .unwrap_or_default();
            spec.split('@').next() == Some(image)
        })
        .count())
}

/// Tries to write through `by` until it is accepted, and says when that was.
fn first_write(by: &Host) -> Result<Instant> {
    let api = by.swarmr_api()?.within(Duration::from_secs(1));
    eventually("a write is accepted", PATIENCE, || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let config = json!({"Name": format!("written-{now}"), "Labels": {}, "Data": "eA=="});
        api.post("/configs/create", &config)?;
        Ok(Instant::now())
    })
}
