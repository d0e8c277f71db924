//! Flags of a job's schedule.

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::values;
use crate::spec::schedule::Concurrency;
use crate::spec::{Nanos, Schedule, ServiceSpec, parse};

#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli::service) struct ScheduleFlags {
    /// Run a job by the clock: "*/5 8-18 * * mon-fri", @daily; "" for no schedule
    #[arg(long, value_name = "CRON")]
    pub(in crate::cli::service) schedule: Option<String>,
    /// Time zone of the schedule, such as Europe/Rome [default: UTC]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// What happens when a run is due while another goes on [default: forbid]
    #[arg(long, value_parser = values::concurrency())]
    concurrency: Option<Concurrency>,
    /// How late a run may start if no manager led at its time [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    missed_window: Option<Nanos>,
    /// Runs that are remembered [default: 10]
    #[arg(long, value_name = "COUNT")]
    history_runs: Option<u64>,
    /// Start no runs by the schedule until --resume
    #[arg(long, conflicts_with = "resume")]
    suspend: bool,
    /// Start runs by the schedule again; what was due meanwhile is not made up for
    #[arg(long)]
    resume: bool,
}

impl ScheduleFlags {
    fn any(&self) -> bool {
        self.schedule.is_some()
            || self.timezone.is_some()
            || self.concurrency.is_some()
            || self.missed_window.is_some()
            || self.history_runs.is_some()
            || self.suspend
            || self.resume
    }

    /// Puts what was given into `spec`.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        if !self.any() {
            return Ok(());
        }
        let extension = spec.swarmr.get_or_insert_default();
        if self.schedule.as_deref() == Some("") {
            extension.schedule = None;
            return Ok(());
        }
        if extension.schedule.is_none() && self.schedule.is_none() {
            return Err(Failure::usage(
                "--timezone, --concurrency, --missed-window, --history-runs, --suspend and \
                 --resume are for jobs with a schedule: give --schedule too",
            ));
        }
        let schedule = extension.schedule.get_or_insert_with(Schedule::default);
        if let Some(cron) = &self.schedule {
            schedule.cron.clone_from(cron);
        }
        if let Some(zone) = &self.timezone {
            schedule.time_zone.clone_from(zone);
        }
        if let Some(concurrency) = self.concurrency {
            schedule.concurrency = concurrency;
        }
        schedule.missed_window = self.missed_window.or(schedule.missed_window);
        schedule.history_runs = self.history_runs.or(schedule.history_runs);
        schedule.suspended = (schedule.suspended || self.suspend) && !self.resume;
        Ok(())
    }
}
