//! The daemon: builds everything, owns it, decides nothing. Layer: composition.

mod options;

pub use options::{DaemonOptions, LogFormat};

/// Runs the daemon until it is told to stop.
pub fn run(_options: DaemonOptions) -> anyhow::Result<()> {
    anyhow::bail!("the daemon is not part of this build")
}
