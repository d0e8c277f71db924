//! Threads with a raised priority, so that other work of the process delays no heartbeat.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Nice value of the consensus, log and machine threads: above ordinary work, below real time.
const NICE: i32 = -10;

/// Starts a named thread that asks for a raised priority, and goes on without it where that is
/// not allowed.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        // On Linux a priority belongs to a thread: `None` is the calling one.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "runs at ordinary priority");
        }
        work();
    })
}
