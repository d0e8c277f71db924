//! What is left on a host when everything was removed: nothing.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use testhosts::{Host, Hosts, IMAGE_TOOLS, Probe, Setup, eventually};

use super::{PATIENCE, RATE, all_answered, form, published, running, serve};

/// Everything that a network of ours leaves its marks on, under a name each.
/// What counts up by itself (handles, packets, ages) is left out.
const DUMPS: [(&str, &str); 9] = [
    (
        "devices",
        "ip -o link | awk '{print $2}' | sed 's/@.*//' | sort",
    ),
    ("addresses", "ip -o address | awk '{print $2, $4}' | sort"),
    ("rules", "ip rule; ip -6 rule"),
    (
        "routes",
        // The wire's own come when the kernel has made sure of its address.
        "ip -4 route show table all; ip -6 route show table all | grep -v ' dev eth0 '",
    ),
    (
        "neighbours",
        "ip neighbour show nud permanent | sort; bridge fdb | sort",
    ),
    ("packet filter", "nft -s list ruleset"),
    (
        "sockets",
        "ss -Hlntu | awk '$5 !~ /:2377$/ {print $1, $5}' | sort",
    ),
    // Of overlays: ours are in 10.0.0.0/8, and nothing else here is.
    (
        "connections",
        "grep -oE ' (src|dst)=10\\.[0-9.]+' /proc/net/nf_conntrack | sort -u || true",
    ),
    (
        "engine networks",
        "docker -H unix:///run/docker.sock network ls --format '{{.Name}} {{.Driver}}' | sort",
    ),
];

type Dump = BTreeMap<&'static str, String>;

fn dump(host: &Host) -> Result<Dump> {
    let mut dump = Dump::new();
    for (name, script) in DUMPS {
        dump.insert(name, host.sh(&format!("set -e; {script}"))?.ok()?);
    }
    Ok(dump)
}

/// Waits until a host is as it was `before`.
fn clean(host: &Host, before: &Dump) -> Result<()> {
    eventually("nothing is left", PATIENCE, || {
        for (name, now) in dump(host)? {
            let was = &before[name];
            ensure!(
                &now == was,
                "{name} of {}:\n{now}\nbefore:\n{was}",
                host.name()
            );
        }
        Ok(())
    })
}

#[test]
fn removed_networks_and_services_leave_nothing_behind() {
    let swarmr = env!("CARGO_BIN_EXE_swarmr");
    let hosts = Hosts::with_engines(&Setup::swarmr(2, swarmr)).unwrap();
    hosts.explain(nothing_is_left(&hosts)).unwrap();
}

fn nothing_is_left(hosts: &Hosts) -> Result<()> {
    let dumps = || hosts.iter().map(dump).collect::<Result<Vec<_>>>();
    let untouched = dumps()?;
    hosts.each(|host| host.start_daemon(&[]))?;
    form(hosts)?;
    let first = &hosts[0];
    let docker = |words: &[&str]| first.docker_on_swarmr(words)?.ok();
    let formed = dumps()?;
    for network in ["front", "back"] {
        docker(&["network", "create", "-d", "overlay", network])?;
    }
    serve(hosts, 4)?;
    docker(&[
        "service",
        "update",
        "--detach",
        "--network-add",
        "front",
        "web",
    ])?;
    docker(&[
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--name",
        "shell",
        "--replicas",
        "4",
        "--network",
        "front",
        "--network",
        "back",
        IMAGE_TOOLS,
    ])?;
    running(hosts, "web", 4)?;
    running(hosts, "shell", 4)?;
    let probe = Probe::start(hosts.client(), published(hosts, |_| true), RATE)?;
    eventually("the port answers", PATIENCE, || all_answered(&probe))?;
    drop(probe);
    for (host, before) in hosts.iter().zip(&formed) {
        let now = dump(host)?;
        for name in [
            "devices",
            "addresses",
            "packet filter",
            "sockets",
            "engine networks",
        ] {
            ensure!(
                now[name] != before[name],
                "{name} show nothing of what is there"
            );
        }
    }
    docker(&["service", "rm", "web", "shell"])?;
    running(hosts, "web", 0)?;
    running(hosts, "shell", 0)?;
    for network in ["front", "back", "app"] {
        eventually("the network is free", PATIENCE, || {
            docker(&["network", "rm", network])
        })?;
    }
    for (host, before) in hosts.iter().zip(&formed) {
        clean(host, before).context("after services and networks were removed")?;
    }
    for (host, before) in hosts.iter().zip(&untouched) {
        let words = [
            "swarmr",
            "--socket=/run/swarmr/docker.sock",
            "uninstall",
            "--force",
            "--state-dir=/var/lib/swarmr",
            "--engine=unix:///run/docker.sock",
        ];
        host.run(&words)?.ok()?;
        clean(host, before).context("after it was uninstalled")?;
    }
    Ok(())
}
