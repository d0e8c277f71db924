//! swarmr daemons as plain processes on 127.0.0.1, without engines.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Index;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::http::Api;
use crate::output::Output;
use crate::wait::eventually;

const START_LIMIT: Duration = Duration::from_secs(30);
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// Daemons with the fake engine, from 0; none runs until it is started.
/// Dropping them ends the daemons and removes their folders.
#[derive(Debug)]
pub struct Local {
    nodes: Vec<LocalNode>,
    folder: PathBuf,
}

/// One daemon: its folder, port and socket stay the same over restarts.
#[derive(Debug)]
pub struct LocalNode {
    name: String,
    swarmr: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Mutex<Option<Child>>,
    _port_claim: UnixListener,
}

impl Local {
    /// Prepares `nodes` daemons of the program `swarmr`.
    pub fn new(swarmr: impl Into<PathBuf>, nodes: usize) -> Result<Self> {
        let swarmr = swarmr.into();
        ensure!(
            swarmr.is_file(),
            "{} is not there: build swarmr first",
            swarmr.display()
        );
        let folder = scratch_folder()?;
        let mut local = Self {
            nodes: Vec::new(),
            folder,
        };
        for number in 1..=nodes {
            let name = format!("n{number}");
            let folder = local.folder.join(&name);
            fs::create_dir_all(&folder)?;
            let (port, claim) = free_port()?;
            local.nodes.push(LocalNode {
                name,
                swarmr: swarmr.clone(),
                folder,
                port,
                child: Mutex::new(None),
                _port_claim: claim,
            });
        }
        Ok(local)
    }

    /// Starts all and makes one cluster of them: the first `managers` are
    /// managers, the others workers.
    pub fn form(&self, managers: usize) -> Result<()> {
        for node in &self.nodes {
            node.start()?;
        }
        let first = self.nodes.first().context("no nodes")?;
        first.init()?;
        let manager = first.swarmr(&["join-token", "-q", "manager"])?.ok()?;
        let worker = first.swarmr(&["join-token", "-q", "worker"])?.ok()?;
        for (number, node) in self.nodes.iter().enumerate().skip(1) {
            node.join(first, if number < managers { &manager } else { &worker })?;
        }
        Ok(())
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self) -> String {
        let logs = self
            .nodes
            .iter()
            .map(|node| format!("{}:\n{}\n", node.name, node.log(40)));
        logs.collect()
    }

    /// Adds the ends of all logs to an error.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| self.logs())
    }

    pub fn iter(&self) -> impl Iterator<Item = &LocalNode> {
        self.nodes.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl Index<usize> for Local {
    type Output = LocalNode;

    fn index(&self, number: usize) -> &LocalNode {
        &self.nodes[number]
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("SWARMR_SHOW_LOGS").is_some() {
            eprintln!("{}", self.logs());
        }
        for node in &self.nodes {
            let _ = node.kill();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl LocalNode {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's address for its peers, `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&self) -> Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        let running = self
            .command(&["daemon", "--engine", "fake"])
            .arg("--state-dir")
            .arg(self.state_dir())
            .arg("--socket")
            .arg(self.socket())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.swarmr.display()))?;
        let running = child.insert(running);
        let api = self.api().within(Duration::from_secs(5));
        let answers = eventually("swarmr answers", START_LIMIT, || {
            if let Some(status) = running.try_wait()? {
                // Said by the caller's context; looking on would be in vain.
                return Ok(Err(status));
            }
            let reply = api.send("GET", "/_ping", "", b"")?;
            ensure!(reply.status == 200, "status {}", reply.status);
            Ok(Ok(()))
        })
        .with_context(|| self.log(30))?;
        match answers {
            Ok(()) => Ok(()),
            Err(status) => {
                *child = None;
                bail!(
                    "{} ended at once with {status}:\n{}",
                    self.name,
                    self.log(30)
                )
            }
        }
    }

    /// Kills the daemon with SIGKILL; one that does not run is no error.
    pub fn kill(&self) -> Result<()> {
        let child = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut child) = child {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Whether the daemon was started and has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The running daemon's process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(Child::id)
    }

    /// Makes a cluster of this node.
    pub fn init(&self) -> Result<String> {
        let address = self.address();
        self.swarmr(&[
            "init",
            "--advertise-addr",
            &address,
            "--listen-addr",
            &address,
        ])?
        .ok()
    }

    /// Joins the cluster of `manager`.
    pub fn join(&self, manager: &Self, token: &str) -> Result<String> {
        let (to, own) = (manager.address(), self.address());
        let words = [
            "join",
            "--token",
            token,
            "--advertise-addr",
            &own,
            "--listen-addr",
            &own,
            &to,
        ];
        self.swarmr(&words)?.ok()
    }

    /// Runs the `swarmr` command against this daemon; killed (code 137) after
    /// two minutes.
    pub fn swarmr(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new("timeout");
        command
            .args(["--signal=KILL", &COMMAND_LIMIT.as_secs().to_string()])
            .arg(&self.swarmr)
            .args(words);
        self.environment(&mut command);
        Ok(Output {
            command: format!("swarmr {}", words.join(" ")),
            ..Output::of(&mut command)?
        })
    }

    /// The daemon's API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.socket())
    }

    /// The end of the daemon's log.
    #[must_use]
    pub fn log(&self, lines: usize) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.swarmr);
        command.args(words);
        self.environment(&mut command);
        command
    }

    fn environment(&self, command: &mut Command) {
        for name in ["DOCKER_HOST", "SWARMR_ENGINE"] {
            command.env_remove(name);
        }
        command
            .env("SWARMR_SOCKET", self.socket())
            .env("SWARMR_STATE_DIR", self.state_dir())
            .env("SWARMR_ENGINE", "fake")
            .env("RUST_BACKTRACE", "1");
    }
}

/// A new folder with a short path: a unix socket's may have 107 bytes.
fn scratch_folder() -> Result<PathBuf> {
    for number in 0..10_000 {
        let name = format!("swl{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        if fs::create_dir(&folder).is_ok() {
            return Ok(folder);
        }
    }
    bail!("no free name in {}", std::env::temp_dir().display())
}

/// A port of 127.0.0.1 free for UDP and TCP, ours until the claim is dropped.
///
/// Ports below the range that the kernel hands out, so that no passing socket
/// takes one while its daemon is down. The claim is an abstract socket: it
/// keeps other tests away and leaves no file.
fn free_port() -> Result<(u16, UnixListener)> {
    for port in 20_000..30_000 {
        let name = SocketAddr::from_abstract_name(format!("swarmr-test-port-{port}"))?;
        let Ok(claim) = UnixListener::bind_addr(&name) else {
            continue;
        };
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free {
            return Ok((port, claim));
        }
    }
    bail!("no free port on 127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_get_two_ports() {
        let (first, _claim) = free_port().unwrap();
        let (second, _other) = free_port().unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn a_missing_program_is_said_so() {
        let error = Local::new("/nonexistent/swarmr", 1).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/swarmr"), "{error}");
    }

    #[test]
    fn a_daemon_that_ends_at_once_is_no_daemon() {
        let local = Local::new("/bin/false", 1).unwrap();
        let error = local[0].start().unwrap_err().to_string();
        assert!(error.contains("ended at once"), "{error}");
        assert!(!local[0].is_running() && local[0].pid().is_none());
    }

    #[test]
    fn folders_go_with_their_owner() {
        let local = Local::new("/bin/true", 2).unwrap();
        let folder = local.folder.clone();
        assert!(folder.join("n2").is_dir());
        drop(local);
        assert!(!folder.exists());
    }
}
