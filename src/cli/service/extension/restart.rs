//! Flags of restarts that Docker's do not have.

use clap::Args;

use crate::spec::{Nanos, ServiceSpec, parse};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct RestartFlags {
    /// The longest that a restart waits, however often it was needed [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    restart_max_delay: Option<Nanos>,
    /// How many times longer each restart in a row waits than the one before [default: 2, and 1
    /// with --restart-max-attempts]
    #[arg(long, value_name = "FACTOR")]
    restart_backoff: Option<f64>,
    /// After running for so long a task's next restart waits for the first delay again
    /// [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    restart_reset: Option<Nanos>,
}

impl RestartFlags {
    pub(super) fn apply(&self, spec: &mut ServiceSpec) {
        let says = self.restart_max_delay.is_some()
            || self.restart_backoff.is_some()
            || self.restart_reset.is_some();
        if says {
            let extension = spec.swarmr.get_or_insert_default();
            let restart = extension.restart.get_or_insert_default();
            restart.max_delay = self.restart_max_delay.or(restart.max_delay);
            restart.backoff = self.restart_backoff.or(restart.backoff);
            restart.reset = self.restart_reset.or(restart.reset);
        }
    }
}
