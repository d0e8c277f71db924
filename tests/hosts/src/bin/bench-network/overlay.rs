//! How much goes from a container to one on another host, and how long a packet
//! takes: over swarmr's plain and encrypted networks, over Docker's overlay,
//! and between the hosts themselves. Both ends and all that is between them
//! share this machine's processors.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhosts::{Host, Hosts, IMAGE_TOOLS, Setup, eventually};

use crate::report::Report;

/// How long each stream goes on.
const SECONDS: &str = "5";
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Where iperf3 listens.
const PORT: &str = "5201";
const DOCKER: &str = "docker overlay";

/// What one way was worth, a sample each round.
#[derive(Debug, Default)]
struct Samples {
    gigabits: Vec<f64>,
    ping_us: Vec<f64>,
}

/// Where one end of a measurement is: the process whose network it is.
struct End<'a> {
    host: &'a Host,
    pid: String,
    address: String,
}

/// Adds the rows `overlay_plain`, `overlay_encrypted` and `veth`, and those of
/// their pings.
pub(crate) fn measure(swarmr: &Path, rounds: usize, report: &mut Report) -> Result<()> {
    let mut all: [Samples; 4] = Default::default();
    let [plain, encrypted, veth, docker] = &mut all;
    for round in 1..=rounds {
        eprintln!("overlay: round {round} of {rounds}");
        let hosts = cluster(Some(swarmr))?;
        hosts.explain(swarmr_round(&hosts, plain, encrypted, veth))?;
        drop(hosts);
        let hosts = cluster(None)?;
        hosts.explain(docker_round(&hosts, docker))?;
    }
    let [plain, encrypted, veth, docker] = all;
    let beside = |samples: &[f64]| (DOCKER, samples.to_vec());
    let stream = beside(&docker.gigabits);
    report.beside("overlay_plain", "Gb/s", plain.gigabits, stream.clone());
    report.beside("overlay_encrypted", "Gb/s", encrypted.gigabits, stream);
    report.floor("veth", "Gb/s", veth.gigabits);
    let ping = beside(&docker.ping_us);
    report.beside("overlay_plain_ping", "µs", plain.ping_us, ping.clone());
    report.beside("overlay_encrypted_ping", "µs", encrypted.ping_us, ping);
    report.floor("veth_ping", "µs", veth.ping_us);
    Ok(())
}

/// Two hosts in one cluster, of swarmr or of Docker's own.
fn cluster(swarmr: Option<&Path>) -> Result<Hosts> {
    let setup = match swarmr {
        Some(swarmr) => Setup::swarmr(2, swarmr),
        None => Setup {
            live_restore: false,
            ..Setup::engines(2)
        },
    };
    let hosts = Hosts::with_engines(&setup)?;
    if swarmr.is_some() {
        hosts.each(|host| host.start_daemon(&[]))?;
    }
    let command = |host: &Host, words: &[&str]| match swarmr {
        Some(_) => host.docker_on_swarmr(words)?.ok(),
        None => host.docker(words)?.ok(),
    };
    let address = |host: &Host| host.address().to_string();
    let first = address(&hosts[0]);
    command(&hosts[0], &["swarm", "init", "--advertise-addr", &first])?;
    let token = command(&hosts[0], &["swarm", "join-token", "-q", "worker"])?;
    let join = [
        "swarm",
        "join",
        "--token",
        token.trim(),
        "--advertise-addr",
        &address(&hosts[1]),
        &format!("{first}:2377"),
    ];
    command(&hosts[1], &join)?;
    Ok(hosts)
}

fn swarmr_round(
    hosts: &Hosts,
    plain: &mut Samples,
    encrypted: &mut Samples,
    veth: &mut Samples,
) -> Result<()> {
    let between_hosts = hosts.iter().map(|host| End {
        host,
        pid: "self".to_owned(),
        address: host.address().to_string(),
    });
    veth.add(&between_hosts.collect::<Vec<_>>())?;
    for (name, option, samples) in [
        ("plain", "encrypted=false", plain),
        ("secret", "encrypted=true", encrypted),
    ] {
        let network = ["network", "create", "-d", "overlay", "--opt", option, name];
        hosts[0].docker_on_swarmr(&network)?.ok()?;
        hosts[0].docker_on_swarmr(&service(name))?.ok()?;
        samples.add(&ends(hosts, name)?)?;
    }
    Ok(())
}

