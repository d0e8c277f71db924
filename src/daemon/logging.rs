//! Where log lines go: journald when it is our parent, else standard error; levels per module.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::options::LogFormat;

/// Starts logging for the whole process. `RUST_LOG` wins over `--log-level`.
pub(super) fn start(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(levels) if !levels.is_empty() => EnvFilter::try_new(levels).context("RUST_LOG")?,
        _ => EnvFilter::try_new(levels(level))
            .with_context(|| format!("--log-level {:?}: want a level, or MODULE=LEVEL,…", level))?,
    };
    let registry = tracing_subscriber::registry().with(filter);
    // systemd says so when standard error is its journal's stream.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let started = match (format, journal) {
        (LogFormat::Json, _) => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        (LogFormat::Text, Some(journal)) => registry.with(journal).try_init(),
        (LogFormat::Text, None) => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let layer = tracing_subscriber::fmt::layer()
                .with_ansi(colour)
                .with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    };
    started.context("logging cannot be started")
}

/// A plain level is meant for swarmr: the consensus library tells each step at `info`, and each
/// heartbeat that a dead member does not answer at `warn`; the name server tells each question.
fn levels(text: &str) -> String {
    match text {
        "info" => "info,openraft=error,hickory_server=warn".to_owned(),
        "debug" => "debug,openraft=info,hickory_server=warn".to_owned(),
        _ => text.to_owned(),
    }
}
