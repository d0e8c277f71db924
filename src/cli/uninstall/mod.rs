//! `swarmr uninstall`: takes away everything that swarmr made on this machine, and nothing else.

mod kernel;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use tokio::time::Instant;

use super::args::Global;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::options::MachineFlags;
use crate::api::client::{Client, ClientError, target};

/// Containers and engine networks of ours carry it.
const LABEL: &str = r#"{"label":{"io.swarmr.cluster":true}}"#;
const UNIT: &str = "swarmr.service";
const UNIT_FILE: &str = "/etc/systemd/system/swarmr.service";
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Removing a container waits for its end.
const ENGINE_DEADLINE: Duration = Duration::from_secs(60);
/// What the daemon keeps in its state directory: a directory with none of it is not ours.
const STATE_ENTRIES: [&str; 5] = ["node", "tls", "raft", "agent", "daemon.log"];
/// What it keeps as long as the node is in a cluster.
const MEMBER_FILE: &str = "node/settings.json";

#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// Go on although this node is in a cluster
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    machine: MachineFlags,
}

pub(crate) async fn run(
    context: &Context,
    global: &Global,
    args: UninstallArgs,
) -> Result<(), Failure> {
    let state_dir = &args.machine.state_dir;
    if !args.force {
        refuse_member(context, state_dir).await?;
    }
    let mut failures = Vec::new();
    let mut done = |outcome: Result<String, Failure>| match outcome {
        Ok(said) if said.is_empty() => {}
        Ok(said) => context.say(&said),
        Err(failure) => failures.push(failure),
    };
    if global.is_default_socket() {
        done(disable_unit());
    }
    done(stop_server(&context.client, "the daemon").await);
    done(stop_dataplane(context, state_dir).await);
    if let Some(engine) = args.machine.engine_socket() {
        done(empty_engine(context, engine).await);
        for outcome in kernel::clean() {
            done(outcome);
        }
    }
    done(remove_state(state_dir));
    done(remove_socket(context.client.socket()));
    Failure::join(failures).map_err(|failure| {
        failure.next("What could be removed was. Mend what is named above and run it again.")
    })
}

async fn refuse_member(context: &Context, state_dir: &Path) -> Result<(), Failure> {
    match context.client.ping().await {
        Ok(()) => {
            let info = context.swarm_info().await?;
            if info.local_node_state == "inactive" {
                return Ok(());
            }
            Err(Failure::new(
                Exit::Conflict,
                format!("this node is in a cluster ({})", info.local_node_state),
            )
            .next("Leave it first with \"swarmr leave\", or use --force."))
        }
        Err(ClientError::NotRunning { .. }) if !state_dir.join(MEMBER_FILE).exists() => Ok(()),
        Err(ClientError::NotRunning { .. }) => Err(Failure::new(
            Exit::Conflict,
            format!(
                "{} belongs to a member of a cluster, and no daemon runs that could leave it",
                state_dir.display()
            ),
        )
        .next("Start the daemon and use \"swarmr leave\", or use --force.")),
        Err(error) => Err(error.into()),
    }
}

fn disable_unit() -> Result<String, Failure> {
    if !Path::new(UNIT_FILE).exists() {
        return Ok(String::new());
    }
    kernel::succeed(Command::new("systemctl").args(["disable", "--now", UNIT]))?;
    std::fs::remove_file(UNIT_FILE)
        .map_err(|error| Failure::error(format!("{UNIT_FILE}: {error}")))?;
    kernel::succeed(Command::new("systemctl").arg("daemon-reload"))?;
    Ok(format!("Removed the unit {UNIT}"))
}

/// Stops the process that listens where `client` would ask.
async fn stop_server(client: &Client, what: &str) -> Result<String, Failure> {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let Some(pid) = client.server_pid().await else {
        return Ok(String::new());
    };
    kill(Pid::from_raw(pid), Signal::SIGTERM)
        .map_err(|error| Failure::error(format!("{what} (process {pid}): {error}")))?;
    let deadline = Instant::now() + STOP_DEADLINE;
    while Path::new("/proc").join(pid.to_string()).exists() {
        if Instant::now() > deadline {
            return Err(Failure::error(format!(
                "{what} (process {pid}) did not end within {} s",
                STOP_DEADLINE.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(format!("Stopped {what} (process {pid})"))
}

/// What outlives daemons ends too: each listens on a socket of its own.
async fn stop_dataplane(context: &Context, state_dir: &Path) -> Result<String, Failure> {
    let folder = std::fs::read_dir(state_dir.join("dataplane"));
    let mut said = Vec::new();
    for entry in folder.into_iter().flatten().flatten() {
        let client = Client::new(&entry.path(), context.client.request_id());
        said.push(stop_server(&client, "the data plane").await?);
    }
    said.retain(|said| !said.is_empty());
    Ok(said.join("\n"))
}

async fn empty_engine(context: &Context, socket: &Path) -> Result<String, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Object {
        id: String,
    }
    let engine = Client::new(socket, context.client.request_id()).with_deadline(ENGINE_DEADLINE);
    let query = [("all", "1"), ("filters", LABEL)];
    let containers: Vec<Object> = match engine.get(&target(&["containers", "json"], &query)).await {
        Ok(containers) => containers,
        // No engine, no containers.
        Err(ClientError::NotRunning { .. }) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    for container in &containers {
        let query = [("force", "1"), ("v", "1")];
        engine
            .delete(&target(&["containers", &container.id], &query))
            .await?;
    }
    let networks: Vec<Object> = engine
        .get(&target(&["networks"], &[("filters", LABEL)]))
        .await?;
    for network in &networks {
        engine
            .delete(&target(&["networks", &network.id], &[]))
            .await?;
    }
    Ok(format!(
        "Removed {} containers and {} networks from the engine",
        containers.len(),
        networks.len()
    ))
}

fn remove_state(state_dir: &Path) -> Result<String, Failure> {
    if !state_dir.exists() {
        return Ok(String::new());
    }
    let is_ours = STATE_ENTRIES
        .iter()
        .any(|entry| state_dir.join(entry).exists());
    if !is_ours {
        return Err(Failure::error(format!(
            "{} does not look like a state directory: it was left alone",
            state_dir.display()
        )));
    }
    std::fs::remove_dir_all(state_dir)
        .map_err(|error| Failure::error(format!("{}: {error}", state_dir.display())))?;
    Ok(format!("Removed {}", state_dir.display()))
}

fn remove_socket(socket: &Path) -> Result<String, Failure> {
    match std::fs::remove_file(socket) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(Failure::error(format!("{}: {error}", socket.display()))),
    }
    // The directory is ours when nothing else is in it.
    if let Some(dir) = socket.parent().filter(|dir| dir.ends_with("swarmr")) {
        drop(std::fs::remove_dir(dir));
    }
    Ok(format!("Removed {}", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("letters"), "dear").unwrap();
        assert!(remove_state(dir.path()).is_err());
        assert!(dir.path().join("letters").exists());
        std::fs::create_dir(dir.path().join("raft")).unwrap();
        assert!(remove_state(dir.path()).is_ok());
        assert!(!dir.path().exists());
        assert_eq!(remove_state(dir.path()).unwrap(), "");
    }

    #[test]
    fn a_socket_is_removed_with_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("swarmr");
        std::fs::create_dir(&run).unwrap();
        let socket = run.join("docker.sock");
        std::fs::write(&socket, "").unwrap();
        assert!(remove_socket(&socket).is_ok());
        assert!(!run.exists());
        assert_eq!(remove_socket(&socket).unwrap(), "");
    }
}
