//! How a command ends badly: a sentence, what to do next, and an exit code.
//!
//! The one place that maps what the daemon answers to exit codes.

use std::process::ExitCode;

use hyper::StatusCode;

use super::output::template::TemplateError;
use crate::api::client::ClientError;
use crate::api::wire::ErrorCode;
use crate::spec::parse::ParseError;

/// The exit codes, part of the contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Done = 0,
    Error = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    Denied = 5,
    Unreachable = 6,
    OutcomeUnknown = 7,
    RolledBack = 8,
    CannotBePlaced = 9,
    JobFailed = 10,
    TimedOut = 124,
    Interrupted = 130,
}

/// As `--help` lists them.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0    done
  1    error
  2    wrong usage
  3    not found
  4    conflict: name, port or object in use, changed by somebody else, already or not in a cluster
  5    denied
  6    no quorum, or the daemon or another node is unreachable
  7    outcome unknown: the change may or may not have been made
  8    update rolled back or paused
  9    cannot be placed on any node
  10   a job has failed: tasks ended badly and are not tried again
  124  timed out
  130  interrupted (the operation goes on)";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The values above all fit.
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What happened: lower case, without a full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) next: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            next: None,
        }
    }

    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(Exit::Error, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// As printed: `swarmr: …`, one line for each failure and one for what to do.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        for line in self.message.lines() {
            // What a line goes on with is indented.
            if !line.starts_with(' ') {
                text.push_str("swarmr: ");
            }
            text.push_str(line);
            text.push('\n');
        }
        if let Some(next) = &self.next {
            text.push_str(next);
            text.push('\n');
        }
        text
    }

    /// All failures of a command that went on after each of them; its exit code is theirs where
    /// they agree.
    pub(crate) fn join(failures: Vec<Self>) -> Result<(), Self> {
        let Some(first) = failures.first() else {
            return Ok(());
        };
        let agree = failures.iter().all(|failure| failure.exit == first.exit);
        let messages: Vec<&str> = failures
            .iter()
            .map(|failure| failure.message.as_str())
            .collect();
        Err(Self {
            exit: if agree { first.exit } else { Exit::Error },
            message: messages.join("\n"),
            next: first.next.clone(),
        })
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = with_sources(&error);
        match error {
            ClientError::NotRunning { .. } => Self::new(
                Exit::Unreachable,
                format!("{message}: the daemon is not running"),
            )
            .next(
                "Start it with \"systemctl start swarmr\" or \"swarmr daemon\", \
                 or say where it listens with --socket.",
            ),
            ClientError::NoPermission { .. } => Self::new(Exit::Denied, message)
                .next("Run the command as root or as a member of the group swarmr."),
            ClientError::Broken {
                may_have_happened: true,
                ..
            }
            | ClientError::TimedOut {
                may_have_happened: true,
                ..
            } => Self::new(
                Exit::OutcomeUnknown,
                format!("{message}: whether the change was made is not known"),
            )
            .next("Look before you repeat it."),
            ClientError::Broken { .. } => Self::new(Exit::Unreachable, message),
            ClientError::TimedOut { .. } => Self::new(Exit::TimedOut, message),
            // Docker's 503 also stands for what is refused because it would do harm.
            ClientError::Refused {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: None,
                ..
            } if message.contains("--force") => Self::new(Exit::Conflict, message),
            ClientError::Refused { status, code, .. } => {
                Self::new(exit_of_refusal(status, code), message)
            }
            ClientError::Undecodable { .. } => Self::error(message)
                .next("Check with \"swarmr version\" that this program and the daemon are of the same version."),
        }
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::usage(error.to_string())
    }
}

