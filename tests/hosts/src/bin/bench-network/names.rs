//! What a resolver's answer costs: processor time of the server for each query,
//! for whoever asks is busy long before the server is. swarmr's resolver, the
//! engine's own, unbound where it is installed, and a program that sends back
//! what comes, in turn, each asked the same by dnsperf.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testhosts::{Host, Hosts, IMAGE_TOOLS, Setup, eventually, image_archive};

use crate::report::Report;

/// Names that are asked for, one after the other.
const NAMES: u32 = 1_000;
/// Services that swarmr's resolver knows.
const SERVICES: &str = "10000";
/// How long each server is asked for at a time.
const SECONDS: &str = "10";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Swarmr,
    Echo,
    Unbound,
    Docker,
}

impl Server {
    const ALL: [Self; 4] = [Self::Swarmr, Self::Echo, Self::Unbound, Self::Docker];

    const fn address(self) -> &'static str {
        match self {
            Self::Swarmr => "127.0.77.1",
            Self::Echo => "127.0.77.2",
            Self::Unbound => "127.0.77.3",
            // Inside a container's network.
            Self::Docker => "127.0.0.11",
        }
    }

    /// How its processes' command lines begin.
    fn command(self) -> Vec<&'static str> {
        match self {
            Self::Swarmr | Self::Echo => vec!["resolver", self.address()],
            Self::Unbound => vec!["unbound"],
            Self::Docker => vec!["dockerd"],
        }
    }
}

/// Adds the rows `dns_cpu` beside Docker, and beside unbound and the floor.
pub(crate) fn measure(resolver: &Path, rounds: usize, report: &mut Report) -> Result<()> {
    ensure!(
        resolver.is_file(),
        "no resolver at {}: name net's example with --resolver",
        resolver.display()
    );
    let hosts = Hosts::new(&Setup::engines(1))?;
    let host = &hosts[0];
    let asked = host.folder().join("asked");
    let names: Vec<String> = (0..NAMES).map(|name| format!("s{name} A\n")).collect();
    std::fs::write(&asked, names.concat())?;
    let servers = start(host, resolver)?;
    let container = start_container(host)?;
    let mut samples: Vec<(Server, f64)> = Vec::new();
    for round in 1..=rounds {
        for server in &servers {
            let cost = ask(host, *server, &container, &asked)
                .with_context(|| format!("round {round}, {server:?}"))?;
            eprintln!("  round {round} {server:?}: {cost:.2} µs");
            samples.push((*server, cost));
        }
    }
    let of = |server| -> Vec<f64> {
        let mine = samples.iter().filter(|(whose, _)| *whose == server);
        mine.map(|(_, cost)| *cost).collect()
    };
    let ours = of(Server::Swarmr);
    report.beside(
        "dns_cpu",
        "µs",
        ours.clone(),
        ("docker", of(Server::Docker)),
    );
    let unbound = ("unbound", of(Server::Unbound));
    report.beside("dns_cpu_local", "µs", ours, unbound);
    report.floor("dns_cpu_echo", "µs", of(Server::Echo));
    Ok(())
}

/// Starts those that are processes of their own, and says who is there.
fn start(host: &Host, resolver: &Path) -> Result<Vec<Server>> {
    let resolver = std::fs::canonicalize(resolver)?;
    let resolver = resolver.display();
    let launch =
        |command: String| host.sh(&format!("setsid {command} >/dev/null 2>&1 </dev/null &"));
    let ours = Server::Swarmr.address();
    launch(format!("{resolver} {ours} {SERVICES}"))?.ok()?;
    launch(format!("{resolver} {} echo", Server::Echo.address()))?.ok()?;
    if !host.sh("command -v unbound")?.succeeded() {
        eprintln!("unbound is not installed: not compared");
        let others = Server::ALL.into_iter();
        return Ok(others.filter(|it| *it != Server::Unbound).collect());
    }
    let settings = host.folder().join("unbound.conf");
    std::fs::write(&settings, unbound_settings())?;
    launch(format!("unbound -d -c {}", settings.display()))?.ok()?;
    Ok(Server::ALL.to_vec())
}

fn unbound_settings() -> String {
    let mut text = format!(
        "server:\n num-threads: 1\n interface: {}\n do-daemonize: no\n username: \"\"\n \
         chroot: \"\"\n use-syslog: no\n verbosity: 0\n access-control: 127.0.0.0/8 allow\n \
         module-config: \"iterator\"\nremote-control:\n control-enable: no\nserver:\n",
        Server::Unbound.address()
    );
    for name in 0..NAMES {
        let last = name % 250 + 1;
        text += &format!(
            " local-data: \"s{name}. 1 IN A 10.0.{}.{last}\"\n",
            name / 250
        );
    }
    text
}

/// A container that the engine knows by all of the names; returns its pid.
fn start_container(host: &Host) -> Result<String> {
    host.start_engine()?;
    host.load_images(&image_archive()?)?;
    let docker = ["docker", "-H", "unix:///run/docker.sock"];
    let run = |words: &[&str]| host.run(&[&docker[..], words].concat())?.ok();
    run(&["network", "create", "bench"])?;
    let aliases: Vec<String> = (0..NAMES)
        .map(|name| format!("--network-alias=s{name}"))
        .collect();
    let mut words = vec!["run", "--detach", "--name=asker", "--network=bench"];
    words.extend(aliases.iter().map(String::as_str));
    words.push(IMAGE_TOOLS);
    run(&words)?;
    run(&["inspect", "--format={{.State.Pid}}", "asker"])
}

/// Processor time for each query, in microseconds.
fn ask(host: &Host, server: Server, container: &str, asked: &Path) -> Result<f64> {
    let address = server.address();
    let asked = asked.display();
    let dnsperf = |seconds: &str| {
        let enter = match server {
            Server::Docker => format!("nsenter --target {container} --net "),
            _ => String::new(),
        };
        // Echoed questions are no answers; that they come back is enough.
        host.sh(&format!(
            "{enter}dnsperf -s {address} -d {asked} -c 8 -q 100 -l {seconds} -t 1"
        ))
    };
    eventually("the server answers", READY_LIMIT, || {
        completed(&dnsperf("1")?.ok()?).map(drop)
    })?;
    let used = || -> Duration {
        let processes = host.processes_named(&server.command());
        processes.iter().map(|process| process.cpu).sum()
    };
    let before = used();
    let queries = completed(&dnsperf(SECONDS)?.ok()?)?;
    let used = used().saturating_sub(before);
    Ok(used.as_secs_f64() * 1e6 / queries)
}

/// How many queries were answered, by what dnsperf prints.
fn completed(said: &str) -> Result<f64> {
    let mut lines = said.lines().map(str::trim);
    let line = lines.find_map(|line| line.strip_prefix("Queries completed:"));
    let count = line.and_then(|rest| rest.split_whitespace().next());
    let count: f64 = count.context("dnsperf says nothing of queries")?.parse()?;
    ensure!(count > 0.0, "no query was answered: {said}");
    Ok(count)
}
