//! What goes on while a daemon is dead: every packet, every name, every port.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use testhosts::{Host, Hosts, IMAGE_TOOLS, Probe, eventually};

use super::{PATIENCE, all_answered, cluster, published, running, serve};

/// Requests a second, to all hosts together.
const MANY: u32 = 1000;

#[test]
fn a_daemon_that_is_killed_or_replaced_stops_nothing() {
    let hosts = cluster(2).unwrap();
    hosts.explain(stops_nothing(&hosts)).unwrap();
}

fn stops_nothing(hosts: &Hosts) -> Result<()> {
    serve(hosts, 4)?;
    let words = [
        "service",
        "create",
        "--detach",
        "--name",
        "tools",
        "--mode",
        "global",
        "--network",
        "app",
        "--no-resolve-image",
        IMAGE_TOOLS,
        "sleep",
        "1000000",
    ];
    hosts[0].docker_on_swarmr(&words)?.ok()?;
    running(hosts, "tools", 2)?;
    let holders = hosts.iter().map(holder).collect::<Result<Vec<_>>>()?;
    let probe = Probe::start(hosts.client(), published(hosts, |_| true), MANY)?;
    eventually("requests are answered", PATIENCE, || all_answered(&probe))?;

    hosts.each(Host::kill_daemon)?;
    hosts.each(serves)?;
    let killed = all_answered(&probe)?;
    println!(
        "while no daemon runs: {killed}, the slowest {:?}",
        killed.slowest
    );
    hosts.each(|host| host.start_daemon(&[]))?;
    hosts.each(serves)?;
    let back = all_answered(&probe)?;
    println!(
        "while daemons come back: {back}, the slowest {:?}",
        back.slowest
    );

    // As an upgrade does it.
    hosts.each(|host| {
        let daemon = host.daemon().context("no daemon")?;
        daemon.signal(Signal::SIGTERM);
        eventually("the daemon ends", PATIENCE, || {
            ensure!(!daemon.is_alive(), "it goes on");
            Ok(())
        })?;
        host.start_daemon(&[])
    })?;
    let replaced = all_answered(&probe)?;
    println!(
        "while daemons are replaced: {replaced}, the slowest {:?}",
        replaced.slowest
    );
    let now = hosts.iter().map(holder).collect::<Result<Vec<_>>>()?;
    ensure!(
        now == holders,
        "other processes hold the data plane: {holders:?}, {now:?}"
    );
    drop(probe);

    // And if that process dies, there is another.
    let host = &hosts[1];
    for process in host.processes_named(&["swarmr", "dataplane"]) {
        process.kill();
    }
    eventually("another process serves", PATIENCE, || serves(host))?;
    ensure!(holder(host)? != holders[1], "the process was not killed");
    hosts[1]
        .docker_on_swarmr(&["swarm", "leave", "--force"])?
        .ok()?;
    let left = host.processes_named(&["swarmr", "dataplane"]);
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The one process that holds names and ports.
fn holder(host: &Host) -> Result<i32> {
    let found = host.processes_named(&["swarmr", "dataplane"]);
    ensure!(found.len() == 1, "{}: {found:?}", host.name());
    Ok(found[0].pid)
}

/// Names and the published port over IPv6 work on a host.
fn serves(host: &Host) -> Result<()> {
    let reply = host.get((Ipv6Addr::LOCALHOST, 8080), "/")?;
    ensure!(reply.status == 200, "over IPv6: {}", reply.status);
    let tools = host.service_containers("tools")?;
    let tools = tools.first().context("no container to ask from")?;
    let script = "getent ahostsv4 web && getent ahostsv4 web.1";
    host.docker(&["exec", tools, "sh", "-c", script])?.ok()?;
    Ok(())
}
