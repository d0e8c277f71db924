//! One test host: its power, its link, and commands on it.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::bridge::Bridge;
use crate::hosts::Setup;
use crate::http::{self, Api, Reply};
use crate::leftovers;
use crate::namespace::{self, Namespace};
use crate::output::Output;
use crate::process::Process;

/// A command on a host is killed after this time, so that no test hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);
/// Where hosts look for programs, after their own folder.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What an engine consists of, for hosts with files of their own.
const ENGINE_FILES: [&str; 5] = [
    "dockerd",
    "containerd",
    "containerd-shim-runc-v2",
    "runc",
    "docker-proxy",
];

/// A machine made of namespaces. Its disk outlives a power loss, its `/run`
/// and its processes do not.
#[derive(Debug)]
pub struct Host {
    name: String,
    /// Name of the set, a dash, and the host's name: its end of the wire and
    /// its cgroups are called so.
    pub(crate) label: String,
    folder: PathBuf,
    address: Ipv4Addr,
    port: String,
    bridge: Arc<Bridge>,
    pub(crate) live_restore: bool,
    machine: Mutex<Option<Namespace>>,
}

impl Host {
    pub(crate) fn new(
        number: u8,
        set: &str,
        folder: &Path,
        bridge: &Arc<Bridge>,
        setup: &Setup,
    ) -> Result<Self> {
        let name = format!("h{}", number + 1);
        let host = Self {
            label: format!("{set}-{name}"),
            folder: folder.join(&name),
            address: bridge.host_address(number),
            port: format!("port{}", number + 1),
            bridge: Arc::clone(bridge),
            live_restore: setup.live_restore,
            machine: Mutex::new(None),
            name,
        };
        host.install(setup)?;
        host.power_on()?;
        Ok(host)
    }

    /// `h1`, `h2` …; also its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The host's folder on the real disk; the same path on the host itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Turns the machine on: a fresh `/run`, its link, no engine yet.
    pub fn power_on(&self) -> Result<()> {
        let mut machine = self.machine();
        ensure!(machine.is_none(), "{} is on already", self.name);
        let environment = [
            ("HOST_NAME", self.name.clone()),
            ("HOST_DIR", self.folder.display().to_string()),
        ];
        let namespace = Namespace::machine(include_str!("machine.sh"), &environment)
            .with_context(|| format!("power on {}", self.name))?;
        self.bridge.unplug(&self.port);
        self.bridge.plug(&self.port, &namespace, self.address)?;
        *machine = Some(namespace);
        Ok(())
    }

    /// Power loss: the link is cut and every process of the host is killed,
    /// containers too. Returns when all are gone.
    pub fn power_off(&self) -> Result<()> {
        let mut machine = self.machine();
        self.bridge.set_port(&self.port, "down")?;
        let mut namespace = machine
            .take()
            .with_context(|| format!("{} is off", self.name))?;
        namespace.end();
        self.bridge.unplug(&self.port);
        leftovers::remove_cgroups(&self.label);
        Ok(())
    }

