//! `--health-*` and `--no-healthcheck`.

use clap::Args;

use crate::cli::failure::Failure;
use crate::spec::container::Healthcheck;
use crate::spec::{Nanos, parse};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct HealthFlags {
    /// Command that tells whether a task is healthy; empty for the image's
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two checks
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    health_interval: Option<Nanos>,
    /// Time that one check may take
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    health_timeout: Option<Nanos>,
    /// Failures in a row that make a task unhealthy
    #[arg(long, value_name = "COUNT")]
    health_retries: Option<i64>,
    /// Time after the start in which failures do not count
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    health_start_period: Option<Nanos>,
    /// Time between two checks while it starts
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    health_start_interval: Option<Nanos>,
    /// Do not check at all, whatever the image says
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_healthcheck: Option<bool>,
}

impl HealthFlags {
    pub(super) fn apply(&self, healthcheck: &mut Option<Healthcheck>) -> Result<(), Failure> {
        let any = self.health_cmd.is_some()
            || self.health_interval.is_some()
            || self.health_timeout.is_some()
            || self.health_retries.is_some()
            || self.health_start_period.is_some()
            || self.health_start_interval.is_some();
        if self.no_healthcheck == Some(true) {
            if any {
                return Err(Failure::usage(
                    "--no-healthcheck cannot be used with --health-*",
                ));
            }
            *healthcheck = Some(Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Healthcheck::default()
            });
            return Ok(());
        }
        if !any {
            return Ok(());
        }
        let check = healthcheck.get_or_insert_default();
        if check.test.first().is_some_and(|word| word == "NONE") {
            check.test.clear();
        }
        if let Some(command) = &self.health_cmd {
            check.test = if command.is_empty() {
                Vec::new()
            } else {
                vec!["CMD-SHELL".to_owned(), command.clone()]
            };
        }
        let times = [
            (&mut check.interval, self.health_interval),
            (&mut check.timeout, self.health_timeout),
            (&mut check.start_period, self.health_start_period),
            (&mut check.start_interval, self.health_start_interval),
        ];
        for (place, given) in times {
            if let Some(given) = given {
                *place = given;
            }
        }
        if let Some(retries) = self.health_retries {
            check.retries = retries;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_flags_exclude_and_replace_each_other() {
        let none = HealthFlags {
            no_healthcheck: Some(true),
            ..HealthFlags::default()
        };
        let mut check = None;
        none.apply(&mut check).unwrap();
        assert_eq!(check.as_ref().unwrap().test, ["NONE"]);

        let interval = HealthFlags {
            health_interval: Some(Nanos::from_secs(3)),
            ..HealthFlags::default()
        };
        interval.apply(&mut check).unwrap();
        assert!(check.as_ref().unwrap().test.is_empty());

        let command = HealthFlags {
            health_cmd: Some("true".into()),
            ..HealthFlags::default()
        };
        command.apply(&mut check).unwrap();
        assert_eq!(check.as_ref().unwrap().test, ["CMD-SHELL", "true"]);
        assert_eq!(check.as_ref().unwrap().interval, Nanos::from_secs(3));

        let both = HealthFlags {
            no_healthcheck: Some(true),
            health_retries: Some(2),
            ..HealthFlags::default()
        };
        assert!(both.apply(&mut check).is_err());
    }
}
