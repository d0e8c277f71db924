//! Several test hosts on one wire, and everything they need taken away after.

use std::fs::{self, File};
use std::io::Read;
use std::ops::Index;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::unistd::Uid;

use crate::bridge::{Bridge, Client};
use crate::host::Host;
use crate::leftovers::{self, Claim};
use crate::wait::eventually;

/// Lines of each log that are shown.
const LOG_LINES: usize = 40;

/// What kind of hosts to make.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many, from 1 to 100.
    pub hosts: u8,
    /// The `swarmr` to run on them.
    pub swarmr: Option<PathBuf>,
    /// Whether engines keep containers running while they are down. Docker's
    /// own swarm mode refuses it.
    pub live_restore: bool,
    /// Whether each host runs copies of the engine's and swarmr's files of its
    /// own, so that memory shared with other hosts is not divided by them.
    pub own_files: bool,
}

impl Setup {
    /// Hosts for swarmr.
    #[must_use]
    pub fn swarmr(hosts: u8, swarmr: impl Into<PathBuf>) -> Self {
        Self {
            swarmr: Some(swarmr.into()),
            ..Self::engines(hosts)
        }
    }

    /// Hosts with engines only.
    #[must_use]
    pub fn engines(hosts: u8) -> Self {
        Self {
            hosts,
            swarmr: None,
            live_restore: true,
            own_files: false,
        }
    }
}

/// Test hosts, from 0, and a client on the same wire. Dropping them ends all
/// their processes and removes their files.
#[derive(Debug)]
pub struct Hosts {
    // In the order of their end: machines, then the wire, then the folder.
    hosts: Vec<Host>,
    client: Client,
    _bridge: Arc<Bridge>,
    claim: Claim,
    _turn: File,
}

impl Hosts {
    /// Makes the hosts, powered on, with no engine running yet.
    ///
    /// Waits while another set of hosts of the same target folder exists: the
    /// machine is too small for two, and tests run side by side.
    pub fn new(setup: &Setup) -> Result<Self> {
        ensure!(
            Uid::effective().is_root(),
            "test hosts need root: run as root or with sudo"
        );
        ensure!(
            (1..=100).contains(&setup.hosts),
            "1 to 100 hosts, not {}",
            setup.hosts
        );
        if let Some(swarmr) = &setup.swarmr {
            ensure!(
                swarmr.is_file(),
                "{} is not there: build swarmr first",
                swarmr.display()
            );
        }
        let turn = leftovers::turn()?;
        leftovers::sweep()?;
        let mut random = [0; 1];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let claim = Claim::new()?;
        let bridge = Arc::new(Bridge::new(random[0])?);
        let hosts = (0..setup.hosts)
            .map(|number| Host::new(number, claim.name(), claim.folder(), &bridge, setup))
            .collect::<Result<_>>()?;
        let client = bridge.client()?;
        Ok(Self {
            hosts,
            client,
            _bridge: bridge,
            claim,
            _turn: turn,
        })
    }

    /// The same with an engine running on each and the test images in it.
    pub fn with_engines(setup: &Setup) -> Result<Self> {
        let images = crate::images::image_archive()?;
        let hosts = Self::new(setup)?;
        hosts.each(|host| {
            host.start_engine()?;
            host.load_images(&images)
        })?;
        Ok(hosts)
    }

    /// Runs `work` for all hosts at the same time.
    pub fn each<T: Send>(&self, work: impl Fn(&Host) -> Result<T> + Sync) -> Result<Vec<T>> {
        thread::scope(|scope| {
            let running: Vec<_> = self
                .hosts
                .iter()
                .map(|host| {
                    let work = &work;
                    (host, scope.spawn(move || work(host)))
                })
                .collect();
            running
                .into_iter()
                .map(|(host, thread)| {
                    let done = thread.join().unwrap_or_else(|_| Err(anyhow!("panicked")));
                    done.with_context(|| format!("on {}", host.name()))
                })
                .collect()
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    /// The client outside of the cluster.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The host with this address.
    #[must_use]
    pub fn by_address(&self, address: &str) -> Option<&Host> {
        self.hosts
            .iter()
            .find(|host| host.address().to_string() == address)
    }

    /// The ends of all hosts' logs.
    #[must_use]
    pub fn logs(&self) -> String {
        self.hosts.iter().map(|host| host.logs(LOG_LINES)).collect()
    }

    /// Adds the ends of all hosts' logs to an error.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| self.logs())
    }

    /// Unique name of this set, which its cgroups begin with.
    #[must_use]
    pub fn name(&self) -> &str {
        self.claim.name()
    }
}

impl Index<usize> for Hosts {
    type Output = Host;

    fn index(&self, number: usize) -> &Host {
        &self.hosts[number]
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if thread::panicking() || std::env::var_os("SWARMR_SHOW_LOGS").is_some() {
            eprintln!("{}", self.logs());
        }
        for host in &self.hosts {
            host.end();
        }
        // A file system may need a moment until the last mount of it is gone.
        let folder = self.claim.folder();
        let removed = eventually("remove the hosts' files", Duration::from_secs(20), || {
            leftovers::remove_cgroups(self.claim.name());
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        });
        if let Err(error) = removed {
            eprintln!("test hosts: {error:#}");
        }
    }
}
