//! The real thing: engines on hosts of namespaces, judged by containers counted and requests
//! answered, driven by the unmodified docker CLI.

mod losses;
mod network;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testhosts::{Hosts, Setup, eventually};

/// How long anything here may take before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hosts that form one cluster, all of them managers.
fn cluster(hosts: u8) -> Result<Hosts> {
    let hosts = Hosts::with_engines(&Setup::swarmr(hosts, env!("CARGO_BIN_EXE_swarmr")))?;
    hosts.each(|host| host.start_daemon(&[]))?;
    let first = &hosts[0];
    first
        .docker_on_swarmr(&[
            "swarm",
            "init",
            "--advertise-addr",
            &first.address().to_string(),
        ])?
        .ok()?;
    let token = first
        .docker_on_swarmr(&["swarm", "join-token", "-q", "manager"])?
        .ok()?;
    let manager = format!("{}:2377", first.address());
    for host in hosts.iter().skip(1) {
        host.docker_on_swarmr(&["swarm", "join", "--token", token.trim(), &manager])
            .and_then(testhosts::Output::ok)
            .with_context(|| format!("{} joins", host.name()))?;
    }
    Ok(hosts)
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
