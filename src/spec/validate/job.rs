//! What can be wrong with a job and its schedule.

use super::Findings;
use crate::spec::schedule::ClockError;
use crate::spec::{Mode, Schedule, ServiceSpec};

pub(super) fn check_job(spec: &ServiceSpec, found: &mut Findings) {
    if let Some(schedule) = spec.schedule() {
        check_schedule(schedule, spec.mode.is_job(), found);
    }
    if !spec.mode.is_job() {
        return;
    }
    for (name, config) in [
        ("UpdateConfig", &spec.update_config),
        ("RollbackConfig", &spec.rollback_config),
    ] {
        if config.is_some() {
            found.add(
                name,
                "a config".to_owned(),
                "update and rollback configuration is not supported for jobs",
                "leave it out: an update of a job is a new run",
            );
        }
    }
    if let Mode::ReplicatedJob(job) = &spec.mode
        && job.max_concurrent() == 0
        && job.total_completions() > 0
    {
        found.add(
            "Mode.ReplicatedJob.MaxConcurrent",
            "0".to_owned(),
            "1 or more, or nothing would ever run",
            "give the number of tasks that may run at once",
        );
    }
}

fn check_schedule(schedule: &Schedule, is_job: bool, found: &mut Findings) {
    let at = "Swarmr.Schedule";
    if !is_job {
        found.add(
            at,
            format!("{:?}", schedule.cron),
            "only the modes replicated-job and global-job run by a schedule",
            "create the service with --mode cron-job",
        );
    }
    match schedule.clock() {
        Ok(_) => {}
        Err(ClockError::Cron(error)) => found.add(
            format!("{at}.Cron"),
            format!("{:?}", schedule.cron),
            &error.to_string(),
            "write it as \"*/5 8-18 * * mon-fri\" or @daily",
        ),
        Err(error @ ClockError::Zone(_)) => found.add(
            format!("{at}.TimeZone"),
            format!("{:?}", schedule.time_zone),
            &error.to_string(),
            "",
        ),
    }
    if let Some(window) = schedule.missed_window {
        found.length(format!("{at}.MissedWindow"), window);
    }
    let most = Schedule::MOST_HISTORY_RUNS;
    if schedule
        .history_runs
        .is_some_and(|runs| runs == 0 || runs > most)
    {
        found.add(
            format!("{at}.HistoryRuns"),
            schedule.history_runs.unwrap_or_default().to_string(),
            &format!("1 to {most}: runs are part of what all managers hold"),
            "",
        );
    }
    for name in schedule.other.keys() {
        found.add(
            format!("{at}.{name}"),
            name.clone(),
            "no such setting in this version",
            "remove it, or update swarmr on this manager",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::validate::validate;

    fn problems(mode: &serde_json::Value, schedule: &serde_json::Value) -> Vec<String> {
        let spec = json!({
            "Name": "job", "TaskTemplate": {"ContainerSpec": {"Image": "job:1"}},
            "Mode": mode, "Swarmr": {"Schedule": schedule},
        });
        let spec: ServiceSpec = serde_json::from_value(spec).unwrap();
        let problems = validate(&spec).into_iter();
        problems.map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn each_setting_of_a_schedule_is_checked() {
        let job = json!({"ReplicatedJob": {}});
        assert_eq!(
            problems(&job, &json!({"Cron": "@daily", "TimeZone": "Europe/Rome"})),
            [""; 0]
        );
        for (schedule, part) in [
            (json!({}), "Swarmr.Schedule.Cron: got \"\""),
            (json!({"Cron": "61 * * * *"}), "\"61\" is no minute"),
            (
                json!({"Cron": "@daily", "TimeZone": "Rome"}),
                "no time zone \"Rome\"",
            ),
            (
                json!({"Cron": "@daily", "MissedWindow": -1}),
                "MissedWindow: got -1 ns",
            ),
            (
                json!({"Cron": "@daily", "HistoryRuns": 101}),
                "HistoryRuns: got 101: 1 to 100",
            ),
            (
                json!({"Cron": "@daily", "Often": 1}),
                "Swarmr.Schedule.Often",
            ),
        ] {
            let said = problems(&job, &schedule);
            assert!(
                said.len() == 1 && said[0].contains(part),
                "{schedule}: {said:?}"
            );
        }
        let service = problems(&json!({"Replicated": {}}), &json!({"Cron": "@daily"}));
        assert!(service[0].contains("--mode cron-job"), "{service:?}");
    }

    #[test]
    fn a_job_has_no_rollout_and_some_concurrency() {
        let spec = json!({
            "Name": "job", "TaskTemplate": {"ContainerSpec": {"Image": "job:1"}},
            "Mode": {"ReplicatedJob": {"MaxConcurrent": 0, "TotalCompletions": 1}},
            "UpdateConfig": {"Parallelism": 1},
        });
        let spec: ServiceSpec = serde_json::from_value(spec).unwrap();
        let said: Vec<String> = validate(&spec).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("not supported for jobs"), "{said:?}");
        assert!(said[1].contains("MaxConcurrent: got 0"), "{said:?}");
    }
}
