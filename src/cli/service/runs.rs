//! `swarmr service runs`.

use clap::Args;

use crate::api::wire::Service;
use crate::api::wire::job::JobRun;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::data::Data;
use crate::cli::output::format::{self, Columns, Wanted};
use crate::cli::output::{age, word};
use crate::spec::{ServiceSpec, Timestamp};

const COLUMNS: Columns = Columns {
    default: "{{.Run}}\t{{.State}}\t{{.Cause}}\t{{.Due}}\t{{.Started}}\t{{.Took}}\t{{.Tasks}}\t{{.Message}}",
    quiet: "{{.Run}}",
    headings: &[
        ("Run", "RUN"),
        ("State", "STATE"),
        ("Cause", "CAUSE"),
        ("Due", "DUE"),
        ("Started", "STARTED"),
        ("Took", "TOOK"),
        ("Tasks", "COMPLETED"),
        ("Message", "MESSAGE"),
    ],
};

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Id or name of a job
    service: String,
    /// table, "table TEMPLATE", json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show only the numbers
    #[arg(short, long)]
    quiet: bool,
}

pub(super) async fn run(context: &Context, args: RunsArgs) -> Result<(), Failure> {
    let service: Service = context.get(&["services", &args.service], &[]).await?;
    let wanted = Wanted {
        format: args.format.as_deref(),
        quiet: args.quiet,
    };
    if service.job_status.is_none() {
        return Err(Failure::error(format!("{} is no job", args.service))
            .next("\"swarmr service ls\" shows the mode of each service."));
    }
    context.print(&table(&service, context.now(), wanted)?)
}

/// A job's runs, the newest first.
pub(super) fn table(
    service: &Service,
    now: Timestamp,
    wanted: Wanted<'_>,
) -> Result<String, Failure> {
    let status = service.job_status.clone().unwrap_or_default();
    let rows: Vec<Data> = status
        .runs
        .iter()
        .rev()
        .map(|run| row(run, &service.spec, now))
        .collect();
    Ok(format::list(COLUMNS, &rows, wanted)?)
}

fn row(run: &JobRun, spec: &ServiceSpec, now: Timestamp) -> Data {
    let due = run.due_at.map(|at| local(spec, at)).unwrap_or_default();
    let due = match (run.times, run.last_due_at) {
        (Some(times), Some(last)) => format!("{due} to {} ({times})", local(spec, last)),
        _ => due,
    };
    let took = run.started_at.map(|start| {
        let length = run.ended_at.unwrap_or(now) - start;
        age::in_words(length).to_lowercase()
    });
    let started = run.started_at.map(|start| age::ago(start, now));
    let number = run.run.map(|run| run.to_string());
    let message = match (run.exit_code, run.failed_tasks) {
        (Some(code), tasks) if tasks > 0 && !run.message.contains(&format!("({code})")) => {
            format!("exit {code}: {}", run.message)
        }
        _ => run.message.clone(),
    };
    let tasks = match (run.run, run.ended_at, run.failed_tasks) {
        (None, ..) | (_, None, _) => String::new(),
        (_, _, 0) => run.completed_tasks.to_string(),
        (_, _, failed) => format!("{} ({failed} failed)", run.completed_tasks),
    };
    format::row([
        ("Run", number.unwrap_or_default().into()),
        ("State", word(&run.state).into()),
        ("Cause", word(&run.cause).into()),
        ("Due", due.into()),
        ("Started", started.unwrap_or_default().into()),
        ("Took", took.unwrap_or_default().into()),
        ("Tasks", tasks.into()),
        ("Message", message.into()),
    ])
}

/// As the clocks of the schedule's zone show it.
pub(super) fn local(spec: &ServiceSpec, at: Timestamp) -> String {
    let clock = spec.schedule().and_then(|schedule| schedule.clock().ok());
    clock.map_or_else(|| at.to_string(), |clock| clock.show(at))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn runs_are_listed_newest_first_in_the_schedules_own_time() {
        let service: Service = serde_json::from_value(json!({
            "ID": "c".repeat(25), "Version": {"Index": 1},
            "CreatedAt": "2026-11-23T02:29:50Z", "UpdatedAt": "2026-11-23T02:29:50Z",
            "Spec": {"Name": "backup", "Mode": {"ReplicatedJob": {}},
                "Swarmr": {"Schedule": {"Cron": "0 * * * *", "TimeZone": "Europe/Rome"}}},
            "JobStatus": {"JobIteration": {"Index": 2}, "Runs": [
                {"Run": 1, "State": "failed", "Cause": "schedule", "DueAt": "2026-11-23T03:00:00Z",
                    "StartedAt": "2026-11-23T03:00:00Z", "EndedAt": "2026-11-23T03:00:40Z",
                    "CompletedTasks": 1, "FailedTasks": 2, "ExitCode": 7,
                    "Message": "task: non-zero exit (7)"},
                {"State": "skipped", "Cause": "schedule", "DueAt": "2026-11-23T04:00:00Z",
                    "LastDueAt": "2026-11-23T06:00:00Z", "Times": 3, "Message": "run 1 went on"},
                {"Run": 2, "State": "running", "Cause": "request",
                    "StartedAt": "2026-11-23T06:30:00Z"}
            ]}
        }))
        .unwrap();
        let now = "2026-11-23T06:30:05Z".parse().unwrap();
        let shown = table(&service, now, Wanted::default()).unwrap();
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "RUN       STATE     CAUSE      DUE                                                      STARTED         TOOK         COMPLETED      MESSAGE",
                "2         running   request                                                             5 seconds ago   5 seconds",
                "          skipped   schedule   2026-11-23 05:00 +01:00 to 2026-11-23 07:00 +01:00 (3)                                               run 1 went on",
                "1         failed    schedule   2026-11-23 04:00 +01:00                                  4 hours ago     40 seconds   1 (2 failed)   task: non-zero exit (7)",
            ]
        );
    }
}
