//! Namespaces held by a process that ends with us.
//!
//! The holder reads a pipe whose other end only we have. When we end, in
//! whatever way, the pipe closes, the holder ends, and the kernel takes the
//! namespaces away with everything in them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use crate::process::{Process, descendants};

/// A set of namespaces and the process that keeps them.
#[derive(Debug)]
pub(crate) struct Namespace {
    child: Child,
    holder: i32,
    kinds: &'static [&'static str],
}

impl Namespace {
    /// A network namespace of its own.
    pub(crate) fn network() -> Result<Self> {
        Self::hold(&["--net"], "echo ready; exec cat >/dev/null", &[])
    }

    /// Namespaces of a whole machine; `script` prepares it, says `ready` and
    /// stays as its first process.
    pub(crate) fn machine(script: &str, environment: &[(&str, String)]) -> Result<Self> {
        Self::hold(
            &["--net", "--mount", "--uts", "--ipc", "--pid"],
            script,
            environment,
        )
    }

    fn hold(
        kinds: &'static [&'static str],
        script: &str,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(kinds).args(["--fork", "--kill-child"]);
        if kinds.contains(&"--pid") {
            command.arg("--mount-proc");
        }
        command
            .args(["bash", "-c", script])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("start unshare")?;
        let mut said = String::new();
        let stdout = child
            .stdout
            .take()
            .context("the namespace's output is piped")?;
        BufReader::new(stdout).read_line(&mut said)?;
        let parent = i32::try_from(child.id()).context("process id")?;
        let first = descendants(parent)
            .into_iter()
            .find(|process| process.is_child_of(parent));
        match first {
            Some(first) if said.trim() == "ready" => Ok(Self {
                child,
                holder: first.pid,
                kinds,
            }),
            _ => {
                let _ = child.kill();
                let output = child.wait_with_output()?;
                let said = String::from_utf8_lossy(&output.stderr);
                bail!("no new namespaces (root?): {}", said.trim())
            }
        }
    }

    /// Pid of the first process inside, as seen from outside.
    pub(crate) fn pid(&self) -> i32 {
        self.holder
    }

    /// A command that enters the namespaces; the caller adds program and words.
    pub(crate) fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--target")
            .arg(self.holder.to_string())
            .args(self.kinds)
            .arg("--");
        command
    }

    /// Processes inside, without the first and its pipe reader.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let mut all = descendants(self.holder);
        all.retain(|process| !(process.is_child_of(self.holder) && process.command() == ["cat"]));
        all
    }

    /// Kills everything inside and returns when all of it is gone.
    pub(crate) fn end(&mut self) {
        // The first process of a process namespace takes all others with it,
        // and its parent, unshare, ends when the last one is gone.
        for process in descendants(self.child.id().cast_signed()) {
            if process.pid == self.holder {
                process.kill();
            }
        }
        let _ = self.child.wait();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs `work` on a thread of its own whose sockets belong to the network of a
/// process.
pub fn inside<T: Send>(pid: i32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            join_network(pid)?;
            work()
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(anyhow!("work in another network panicked")))
    })
}

/// Moves the calling thread, for good, into the network of a process.
pub(crate) fn join_network(pid: i32) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let network = File::open(&path).with_context(|| path.clone())?;
    setns(network, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {path}"))
}
