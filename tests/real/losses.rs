//! Hosts that lose their power or their daemon, under a stream of requests.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use testhosts::{Apps, Host, Hosts, IMAGE_WEB_1, Probe, Window, eventually};

use super::{PATIENCE, cluster, running};

/// Requests a second.
const RATE: u32 = 50;

fn published(hosts: &Hosts, wanted: impl Fn(&Host) -> bool) -> Vec<SocketAddr> {
    let wanted = hosts.iter().filter(|host| wanted(host));
    wanted
        .map(|host| SocketAddr::from((host.address(), 8080)))
        .collect()
}

/// A service on port 8080 of every host.
fn serve(hosts: &Hosts, replicas: usize) -> Result<()> {
    hosts[0]
        .docker_on_swarmr(&["network", "create", "-d", "overlay", "app"])?
        .ok()?;
    let words = [
        "service",
        "create",
        "--detach",
        "--name",
        "web",
        "--network",
        "app",
        "-p",
        "8080:80",
        "--no-resolve-image",
        "--replicas",
        &replicas.to_string(),
        IMAGE_WEB_1,
    ];
    hosts[0].docker_on_swarmr(&words)?.ok()?;
    running(hosts, "web", replicas)?;
    Apps::new(hosts.iter(), 80).wait(replicas, PATIENCE)?;
    Ok(())
}

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

fn all_answered(probe: &Probe) -> Result<Window> {
    let window = probe.take()?;
    ensure!(window.sent > 0, "nothing was asked");
    ensure!(window.failed == 0, "{window}");
    Ok(window)
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
    probe.take()?;
    eventually("all requests of a while are answered", PATIENCE, || {
        all_answered(&probe)
    })?;
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