fn docker_round(hosts: &Hosts, samples: &mut Samples) -> Result<()> {
    hosts[0]
        .docker(&["network", "create", "-d", "overlay", "plain"])?
        .ok()?;
    hosts[0].docker(&service("plain"))?.ok()?;
    samples.add(&ends(hosts, "plain")?)
}

/// A container on every host, on the network of the same name.
fn service(name: &str) -> [&str; 12] {
    [
        "service",
        "create",
        "--detach",
        "--name",
        name,
        "--mode=global",
        "--network",
        name,
        "--no-resolve-image",
        IMAGE_TOOLS,
        "sleep",
        "1000000",
    ]
}

fn ends<'a>(hosts: &'a Hosts, service: &str) -> Result<Vec<End<'a>>> {
    eventually("the containers run", READY_LIMIT, || {
        let found = hosts.iter().map(|host| end(host, service));
        found.collect()
    })
}

fn end<'a>(host: &'a Host, service: &str) -> Result<End<'a>> {
    let containers = host.service_containers(service)?;
    let container = containers.first().context("no container")?;
    let inspected = host.docker(&["inspect", container])?.ok()?;
    let inspected: Value = serde_json::from_str(&inspected)?;
    let networks = inspected[0]["NetworkSettings"]["Networks"].as_object();
    let addresses = networks.into_iter().flat_map(|all| all.values());
    let address = addresses
        .filter_map(|network| network["IPAddress"].as_str())
        .find(|address| !address.is_empty());
    Ok(End {
        host,
        pid: inspected[0]["State"]["Pid"].to_string(),
        address: address.context("no address")?.to_owned(),
    })
}

impl Samples {
    /// From the first end to the second.
    fn add(&mut self, ends: &[End<'_>]) -> Result<()> {
        let [from, to] = ends else {
            anyhow::bail!("{} ends instead of two", ends.len());
        };
        let listen = format!(
            "{} iperf3 --server --one-off --daemon --port {PORT}",
            to.enter()
        );
        to.host.sh(&listen)?.ok()?;
        // The first packets find their way.
        from.host
            .sh(&format!(
                "{} ping -c 20 -i 0.01 -q {}",
                from.enter(),
                to.address
            ))?
            .ok()?;
        let ping = format!("{} ping -c 2000 -i 0.001 -q {}", from.enter(), to.address);
        let said = from.host.sh(&ping)?.ok()?;
        self.ping_us.push(average_us(&said)?);
        let stream = format!(
            "{} iperf3 --client {} --port {PORT} --time {SECONDS} --json",
            from.enter(),
            to.address
        );
        let said = from.host.sh(&stream)?.ok()?;
        let said: Value = serde_json::from_str(&said).context("iperf3's report")?;
        let bits = said["end"]["sum_received"]["bits_per_second"].as_f64();
        let bits = bits.with_context(|| format!("no rate in {said}"))?;
        ensure!(bits > 0.0, "nothing came through");
        self.gigabits.push(bits / 1e9);
        Ok(())
    }
}

impl End<'_> {
    /// How a command gets there.
    fn enter(&self) -> String {
        format!("nsenter --net=/proc/{}/ns/net", self.pid)
    }
}

/// From ping's last line: `rtt min/avg/max/mdev = 0.020/0.031/0.100/0.010 ms`.
fn average_us(said: &str) -> Result<f64> {
    let times = said.rsplit_once(" = ").map(|(_, times)| times);
    let average = times.and_then(|times| times.split('/').nth(1));
    let average = average.with_context(|| format!("no times in {said:?}"))?;
    Ok(average.parse::<f64>()? * 1000.0)
}
