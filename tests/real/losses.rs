//! Hosts that lose their power or their daemon, under a stream of requests.

use anyhow::{Context as _, Result, ensure};
use testhosts::{Apps, Host, Hosts, IMAGE_WEB_2, Probe, eventually};

use super::{PATIENCE, RATE, all_answered, cluster, published, running, serve};

fn nodes_ready(by: &Host, count: usize) -> Result<()> {
    eventually(&format!("{count} nodes are ready"), PATIENCE, || {
        let listed = by
            .docker_on_swarmr(&["node", "ls", "--format", "{{.Status}}"])?
            .ok()?;
        let ready = listed.lines().filter(|status| *status == "Ready").count();
        ensure!(ready == count, "{listed}");
        Ok(())
    })
}

/// Waits until a second of requests, one after the other, was answered.
fn steady(probe: &Probe) -> Result<()> {
    let mut answered = 0;
    eventually("a second of requests is answered", PATIENCE, || {
        let window = probe.take()?;
        answered = if window.failed == 0 {
            answered + window.sent
        } else {
            0
        };
        ensure!(answered >= RATE as usize, "{answered} so far");
        Ok(())
    })
}

#[test]
fn a_host_that_has_power_again_serves_without_a_failed_request() {
    let hosts = cluster(3).unwrap();
    hosts.explain(power_again(&hosts)).unwrap();
}

fn power_again(hosts: &Hosts) -> Result<()> {
    serve(hosts, 4)?;
    let (first, lost) = (&hosts[0], &hosts[1]);
    let survivors = |host: &Host| host.name() != lost.name();
    let probe = Probe::start(hosts.client(), published(hosts, survivors), RATE)?;
    lost.power_off()?;
    Apps::new(hosts.iter().filter(|host| host.is_on()), 80).wait(4, PATIENCE)?;
    // What was sent while nobody knew may fail, and nothing after that.
    steady(&probe)?;
    lost.power_on()?;
    lost.start_engine()?;
    lost.start_daemon(&[])?;
    nodes_ready(first, 3)?;
    first
        .docker_on_swarmr(&["service", "scale", "--detach", "web=8"])?
        .ok()?;
    running(hosts, "web", 8)?;
    Apps::new(hosts.iter(), 80).wait(8, PATIENCE)?;
    all_answered(&probe)?;
    Ok(())
}

#[test]
fn an_update_goes_on_without_the_leader_that_began_it() {
    let hosts = cluster(3).unwrap();
    hosts.explain(goes_on(&hosts)).unwrap();
}

fn goes_on(hosts: &Hosts) -> Result<()> {
    serve(hosts, 6)?;
    let leads = |host: &&Host| {
        let self_led = [
            "node",
            "inspect",
            "self",
            "--format",
            "{{.ManagerStatus.Leader}}",
        ];
        let said = host.docker_on_swarmr(&self_led);
        said.is_ok_and(|output| output.stdout.trim() == "true")
    };
    let leader = hosts.iter().find(leads).context("nobody leads")?;
    let by = hosts
        .iter()
        .find(|host| host.name() != leader.name())
        .context("another host")?;
    let docker = |words: &[&str]| by.docker_on_swarmr(words)?.ok();
    // What a dead daemon's own tables say is not judged here.
    let living = |host: &Host| host.name() != leader.name();
    let probe = Probe::start(hosts.client(), published(hosts, living), RATE)?;
    docker(&[
        "service",
        "update",
        "--detach",
        "--no-resolve-image",
        "--image",
        IMAGE_WEB_2,
        "--update-delay",
        "1s",
        "web",
    ])?;
    let done = || -> Result<usize> {
        let format = "{{.Image}} {{.CurrentState}}";
        let filter = "desired-state=running";
        let tasks = docker(&[
            "service", "ps", "--filter", filter, "--format", format, "web",
        ])?;
        let new = format!("{IMAGE_WEB_2} Running");
        Ok(tasks.lines().filter(|task| task.starts_with(&new)).count())
    };
    eventually("the update has begun", PATIENCE, || {
        ensure!(done()? >= 1, "not yet");
        Ok(())
    })?;
    leader.kill_daemon()?;
    eventually("another leader takes a write", PATIENCE, || {
        docker(&["config", "create", "written", "/etc/hostname"])
    })?;
    let halfway = done()?;
    ensure!(halfway < 6, "the update was over before its leader was");
    leader.start_daemon(&[])?;
    eventually("the update is completed", PATIENCE, || {
        let state = docker(&[
            "service",
            "inspect",
            "--format",
            "{{.UpdateStatus.State}}",
            "web",
        ])?;
        ensure!(state.trim() == "completed", "it is {state}");
        Ok(())
    })?;
    running(hosts, "web", 6)?;
    ensure!(done()? == 6, "not all are of the new image");
    all_answered(&probe)?;
    Ok(())
}
