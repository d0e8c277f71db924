//! The real thing: engines on hosts of namespaces, judged by containers counted and requests
//! answered, driven by the unmodified docker CLI.

mod dataplane;
mod doctor;
mod draining;
mod encryption;
mod leaks;
mod losses;
mod network;
mod rules;
mod updates;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testhosts::{Apps, Host, Hosts, Probe, Setup, WEB_PORT, Window, eventually};

/// How long anything here may take before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests a second of a stream.
const RATE: u32 = 50;

/// Hosts that form one cluster, all of them managers.
fn cluster(hosts: u8) -> Result<Hosts> {
    let hosts = Hosts::with_engines(&Setup::swarmr(hosts, env!("CARGO_BIN_EXE_swarmr")))?;
    hosts.each(|host| host.start_daemon(&[]))?;
    form(&hosts)?;
    Ok(hosts)
}

/// Makes one cluster of hosts whose daemons run.
fn form(hosts: &Hosts) -> Result<()> {
    let mut hosts = hosts.iter();
    let first = hosts.next().context("no host")?;
    init(first)?;
    hosts.try_for_each(|host| join(first, host))
}

/// Makes a cluster of one.
fn init(first: &Host) -> Result<()> {
    let address = first.address().to_string();
    let words = ["swarm", "init", "--advertise-addr", &address];
    first.docker_on_swarmr(&words)?.ok().map(drop)
}

/// Makes a host a manager of the first one's cluster.
fn join(first: &Host, host: &Host) -> Result<()> {
    let token = first
        .docker_on_swarmr(&["swarm", "join-token", "-q", "manager"])?
        .ok()?;
    let manager = format!("{}:2377", first.address());
    host.docker_on_swarmr(&["swarm", "join", "--token", token.trim(), &manager])
        .and_then(testhosts::Output::ok)
        .map(drop)
        .with_context(|| format!("{} joins", host.name()))
}

/// Waits until `service` has that many running containers, on all hosts together.
fn running(hosts: &Hosts, service: &str, count: usize) -> Result<Vec<usize>> {
    eventually(
        &format!("{count} containers of {service}"),
        PATIENCE,
        || {
            let each = hosts
                .iter()
                .map(|host| Ok(host.service_containers(service)?.len()))
                .collect::<Result<Vec<_>>>()?;
            ensure!(each.iter().sum::<usize>() == count, "{each:?} run");
            Ok(each)
        },
    )
}

/// Where the service's port is published, on those hosts that are wanted.
fn published(hosts: &Hosts, wanted: impl Fn(&Host) -> bool) -> Vec<SocketAddr> {
    let wanted = hosts.iter().filter(|host| wanted(host));
    wanted
        .map(|host| SocketAddr::from((host.address(), WEB_PORT)))
        .collect()
}

/// A service on every host's port, whose tasks serve.
fn serve(hosts: &Hosts, replicas: usize) -> Result<()> {
    hosts[0].create_web(replicas)?;
    running(hosts, "web", replicas)?;
    Apps::new(hosts.iter(), 80).wait(replicas, PATIENCE)?;
    Ok(())
}

/// What was asked since the last look, none of which may have failed.
fn all_answered(probe: &Probe) -> Result<Window> {
    let window = probe.take()?;
    ensure!(window.sent > 0, "nothing was asked");
    ensure!(window.failed == 0, "{window}");
    Ok(window)
}
