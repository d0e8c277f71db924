//! Makes sure that a daemon answers: `init` and `join` start one where none does.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::args::Global;
use super::check::{self, Expected};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::options::MachineFlags;
use crate::api::client::ClientError;

const UNIT: &str = "swarmr.service";
/// Where units of packages and of the administrator are.
const UNIT_DIRS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
const START_DEADLINE: Duration = Duration::from_secs(30);
const PING_PERIOD: Duration = Duration::from_millis(50);
const LOG_TAIL_LINES: usize = 15;

/// Returns when a daemon answers on the socket. Starts one if none does and the machine is fit.
pub(crate) async fn ensure_daemon(
    context: &Context,
    global: &Global,
    machine: &MachineFlags,
    expected: &Expected,
) -> Result<(), Failure> {
    match context.client.ping().await {
        Ok(()) => return check::pools_of_running_daemon(context, expected).await,
        Err(ClientError::NotRunning { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    check::refuse_unfit(context, machine, expected).await?;
    if unit_serves(global, machine) {
        start_unit()?;
        return wait_for(context, None, None).await;
    }
    let log = machine.state_dir.join("daemon.log");
    let mut child = start_detached(global, machine, &log)?;
    context.say(&format!(
        "Started the daemon (process {}), its log is {}",
        child.id(),
        log.display()
    ));
    wait_for(context, Some(&mut child), Some(&log)).await
}

/// Whether systemd runs here and its unit would serve this very socket, state and engine.
fn unit_serves(global: &Global, machine: &MachineFlags) -> bool {
    Path::new("/run/systemd/system").is_dir()
        && UNIT_DIRS
            .iter()
            .any(|dir| Path::new(dir).join(UNIT).exists())
        && global.is_default_socket()
        && machine.is_default()
}

fn start_unit() -> Result<(), Failure> {
    let output = Command::new("systemctl")
        .args(["start", UNIT])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::error(format!("systemctl: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::error(format!(
        "systemctl start {UNIT} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    ))
    .next(format!("\"journalctl -u {UNIT} -e\" shows why.")))
}

fn start_detached(global: &Global, machine: &MachineFlags, log: &Path) -> Result<Child, Failure> {
    let state_dir = &machine.state_dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|error| cannot_write(state_dir, &error))?;
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|error| cannot_write(log, &error))?;
    let err = out.try_clone().map_err(|error| cannot_write(log, &error))?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::error(format!("cannot find this program: {error}")))?;
    Command::new(&program)
        .args(daemon_arguments(global, machine))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| Failure::error(format!("{}: {error}", program.display())))
}

/// The arguments of a daemon with the same options as this command.
fn daemon_arguments(global: &Global, machine: &MachineFlags) -> Vec<String> {
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .unwrap_or_else(|_| PathBuf::from(path))
            .display()
            .to_string()
    };
    let mut arguments = vec![
        "daemon".to_owned(),
        "--detached".to_owned(),
        "--state-dir".to_owned(),
        absolute(&machine.state_dir),
        "--socket".to_owned(),
        absolute(&global.socket()),
        "--engine".to_owned(),
        machine.engine.to_string(),
        "--log-level".to_owned(),
        global.log_level.clone(),
        "--log-format".to_owned(),
        global.log_format.clone(),
    ];
    if machine.alongside_swarm {
        arguments.push("--alongside-swarm".to_owned());
    }
    arguments
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Error,
    };
    Failure::new(
        exit,
        format!(
            "state directory: {} cannot be written: {error}",
            path.display()
        ),
    )
    .next("Run the command as root, or choose another place with --state-dir.")
}

/// Waits until the daemon answers, or says why it does not.
async fn wait_for(
    context: &Context,
    mut child: Option<&mut Child>,
    log: Option<&Path>,
) -> Result<(), Failure> {
    let client = context.client.with_deadline(Duration::from_secs(2));
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        if client.ping().await.is_ok() {
            return Ok(());
        }
        if let Some(status) = child
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
        {
            return Err(did_not_start(&format!("it ended with {status}"), log));
        }
        if Instant::now() > deadline {
            let waited = format!("it did not answer within {} s", START_DEADLINE.as_secs());
            return Err(did_not_start(&waited, log));
        }
        tokio::time::sleep(PING_PERIOD).await;
    }
}

fn did_not_start(how: &str, log: Option<&Path>) -> Failure {
    let failure = Failure::new(
        Exit::Unreachable,
        format!("the daemon did not start: {how}"),
    );
    match log {
        Some(log) => failure.next(format!(
            "The end of its log, {}:\n{}",
            log.display(),
            tail(&fs::read(log).unwrap_or_default())
        )),
        None => failure.next(format!("\"journalctl -u {UNIT} -e\" shows why.")),
    }
}

/// The last lines of a log, indented.
fn tail(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(LOG_TAIL_LINES);
    let shown: Vec<String> = lines[start..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect();
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    #[test]
    fn a_started_daemon_gets_the_same_options() {
        let cli = Cli::try_parse_from([
            "swarmr",
            "init",
            "--socket",
            "/a/s",
            "--state-dir",
            "/a/d",
            "--engine",
            "fake",
            "--log-format",
            "json",
        ])
        .unwrap();
        let Command::Init(init) = cli.command else {
            panic!("not init");
        };
        let arguments = daemon_arguments(&cli.global, init.machine());
        let words: Vec<&str> = std::iter::once("swarmr")
            .chain(arguments.iter().map(String::as_str))
            .collect();
        let again = Cli::try_parse_from(words).unwrap();
        let Command::Daemon(flags) = again.command else {
            panic!("not the daemon");
        };
        let daemon = crate::cli::options::daemon_args(&again.global, flags);
        assert_eq!(daemon.socket, PathBuf::from("/a/s"));
        assert_eq!(daemon.state_dir, PathBuf::from("/a/d"));
        assert_eq!(daemon.engine, crate::api::EngineAddress::Fake);
        assert!(daemon.detached && daemon.log_json);
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let log: String = (0..40).map(|line| format!("{line}\n")).collect();
        let shown = tail(log.as_bytes());
        assert!(shown.starts_with("    25\n"), "{shown}");
        assert!(shown.ends_with("    39"), "{shown}");
    }
}