    /// Whether the power is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.machine().is_some()
    }

    /// Cuts the link; processes go on.
    pub fn link_down(&self) -> Result<()> {
        self.bridge.set_port(&self.port, "down")
    }

    /// Mends the link.
    pub fn link_up(&self) -> Result<()> {
        self.bridge.set_port(&self.port, "up")
    }

    /// A command on the host with a clean environment; the caller adds program
    /// and words, and a deadline where it may hang.
    pub fn command(&self) -> Result<Command> {
        let mut command = self
            .machine()
            .as_ref()
            .map(Namespace::enter)
            .with_context(|| format!("{} is off", self.name))?;
        command
            .env_clear()
            .env(
                "PATH",
                format!("{}:{PATH}", self.folder.join("bin").display()),
            )
            .env("HOME", self.folder.join("home"))
            .env("LANG", "C.UTF-8")
            .env("RUST_BACKTRACE", "1");
        Ok(command)
    }

    /// Runs a command on the host to its end. It is killed (code 137) after
    /// five minutes.
    pub fn run(&self, words: &[&str]) -> Result<Output> {
        let limit = COMMAND_LIMIT.as_secs().to_string();
        let mut command = self.command()?;
        command
            .args(["timeout", "--signal=KILL", &limit])
            .args(words);
        Ok(Output {
            command: words.join(" "),
            ..Output::of(&mut command)?
        })
    }

    /// Runs a shell script on the host to its end.
    pub fn sh(&self, script: &str) -> Result<Output> {
        self.run(&["bash", "-c", script])
    }

    /// One GET from the host itself on a new connection, as with `curl`.
    pub fn get(&self, server: impl Into<SocketAddr>, path: &str) -> Result<Reply> {
        let server = server.into();
        self.inside(move || http::get(server, path, Duration::from_secs(5)))
    }

    /// Runs `work` on a thread whose sockets are the host's.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        namespace::inside(self.pid()?, work)
    }

    /// All processes of the host, those in containers too.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        self.machine()
            .as_ref()
            .map(Namespace::processes)
            .unwrap_or_default()
    }

    /// Processes whose command line begins with `words`; the first word is
    /// compared without its folders.
    #[must_use]
    pub fn processes_named(&self, words: &[&str]) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| {
            let command = process.command();
            command.len() >= words.len() && command.iter().zip(words).all(|(has, want)| has == want)
        });
        found
    }

    /// Proportional set size of all processes, in bytes.
    #[must_use]
    pub fn pss_bytes(&self) -> u64 {
        self.processes().iter().map(Process::pss_bytes).sum()
    }

    /// Processor time that all processes have used until now.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.processes().iter().map(|process| process.cpu).sum()
    }

    /// A path on the host, such as `/run/docker.sock`, as seen from outside.
    pub fn path(&self, path: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root{path}", self.pid()?)))
    }

    /// The API on a unix socket of the host.
    pub fn api(&self, socket: &str) -> Result<Api> {
        Ok(Api::new(&self.path(socket)?))
    }

    /// Pid of the host's first process, for `nsenter --target`.
    pub fn pid(&self) -> Result<i32> {
        self.machine()
            .as_ref()
            .map(Namespace::pid)
            .with_context(|| format!("{} is off", self.name))
    }

    /// The ends of the host's logs.
    #[must_use]
    pub fn logs(&self, lines: usize) -> String {
        let mut text = String::new();
        let mut files: Vec<_> = fs::read_dir(self.folder.join("log"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        for file in files {
            let log = fs::read(&file).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let all: Vec<_> = log.lines().collect();
            let tail = all[all.len().saturating_sub(lines)..].join("\n");
            let _ = writeln!(text, "{} {}:\n{tail}", self.name, file.display());
        }
        text
    }

    pub(crate) fn log_file(&self, of: &str) -> PathBuf {
        self.folder.join("log").join(format!("{of}.log"))
    }

    /// Starts `words` on the host as a child of its first process, in a session
    /// of its own, with its output in the log `log`.
    pub(crate) fn launch(&self, log: &str, words: &[String]) -> Result<()> {
        let mut command = self.command()?;
        command
            .args([
                "bash",
                "-c",
                "log=$1; shift; setsid \"$@\" >>\"$log\" 2>&1 </dev/null &",
                "launch",
            ])
            .arg(self.log_file(log))
            .args(words);
        Output::of(&mut command)?.ok().map(drop)
    }

    /// Ends everything; for the owner, who removes the files afterwards.
    pub(crate) fn end(&self) {
        if let Some(mut namespace) = self.machine().take() {
            namespace.end();
        }
    }

    /// Puts the programs under test on the host's disk.
    fn install(&self, setup: &Setup) -> Result<()> {
        let bin = self.folder.join("bin");
        fs::create_dir_all(&bin)?;
        fs::create_dir_all(self.folder.join("log"))?;
        let place = |program: &Path, name: &str| -> Result<()> {
            let to = bin.join(name);
            if setup.own_files {
                fs::copy(program, &to)?;
            } else {
                symlink(program, &to)?;
            }
            Ok(())
        };
        if let Some(swarmr) = &setup.swarmr {
            place(&fs::canonicalize(swarmr)?, "swarmr")?;
        }
        if setup.own_files {
            for name in ENGINE_FILES {
                if let Some(path) = which(name) {
                    place(&path, name)?;
                }
            }
        }
        Ok(())
    }

    fn machine(&self) -> MutexGuard<'_, Option<Namespace>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The program that a shell would find; services are often not on a user's PATH.
fn which(name: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}
