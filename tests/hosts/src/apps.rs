//! Containers judged by what they do: whether the application inside accepts a
//! connection. Asks no engine and no orchestrator, so that it neither slows
//! them down nor believes them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::host::Host;
use crate::namespace::inside;

/// Containers of some hosts, as their cgroups and sockets show them.
#[derive(Debug)]
pub struct Apps<'a> {
    hosts: Vec<&'a Host>,
    port: u16,
    /// Cgroup folders of containers, and whether the application accepted a
    /// connection once.
    seen: BTreeMap<PathBuf, bool>,
}

impl<'a> Apps<'a> {
    /// Looks at containers on `hosts` whose application listens on `port`.
    pub fn new(hosts: impl IntoIterator<Item = &'a Host>, port: u16) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
            port,
            seen: BTreeMap::new(),
        }
    }

    /// Containers that exist now and whose application has accepted a
    /// connection, on each host in turn.
    pub fn accepting(&mut self) -> usize {
        let mut now = BTreeMap::new();
        for host in &self.hosts {
            let own_network = host.pid().ok().and_then(network_of);
            for container in containers(host) {
                let accepted = self.seen.get(&container).copied().unwrap_or(false)
                    || accepts(&container, own_network.as_deref(), self.port);
                now.insert(container, accepted);
            }
        }
        self.seen = now;
        self.seen.values().filter(|accepted| **accepted).count()
    }

    /// Waits until exactly `count` containers exist and all accept, looking
    /// every 2 ms, and returns when that was.
    pub fn wait(&mut self, count: usize, deadline: Duration) -> Result<Instant> {
        let begin = Instant::now();
        loop {
            let accepting = self.accepting();
            let now = Instant::now();
            if accepting == count && self.seen.len() == count {
                return Ok(now);
            }
            if now - begin > deadline {
                bail!(
                    "{accepting} of {} containers accept connections after {deadline:?}, not {count}",
                    self.seen.len()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Cgroup folders of the host's containers; one is made when the container
/// starts and removed when it ends.
fn containers(host: &Host) -> Vec<PathBuf> {
    let v1 = Path::new("/sys/fs/cgroup/pids");
    let root = if v1.is_dir() {
        v1
    } else {
        Path::new("/sys/fs/cgroup")
    };
    let entries = fs::read_dir(root.join(&host.label));
    let folders = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    folders.filter(|path| path.is_dir()).collect()
}

/// Whether something in the container accepts a connection to itself.
fn accepts(container: &Path, host_network: Option<&Path>, port: u16) -> bool {
    let processes = fs::read_to_string(container.join("cgroup.procs")).unwrap_or_default();
    let Some(pid) = processes.lines().find_map(|line| line.parse().ok()) else {
        return false;
    };
    // The first steps of a container's start still run in the host's network.
    if network_of(pid).as_deref() == host_network {
        return false;
    }
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    inside(pid, || {
        Ok(TcpStream::connect_timeout(&to, Duration::from_millis(100))?)
    })
    .is_ok()
}

fn network_of(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}
