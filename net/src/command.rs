//! Running one of the host's tools (`nft`, `iptables`) with a deadline; the
//! shells of `balance` call it.

use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How much of a tool's complaint is kept.
const COMPLAINT_BYTES: usize = 2000;

/// Why a tool did not do what it was asked.
#[derive(Debug, Error)]
pub enum CommandError {
    /// The tool is not installed.
    #[error("{program} is not installed")]
    Missing { program: String },
    /// The tool could not be started or talked to.
    #[error("cannot run {program}")]
    Start {
        program: String,
        #[source]
        source: std::io::Error,
    },
    /// The tool was killed at its deadline.
    #[error("{program} gave no answer within {} s", deadline.as_secs())]
    TimedOut { program: String, deadline: Duration },
    /// The tool ended with an error.
    #[error("{program}: {complaint}")]
    Failed { program: String, complaint: String },
}

/// Runs `program`, feeds it `input` and returns what it printed.
pub(crate) async fn run(
    program: &str,
    arguments: &[&str],
    input: &str,
    deadline: Duration,
) -> Result<String, CommandError> {
    match tokio::time::timeout(deadline, talk(program, arguments, input)).await {
        Ok(result) => result,
        // The child dies with the dropped future.
        Err(_) => Err(CommandError::TimedOut {
            program: program.to_owned(),
            deadline,
        }),
    }
}

async fn talk(program: &str, arguments: &[&str], input: &str) -> Result<String, CommandError> {
    let start = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => CommandError::Missing {
            program: program.to_owned(),
        },
        _ => CommandError::Start {
            program: program.to_owned(),
            source,
        },
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A tool that ends early closes the pipe; its exit says why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.trim();
    Err(CommandError::Failed {
        program: program.to_owned(),
        complaint: match complaint {
            "" => output.status.to_string(),
            text => text.chars().take(COMPLAINT_BYTES).collect(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn what_is_fed_comes_back() {
        let printed = run("cat", &[], "hello", DEADLINE).await.unwrap();
        assert_eq!(printed, "hello");
    }

    #[tokio::test]
    async fn a_missing_tool_is_named() {
        let error = run("swarmr-no-such-tool", &[], "", DEADLINE)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "swarmr-no-such-tool is not installed");
    }

    #[tokio::test]
    async fn a_failing_tool_is_quoted() {
        let error = run("sh", &["-c", "echo no >&2; exit 3"], "", DEADLINE)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "sh: no");
    }

    #[tokio::test]
    async fn a_hung_tool_is_given_up() {
        let error = run("sleep", &["60"], "", Duration::from_millis(20))
            .await
            .unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }));
    }
}
