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
const DETACHED: &str = "--detached";
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
    if Path::new("/run/systemd/system").is_dir() {
        match unit_plan(unit_is_installed(), global, machine) {
            UnitPlan::Start => {
                systemctl(&["start", UNIT])?;
                return wait_for(context, None).await;
            }
            UnitPlan::Install => {
                install_unit(global, machine)?;
                context.say(&format!("Installed and started the unit {UNIT}"));
                return wait_for(context, None).await;
            }
            UnitPlan::DoWithout => {}
        }
    }
    let log = machine.state_dir.join("daemon.log");
    let mut started = start_detached(global, machine, log)?;
    context.say(&format!(
        "Started the daemon (process {}), its log is {}",
        started.process.id(),
        started.log.display()
    ));
    wait_for(context, Some(&mut started)).await
}

/// What to do with systemd's unit.
#[derive(Debug, PartialEq, Eq)]
enum UnitPlan {
    Start,
    Install,
    /// Another daemon beside the unit's.
    DoWithout,
}

/// There is one unit, for the usual socket and state directory; it is not rewritten.
fn unit_plan(installed: bool, global: &Global, machine: &MachineFlags) -> UnitPlan {
    let usual_place = global.is_default_socket() && machine.is_default_place();
    match (usual_place, installed) {
        (true, true) if machine.is_default() => UnitPlan::Start,
        (true, false) => UnitPlan::Install,
        _ => UnitPlan::DoWithout,
    }
}

fn unit_is_installed() -> bool {
    UNIT_DIRS
        .iter()
        .any(|dir| Path::new(dir).join(UNIT).exists())
}

fn install_unit(global: &Global, machine: &MachineFlags) -> Result<(), Failure> {
    let program = this_program()?;
    let text = unit_text(&program, &daemon_arguments(global, machine));
    let path = Path::new(UNIT_DIRS[0]).join(UNIT);
    fs::write(&path, text).map_err(|error| cannot_write("unit", &path, &error))?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", "--now", UNIT])
}

/// The unit that comes with the program, for a program and options of one's own.
fn unit_text(program: &Path, arguments: &[String]) -> String {
    let words: Vec<String> = std::iter::once(program.display().to_string())
        .chain(arguments.iter().cloned())
        // It is systemd's to watch, so it stays in its session.
        .filter(|word| word != DETACHED)
        .map(|word| {
            let quoted = word.replace('%', "%%").replace('"', "\\\"");
            if quoted.contains(' ') {
                format!("\"{quoted}\"")
            } else {
                quoted
            }
        })
        .collect();
    let start = format!("ExecStart={}", words.join(" "));
    include_str!("../../scripts/swarmr.service")
        .lines()
        .map(|line| {
            let line = if line.starts_with("ExecStart=") {
                &start
            } else {
                line
            };
            format!("{line}\n")
        })
        .collect()
}

fn systemctl(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new("systemctl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::error(format!("systemctl: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::error(format!(
        "systemctl {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
    .next(format!("\"journalctl -u {UNIT} -e\" shows why.")))
}

/// A daemon that this command started.
struct Started {
    process: Child,
    log: PathBuf,
    /// Where in the log it began.
    log_offset: usize,
}

fn start_detached(
    global: &Global,
    machine: &MachineFlags,
    log: PathBuf,
) -> Result<Started, Failure> {
    const WHAT: &str = "state directory";
    let state_dir = &machine.state_dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|error| cannot_write(WHAT, state_dir, &error))?;
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|error| cannot_write(WHAT, &log, &error))?;
    let written = out
        .metadata()
        .map_err(|error| cannot_write(WHAT, &log, &error))?
        .len();
    let err = out
        .try_clone()
        .map_err(|error| cannot_write(WHAT, &log, &error))?;
    let program = this_program()?;
    let process = Command::new(&program)
        .args(daemon_arguments(global, machine))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| Failure::error(format!("{}: {error}", program.display())))?;
    Ok(Started {
        process,
        log,
        log_offset: usize::try_from(written).unwrap_or(0),
    })
}

fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::error(format!("cannot find this program: {error}")))
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
        DETACHED.to_owned(),
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
    for resource in &machine.node_generic_resource {
        arguments.extend(["--node-generic-resource".to_owned(), resource.to_string()]);
    }
    for kind in &machine.node_device {
        arguments.extend(["--node-device".to_owned(), kind.to_string()]);
    }
    arguments
}

fn cannot_write(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Error,
    };
    Failure::new(
        exit,
        format!("{what}: {} cannot be written: {error}", path.display()),
    )
    .next("Run the command as root, or choose another place with --state-dir.")
}

/// Waits until the daemon answers, or says why it does not. `None` is systemd's daemon.
async fn wait_for(context: &Context, mut started: Option<&mut Started>) -> Result<(), Failure> {
    let client = context.client.with_deadline(Duration::from_secs(2));
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        if client.ping().await.is_ok() {
            return Ok(());
        }
        if let Some(started) = &mut started
            && let Ok(Some(status)) = started.process.try_wait()
        {
            let how = format!("it ended with {status}");
            return Err(did_not_start(&how, Some(started)));
        }
        if Instant::now() > deadline {
            let how = format!("it did not answer within {} s", START_DEADLINE.as_secs());
            return Err(did_not_start(&how, started.as_deref()));
        }
        tokio::time::sleep(PING_PERIOD).await;
    }
}

fn did_not_start(how: &str, started: Option<&Started>) -> Failure {
    let failure = Failure::new(
        Exit::Unreachable,
        format!("the daemon did not start: {how}"),
    );
    let Some(started) = started else {
        return failure.next(format!("\"journalctl -u {UNIT} -e\" shows why."));
    };
    let log = fs::read(&started.log).unwrap_or_default();
    failure.next(format!(
        "What it wrote to {}:\n{}",
        started.log.display(),
        tail(log.get(started.log_offset..).unwrap_or_default())
    ))
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
    fn the_unit_is_started_or_installed_for_the_usual_place_only() {
        let planned = |installed, words: &[&str]| {
            let words = ["swarmr", "init"].into_iter().chain(words.iter().copied());
            let cli = Cli::try_parse_from(words).unwrap();
            let Command::Init(init) = cli.command else {
                panic!("not init");
            };
            unit_plan(installed, &cli.global, init.machine())
        };
        let usual = [
            "--socket",
            "/run/swarmr/docker.sock",
            "--state-dir",
            "/var/lib/swarmr",
        ];
        let with = |engine| [&usual[..], &["--engine", engine]].concat();
        let docker = "unix:///var/run/docker.sock";
        assert_eq!(planned(true, &with(docker)), UnitPlan::Start);
        assert_eq!(planned(false, &with(docker)), UnitPlan::Install);
        assert_eq!(planned(false, &with("fake")), UnitPlan::Install);
        assert_eq!(planned(true, &with("fake")), UnitPlan::DoWithout);
        let elsewhere = ["--socket", "/x", "--state-dir", "/y"];
        assert_eq!(planned(true, &elsewhere), UnitPlan::DoWithout);
        assert_eq!(planned(false, &elsewhere), UnitPlan::DoWithout);
    }

    #[test]
    fn an_installed_unit_runs_this_program_with_these_options() {
        let arguments = ["daemon", "--detached", "--state-dir", "/a b"].map(str::to_owned);
        let text = unit_text(Path::new("/opt/swarmr"), &arguments);
        assert!(
            text.contains("\nExecStart=/opt/swarmr daemon --state-dir \"/a b\"\n"),
            "{text}"
        );
        assert!(text.contains("\nRestart=always\n"), "{text}");
        assert!(!text.contains(DETACHED), "{text}");
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let log: String = (0..40).map(|line| format!("{line}\n")).collect();
        let shown = tail(log.as_bytes());
        assert!(shown.starts_with("    25\n"), "{shown}");
        assert!(shown.ends_with("    39"), "{shown}");
    }
}
