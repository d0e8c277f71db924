//! Flags of updates and rollbacks that Docker's do not have.

use clap::Args;

use crate::spec::extension::{RollingExtension, Step};
use crate::spec::{Nanos, ServiceSpec, parse};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct RollingFlags {
    /// How long a new task may take to run before it counts as failed [default: 10m]; 0 is for ever
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    update_progress_deadline: Option<Nanos>,
    /// The same for rollbacks
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    rollback_progress_deadline: Option<Nanos>,
    /// Shares or numbers of tasks after which an update waits for "service promote", or, with a
    /// time, goes on by itself: 10%,50%:5m,100%; "none" removes them
    #[arg(long, value_name = "STEP,…", value_parser = steps)]
    update_steps: Option<Steps>,
    /// After which time steps go on by themselves that say nothing else; 0 is never
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    update_step_delay: Option<Nanos>,
    /// Revisions that are remembered [default: 10]
    #[arg(long, value_name = "COUNT")]
    revisions_limit: Option<u64>,
}

#[derive(Debug, Clone)]
struct Steps(Vec<Step>);

fn steps(text: &str) -> Result<Steps, parse::ParseError> {
    if text == "none" {
        return Ok(Steps(Vec::new()));
    }
    let steps: Result<Vec<Step>, _> = text.split(',').map(str::parse).collect();
    steps.map(Steps)
}

impl RollingFlags {
    pub(super) fn apply(&self, spec: &mut ServiceSpec) {
        let says_update = self.update_progress_deadline.is_some()
            || self.update_steps.is_some()
            || self.update_step_delay.is_some();
        if says_update {
            let extension = spec.swarmr.get_or_insert_default();
            let update = extension.update.get_or_insert_default();
            update.progress_deadline = self.update_progress_deadline.or(update.progress_deadline);
            if let Some(Steps(steps)) = &self.update_steps {
                update.steps.clone_from(steps);
            }
            if let Some(delay) = self.update_step_delay {
                update.step_delay = Some(delay).filter(|delay| delay.0 > 0);
            }
        }
        if let Some(deadline) = self.rollback_progress_deadline {
            let extension = spec.swarmr.get_or_insert_default();
            let rollback: &mut RollingExtension = extension.rollback.get_or_insert_default();
            rollback.progress_deadline = Some(deadline);
        }
        if let Some(limit) = self.revisions_limit {
            spec.swarmr.get_or_insert_default().revisions_limit = Some(limit);
        }
    }
}
