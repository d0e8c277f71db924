//! The process that holds what must not stop when the daemon does: a small program of the same
//! binary, started and told what to serve by the daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use swarmr_net::dataplane::{Launch, serve};
use tokio_util::sync::CancellationToken;

use super::options::LogFormat;
use super::{logging, socket};

/// The command's name, and what tells its processes from others.
const COMMAND: &str = "dataplane";

/// What the process is told when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataplaneOptions {
    /// Where its socket is.
    pub folder: PathBuf,
    pub log_level: String,
    pub log_format: LogFormat,
}

/// Runs until a daemon or a signal ends it.
pub fn run(options: &DataplaneOptions) -> anyhow::Result<()> {
    // A session of its own: what ends its daemon's does not end it.
    if let Err(error) = nix::unistd::setsid() {
        eprintln!("swarmr: this session cannot be left: {error}");
    }
    logging::start(&options.log_level, options.log_format)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(async {
            let stop = CancellationToken::new();
            let signalled = stop.clone();
            let signals = tokio::spawn(async move {
                if socket::wait_for_signal().await.is_ok() {
                    signalled.cancel();
                }
            });
            let served = serve(&options.folder, stop).await;
            signals.abort();
            served.context("names and published ports cannot be served")
        })
}

/// How a daemon of this program starts the process.
pub(super) fn launch(
    state_dir: &Path,
    log_level: &str,
    format: LogFormat,
) -> anyhow::Result<Launch> {
    let folder = state_dir.join(COMMAND);
    let words: [OsString; 6] = [
        COMMAND.into(),
        folder.clone().into(),
        "--log-level".into(),
        log_level.into(),
        "--log-format".into(),
        match format {
            LogFormat::Text => "text".into(),
            LogFormat::Json => "json".into(),
        },
    ];
    Ok(Launch {
        program: program()?,
        arguments: words.to_vec(),
        folder,
    })
}

/// This program; after an upgrade, the one that has taken its place.
fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find this program")?;
    let replaced = path
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"));
    Ok(replaced.map_or_else(|| path.clone(), PathBuf::from))
}
