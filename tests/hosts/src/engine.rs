//! The Docker engine of a host.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::host::Host;
use crate::http::Api;
use crate::output::Output;
use crate::process::Process;
use crate::wait::eventually;

const SOCKET: &str = "/run/docker.sock";
/// An idle machine needs two seconds; a loaded one more.
const START_LIMIT: Duration = Duration::from_secs(90);

impl Host {
    /// Starts the engine and waits until it answers.
    pub fn start_engine(&self) -> Result<()> {
        ensure!(
            !self.engine_is_running(),
            "{} has an engine already",
            self.name()
        );
        let mut words: Vec<String> = [
            "dockerd",
            "--config-file=/run/docker/none.json",
            "--exec-root=/run/docker",
            "--pidfile=/run/docker.pid",
            "--host=unix:///run/docker.sock",
            "--log-level=warn",
            "--storage-driver=overlay2",
            // A systemd of the machine underneath is none of a host's.
            "--exec-opt=native.cgroupdriver=cgroupfs",
        ]
        .map(str::to_owned)
        .to_vec();
        words.push(format!(
            "--data-root={}",
            self.folder().join("engine").display()
        ));
        words.push(format!("--cgroup-parent=/{}", self.label));
        if self.live_restore {
            words.push("--live-restore".to_owned());
        }
        fs::write(self.path("/run/docker/none.json")?, "{}")?;
        self.launch("engine", &words)?;
        let api = self.engine()?.within(Duration::from_secs(5));
        eventually("the engine answers", START_LIMIT, || {
            api.send("GET", "/_ping", "", b"")
        })
        .with_context(|| self.logs(30))
        .map(drop)
    }

    /// Kills the engine and its containerd with SIGKILL. Its containers go on
    /// if it has `live-restore`. It can be started again right away.
    pub fn kill_engine(&self) -> Result<()> {
        let engine = self.engine_processes();
        if engine.is_empty() {
            bail!("{} has no engine running", self.name());
        }
        engine.iter().for_each(Process::kill);
        eventually("the engine is gone", Duration::from_secs(30), || {
            let left = self.engine_processes().len();
            ensure!(left == 0, "{left} processes of it are there");
            Ok(())
        })?;
        // Left behind by a kill, these would stop the next start.
        for file in [
            "/run/docker/containerd/containerd.pid",
            "/run/docker.pid",
            SOCKET,
        ] {
            let _ = fs::remove_file(self.path(file)?);
        }
        Ok(())
    }

    /// Whether the engine's process is there.
    #[must_use]
    pub fn engine_is_running(&self) -> bool {
        !self.processes_named(&["dockerd"]).is_empty()
    }

    /// The engine's own API, past any orchestrator.
    pub fn engine(&self) -> Result<Api> {
        self.api(SOCKET)
    }

    /// Runs the `docker` command against the engine.
    pub fn docker(&self, words: &[&str]) -> Result<Output> {
        self.run(&[&["docker", "--host", "unix:///run/docker.sock"], words].concat())
    }

    /// Names of the containers that the engine runs, those with `label` where
    /// one is given (`key` or `key=value`).
    pub fn containers(&self, label: Option<&str>) -> Result<Vec<String>> {
        let mut words = vec!["ps", "--format", "{{.Names}}"];
        let filter = label.map(|label| format!("label={label}"));
        if let Some(filter) = &filter {
            words.extend(["--filter", filter]);
        }
        Ok(self
            .docker(&words)?
            .ok()?
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// Full ids of the containers that the engine runs for a swarm service, as
    /// `docker ps` tells them, in order.
    pub fn service_containers(&self, service: &str) -> Result<Vec<String>> {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        let said = self
            .docker(&["ps", "--quiet", "--no-trunc", "--filter", &filter])?
            .ok()?;
        let mut ids: Vec<_> = said.lines().map(str::to_owned).collect();
        ids.sort();
        Ok(ids)
    }

    /// Loads a tar file of images, such as [`crate::image_archive`] makes.
    pub fn load_images(&self, archive: &Path) -> Result<()> {
        let archive = fs::read(archive)?;
        let path = "/images/load?quiet=1";
        let reply = self
            .engine()?
            .send("POST", path, "application/x-tar", &archive)?;
        let text = reply.text();
        ensure!(
            reply.status == 200 && !text.contains("errorDetail"),
            "load images: {text}"
        );
        Ok(())
    }

    fn engine_processes(&self) -> Vec<Process> {
        let mut found = self.processes_named(&["dockerd"]);
        found.extend(self.processes_named(&["containerd"]));
        found
    }
}
