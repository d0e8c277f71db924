//! The swarmr daemon of a host and its command line.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::host::Host;
use crate::http::Api;
use crate::images::IMAGE_WEB_1;
use crate::output::Output;
use crate::process::Process;
use crate::wait::eventually;

const SOCKET: &str = "/run/swarmr/docker.sock";
const START_LIMIT: Duration = Duration::from_secs(30);
/// Where [`Host::create_web`] publishes its service.
pub const WEB_PORT: u16 = 8080;

impl Host {
    /// Starts `swarmr daemon` with more `words` and waits until it answers.
    pub fn start_daemon(&self, words: &[&str]) -> Result<()> {
        ensure!(
            self.daemon().is_none(),
            "{} has a daemon already",
            self.name()
        );
        let fixed = [
            "swarmr",
            "daemon",
            "--state-dir=/var/lib/swarmr",
            "--socket=/run/swarmr/docker.sock",
            "--engine=unix:///run/docker.sock",
        ];
        let words: Vec<_> = fixed
            .iter()
            .chain(words)
            .map(|word| (*word).to_owned())
            .collect();
        self.launch("swarmr", &words)?;
        self.daemon_answers()
    }

    /// Waits until the daemon, however it was started, answers.
    pub fn daemon_answers(&self) -> Result<()> {
        let api = self.api(SOCKET)?.within(Duration::from_secs(5));
        eventually("swarmr answers", START_LIMIT, || {
            let reply = api.send("GET", "/_ping", "", b"")?;
            ensure!(reply.status == 200, "status {}", reply.status);
            Ok(())
        })
        .with_context(|| self.logs(30))
    }

    /// Kills the daemon, however it was started, with SIGKILL.
    pub fn kill_daemon(&self) -> Result<()> {
        let Some(daemon) = self.daemon() else {
            bail!("{} has no swarmr daemon running", self.name());
        };
        daemon.kill();
        eventually("swarmr is gone", Duration::from_secs(10), || {
            ensure!(!daemon.is_alive(), "process {} is there", daemon.pid);
            Ok(())
        })
    }

    /// The daemon's process.
    #[must_use]
    pub fn daemon(&self) -> Option<Process> {
        self.processes_named(&["swarmr", "daemon"]).pop()
    }

    /// Runs the `swarmr` command, which finds its daemon by the default path.
    pub fn swarmr(&self, words: &[&str]) -> Result<Output> {
        self.run(&[&["swarmr"], words].concat())
    }

    /// Runs the unmodified `docker` command against swarmr's socket.
    pub fn docker_on_swarmr(&self, words: &[&str]) -> Result<Output> {
        self.run(
            &[
                &["docker", "--host", "unix:///run/swarmr/docker.sock"],
                words,
            ]
            .concat(),
        )
    }

    /// Makes the overlay `app` and on it the service `web` of [`IMAGE_WEB_1`],
    /// published on [`WEB_PORT`] of every host. Does not wait for its tasks.
    pub fn create_web(&self, replicas: usize) -> Result<()> {
        self.docker_on_swarmr(&["network", "create", "-d", "overlay", "app"])?
            .ok()?;
        let create = "service create --detach --no-resolve-image --name web --network app";
        let (port, replicas) = (format!("{WEB_PORT}:80"), replicas.to_string());
        let mut words: Vec<&str> = create.split(' ').collect();
        words.extend(["--publish", &port, "--replicas", &replicas, IMAGE_WEB_1]);
        self.docker_on_swarmr(&words)?.ok().map(drop)
    }

    /// The API that swarmr serves.
    pub fn swarmr_api(&self) -> Result<Api> {
        self.api(SOCKET)
    }
}
