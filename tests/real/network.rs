//! Names, virtual addresses and published ports.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use testhosts::{Host, Hosts, IMAGE_TOOLS, IMAGE_WEB_1, eventually};

use super::{PATIENCE, cluster, running};

#[test]
fn a_service_is_reached_by_name_by_address_and_on_every_host() {
    let hosts = cluster(3).unwrap();
    hosts.explain(reached(&hosts)).unwrap();
}

fn reached(hosts: &Hosts) -> Result<()> {
    let docker = |words: &[&str]| hosts[1].docker_on_swarmr(words)?.ok();
    docker(&["network", "create", "-d", "overlay", "app"])?;
    docker(&[
        "service",
        "create",
        "--detach",
        "--name",
        "web",
        "--replicas",
        "6",
        "--network",
        "app",
        "-p",
        "8080:80",
        "--no-resolve-image",
        IMAGE_WEB_1,
    ])?;
    docker(&[
        "service",
        "create",
        "--detach",
        "--name",
        "tools",
        "--replicas",
        "1",
        "--network",
        "app",
        "--no-resolve-image",
        IMAGE_TOOLS,
        "sleep",
        "1000000",
    ])?;
    let spread = running(hosts, "web", 6)?;
    ensure!(spread == [2, 2, 2], "spread as {spread:?}");
    running(hosts, "tools", 1)?;

    let client = hosts.client();
    for host in hosts.iter() {
        let address = SocketAddr::new(host.address().into(), 8080);
        let mut seen = std::collections::BTreeSet::new();
        eventually(
            &format!("answers of all six tasks on {address}"),
            PATIENCE,
            || {
                let reply = client.get(address, "/", PATIENCE)?;
                ensure!(
                    reply.word("client") == Some(client.address().to_string()),
                    "it saw {}",
                    reply.text()
                );
                seen.insert(reply.word("server"));
                ensure!(seen.len() == 6, "so far {seen:?}");
                Ok(())
            },
        )?;
        let local = host.get(
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), 8080),
            "/",
        )?;
        ensure!(
            local.status == 200,
            "localhost on {}: {}",
            host.name(),
            local.status
        );
    }
    let host = hosts.iter().find(|host| {
        host.service_containers("tools")
            .is_ok_and(|found| !found.is_empty())
    });
    let host = host.expect("one host runs it");
    let tools = &host.service_containers("tools")?[0];
    for name in ["web", "tasks.web", "web.3"] {
        let script =
            format!("wget -qO- http://$(getent ahostsv4 {name} | head -1 | cut -d' ' -f1)/");
        let answer = host.docker(&["exec", tools, "sh", "-c", &script])?.ok()?;
        ensure!(answer.contains("version"), "{name} answered {answer}");
    }
    no_address_for_strangers(host)
}

/// What the managers will give to a task, the engine gives to nobody.
fn no_address_for_strangers(host: &Host) -> Result<()> {
    let words = [
        "network",
        "ls",
        "--filter",
        "label=io.swarmr.network",
        "--format",
        "{{.Name}}",
    ];
    let networks = host.docker(&words)?.ok()?;
    ensure!(!networks.is_empty(), "no engine network is ours");
    for network in networks.lines() {
        let refused = host.docker(&["run", "--rm", "--network", network, IMAGE_TOOLS, "true"])?;
        ensure!(
            refused.stderr.contains("no available IPv4 addresses"),
            "on {network}: {refused}"
        );
    }
    Ok(())
}
