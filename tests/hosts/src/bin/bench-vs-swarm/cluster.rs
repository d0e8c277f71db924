//! A cluster of either kind on fresh hosts.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testhosts::http::Api;
use testhosts::{Host, Hosts, IMAGE_WEB_1, Output, Setup, eventually};

/// Hosts that are managers; one more is a worker.
pub(crate) const MANAGERS: usize = 3;
/// Number of the worker.
pub(crate) const WORKER: usize = MANAGERS;
/// Longest wait for a cluster to come to rest.
const REST: Duration = Duration::from_secs(180);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Swarmr,
    Swarm,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Swarmr => "swarmr",
            Self::Swarm => "docker swarm",
        }
    }
}

/// Three managers and a worker of one side.
pub(crate) struct Cluster {
    side: Side,
    pub(crate) hosts: Hosts,
}

impl Cluster {
    /// Fresh hosts whose engines run and hold the images, nothing else.
    pub(crate) fn hosts(side: Side, swarmr: Option<&Path>) -> Result<Self> {
        let hosts = u8::try_from(MANAGERS + 1)?;
        let setup = match (side, swarmr) {
            (Side::Swarmr, Some(swarmr)) => Setup::swarmr(hosts, swarmr),
            // Docker's swarm mode refuses live-restore.
            _ => Setup {
                live_restore: false,
                ..Setup::engines(hosts)
            },
        };
        let hosts = Hosts::with_engines(&Setup {
            own_files: true,
            ..setup
        })?;
        Ok(Self { side, hosts })
    }

    /// Makes the first host a cluster; returns how long the command took.
    pub(crate) fn init(&self) -> Result<Duration> {
        let host = &self.hosts[0];
        let address = host.address().to_string();
        timed(|| self.command(host, &["swarm", "init", "--advertise-addr", &address]))
    }

    /// Joins all other hosts, one after the other; returns how long each
    /// manager's command took.
    pub(crate) fn join(&self) -> Result<Vec<Duration>> {
        let first = &self.hosts[0];
        let to = format!("{}:2377", first.address());
        let mut took = Vec::new();
        for (number, host) in self.hosts.iter().enumerate().skip(1) {
            let role = if number == WORKER {
                "worker"
            } else {
                "manager"
            };
            let token = self.command(first, &["swarm", "join-token", "-q", role])?;
            let address = host.address().to_string();
            let words = [
                "swarm",
                "join",
                "--token",
                &token,
                "--advertise-addr",
                &address,
                &to,
            ];
            let time = timed(|| self.command(host, &words))?;
            if number != WORKER {
                took.push(time);
            }
        }
        self.rest(MANAGERS + 1)?;
        Ok(took)
    }

    /// Makes the overlay network that services of the comparison are on.
    pub(crate) fn network(&self) -> Result<()> {
        let mut network = json!({"Name": "app", "Driver": "overlay", "CheckDuplicate": true});
        if self.side == Side::Swarmr {
            // The same kind of network on both sides. Docker's overlays are
            // plain unless the option is there at all, whatever its value.
            network["Options"] = json!({"encrypted": "false"});
        }
        self.api(0)?.post("/networks/create", &network).map(drop)
    }

    /// Creates the service `name` of web servers on the network.
    pub(crate) fn create_service(&self, name: &str, replicas: usize) -> Result<()> {
        let service = json!({
            "Name": name,
            "TaskTemplate": {
                "ContainerSpec": {"Image": IMAGE_WEB_1},
                "Networks": [{"Target": "app"}],
            },
            "Mode": {"Replicated": {"Replicas": replicas}},
        });
        self.api(0)?.post("/services/create", &service).map(drop)
    }

    pub(crate) fn remove_service(&self, name: &str) -> Result<()> {
        self.api(0)?.delete(&format!("/services/{name}")).map(drop)
    }

    /// The API of the host with this number.
    pub(crate) fn api(&self, number: usize) -> Result<Api> {
        match self.side {
            Side::Swarmr => self.hosts[number].swarmr_api(),
            Side::Swarm => self.hosts[number].engine(),
        }
    }

    /// Number of the host that leads, as `by` sees it.
    pub(crate) fn leader(&self, by: usize) -> Result<usize> {
        let nodes = self.api(by)?.within(Duration::from_secs(5)).get("/nodes")?;
        let leader = list(&nodes)
            .iter()
            .find(|node| node["ManagerStatus"]["Leader"] == true);
        let leader = leader.context("nobody leads")?;
        let address = leader["ManagerStatus"]["Addr"].as_str().unwrap_or_default();
        let address = address
            .rsplit_once(':')
            .map_or(address, |(address, _)| address);
        let found = self
            .hosts
            .iter()
            .position(|host| host.address().to_string() == address);
        found.with_context(|| format!("the leader's address {address:?} is no host's"))
    }

    /// Waits until `nodes` nodes are ready, every manager is reachable, and one
    /// leads.
    pub(crate) fn rest(&self, nodes: usize) -> Result<()> {
        eventually("the cluster is at rest", REST, || {
            let all = self.api(0)?.within(Duration::from_secs(5)).get("/nodes")?;
            let ready = list(&all)
                .iter()
                .filter(|node| node["Status"]["State"] == "ready")
                .count();
            ensure!(ready == nodes, "{ready} of {nodes} nodes are ready");
            let managers: Vec<_> = list(&all)
                .iter()
                .filter(|node| node["ManagerStatus"].is_object())
                .collect();
            let well = managers
                .iter()
                .filter(|node| node["ManagerStatus"]["Reachability"] == "reachable")
                .count();
            ensure!(
                managers.len() == MANAGERS && well == MANAGERS,
                "{well} managers are reachable"
            );
            self.leader(0).map(drop)
        })
    }

    /// Turns a host on again as a boot would: its engine, and swarmr.
    pub(crate) fn power_on(&self, host: &Host) -> Result<()> {
        host.power_on()?;
        host.start_engine()?;
        match self.side {
            Side::Swarmr => host.start_daemon(&[]),
            Side::Swarm => Ok(()),
        }
    }

    /// Runs a command in Docker's words and returns what it printed.
    fn command(&self, host: &Host, words: &[&str]) -> Result<String> {
        let output = match self.side {
            Side::Swarmr => host.swarmr(words),
            Side::Swarm => host.docker(words),
        };
        output.and_then(Output::ok)
    }
}

/// The items of a JSON list; none of anything else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed())
}