/// The exit code for a refusal: by its code where it has one, else by its status.
fn exit_of_refusal(status: StatusCode, code: Option<ErrorCode>) -> Exit {
    match code {
        Some(ErrorCode::NoQuorum | ErrorCode::EngineUnreachable | ErrorCode::Unreachable) => {
            Exit::Unreachable
        }
        Some(ErrorCode::OutcomeUnknown) => Exit::OutcomeUnknown,
        Some(
            ErrorCode::NotInCluster
            | ErrorCode::NotManager
            | ErrorCode::AlreadyInCluster
            | ErrorCode::Stale
            | ErrorCode::Conflict,
        ) => Exit::Conflict,
        Some(ErrorCode::Denied | ErrorCode::Unsafe) => Exit::Denied,
        Some(ErrorCode::NotBuilt) => Exit::Error,
        None => match status.as_u16() {
            401 | 403 => Exit::Denied,
            404 => Exit::NotFound,
            409 | 412 => Exit::Conflict,
            408 | 504 => Exit::TimedOut,
            502 | 503 => Exit::Unreachable,
            _ => Exit::Error,
        },
    }
}

/// An error and what caused it, for no error's own text repeats its source.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_answer_has_its_exit_code() {
        let table = [
            (400, None, Exit::Error),
            (401, None, Exit::Denied),
            (403, None, Exit::Denied),
            (404, None, Exit::NotFound),
            (409, None, Exit::Conflict),
            (500, None, Exit::Error),
            (501, None, Exit::Error),
            (503, None, Exit::Unreachable),
            (504, None, Exit::TimedOut),
            (400, Some(ErrorCode::Stale), Exit::Conflict),
            (400, Some(ErrorCode::Conflict), Exit::Conflict),
            (403, Some(ErrorCode::Conflict), Exit::Conflict),
            (400, Some(ErrorCode::Denied), Exit::Denied),
            (500, Some(ErrorCode::OutcomeUnknown), Exit::OutcomeUnknown),
            (503, Some(ErrorCode::NoQuorum), Exit::Unreachable),
            (503, Some(ErrorCode::NotManager), Exit::Conflict),
            (503, Some(ErrorCode::NotInCluster), Exit::Conflict),
            (503, Some(ErrorCode::AlreadyInCluster), Exit::Conflict),
            (503, Some(ErrorCode::Unreachable), Exit::Unreachable),
            (503, Some(ErrorCode::Unsafe), Exit::Denied),
            (502, Some(ErrorCode::EngineUnreachable), Exit::Unreachable),
            (501, Some(ErrorCode::NotBuilt), Exit::Error),
        ];
        for (status, code, want) in table {
            let error = ClientError::Refused {
                status: StatusCode::from_u16(status).unwrap(),
                code,
                message: "no".to_owned(),
            };
            assert_eq!(Failure::from(error).exit, want, "{status} {code:?}");
        }
    }

    #[test]
    fn a_broken_write_is_unknown_and_a_broken_read_is_not() {
        let broken = |may_have_happened| ClientError::Broken {
            socket: "/s".into(),
            may_have_happened,
            source: std::io::Error::other("reset"),
        };
        let timed_out = |may_have_happened| ClientError::TimedOut {
            after: Duration::from_secs(5),
            may_have_happened,
        };
        assert_eq!(Failure::from(broken(true)).exit, Exit::OutcomeUnknown);
        assert_eq!(Failure::from(broken(false)).exit, Exit::Unreachable);
        assert_eq!(Failure::from(timed_out(true)).exit, Exit::OutcomeUnknown);
        assert_eq!(Failure::from(timed_out(false)).exit, Exit::TimedOut);
        assert_eq!(
            Failure::from(broken(false)).report(),
            "swarmr: the connection to /s broke: reset\n"
        );
    }

    #[test]
    fn joined_failures_keep_the_code_they_share() {
        let gone = |name: &str| Failure::new(Exit::NotFound, format!("service {name} not found"));
        assert_eq!(Failure::join(vec![]), Ok(()));
        let both = Failure::join(vec![gone("a"), gone("b")]).unwrap_err();
        assert_eq!(both.exit, Exit::NotFound);
        assert_eq!(
            both.report(),
            "swarmr: service a not found\nswarmr: service b not found\n"
        );
        let mixed = Failure::join(vec![gone("a"), Failure::new(Exit::Denied, "no")]).unwrap_err();
        assert_eq!(mixed.exit, Exit::Error);
    }
}
