//! Tasks that are there to end, counted by the containers that have.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testhosts::eventually;

use super::Rule;
use super::stage::{Container, Stage};

pub(super) const RULES: [Rule; 5] = [
    (
        "a job completes as often as asked, so many at a time",
        replicated,
    ),
    ("a job that fails", failing),
    ("a job on each node, also on those that come later", global),
    ("another run of a job", another_run),
    ("a scheduled job by hand: forbid, allow, replace", by_hand),
];
/// Takes a minute, so that other rules are shown meanwhile.
pub(super) const BEGIN: Rule = ("a schedule of each minute", begin_schedule);
pub(super) const END: Rule = ("the schedule has run it", scheduled);
/// A schedule of each minute is due within one.
const DUE_WITHIN: Duration = Duration::from_secs(120);

/// Ended containers of a service, by host, all with this exit code.
fn ended(stage: &Stage, service: &str, code: i64) -> Result<[usize; 3]> {
    let mut counts = [0; 3];
    for container in stage.containers(service)? {
        ensure!(
            container.state == "exited",
            "{} is {}",
            container.name,
            container.state
        );
        let state = &stage.inspect(&container)?["State"];
        ensure!(
            state["ExitCode"] == code,
            "{} ended with {}",
            container.name,
            state["ExitCode"]
        );
        counts[container.host] += 1;
    }
    Ok(counts)
}

/// `service runs`: number, state, cause and completed tasks of each, the newest first.
fn runs(stage: &Stage, service: &str) -> Result<Vec<String>> {
    let format = "{{.Run}} {{.State}} {{.Cause}} {{.Tasks}}";
    let listed = stage.swarmr(&format!("service runs --format '{format}' {service}"))?;
    Ok(listed
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect())
}

fn replicated(stage: &Stage) -> Result<String> {
    stage.create(
        "import",
        "--mode replicated-job --replicas 6 --max-concurrent 2 tools:latest \
         sh -c 'until [ -e /tmp/go ]; do sleep 0.1; done'",
    )?;
    for _ in 0..3 {
        let both = stage.until("two run at a time", || {
            let running = stage.running("import")?;
            ensure!(running.len() == 2, "{} do", running.len());
            Ok(running)
        })?;
        for container in &both {
            stage.exec(container, ": >/tmp/go")?;
        }
        stage.until("both end", || {
            let running = stage.ids("import")?;
            let left = both.iter().filter(|it| running.contains(&it.id)).count();
            ensure!(left == 0, "{left} run");
            Ok(())
        })?;
    }
    let runs = stage.until("the run is completed", || {
        let runs = runs(stage, "import")?;
        ensure!(runs == ["0 completed created 6"], "{runs:?}");
        Ok(runs)
    })?;
    let counts = ended(stage, "import", 0)?;
    let sum: usize = counts.iter().sum();
    ensure!(sum == 6, "{counts:?} containers have ended");
    let containers = stage.containers("import")?;
    let most = most_at_once(stage, &containers)?;
    ensure!(most == 2, "{most} ran at a time");
    Ok(format!(
        "{counts:?} have ended with 0, {most} at a time by the engines' clock; runs: {runs:?}"
    ))
}

/// How many of the containers ran at the same time at most, as their engines tell.
fn most_at_once(stage: &Stage, containers: &[Container]) -> Result<usize> {
    // At one and the same time the end comes before the next start.
    let mut moments: BTreeMap<(String, bool), i64> = BTreeMap::new();
    for container in containers {
        let (from, to) = stage.lifetime(container)?;
        *moments.entry((from, true)).or_default() += 1;
        *moments.entry((to, false)).or_default() -= 1;
    }
    let mut now = 0;
    let counts = moments.values().map(|change| {
        now += change;
        now
    });
    let most = counts.max().context("none ran")?;
    Ok(usize::try_from(most)?)
}

fn failing(stage: &Stage) -> Result<String> {
    let failed = stage.tried(
        "service create --quiet --name wrong --mode replicated-job --restart-max-attempts 1 \
         --restart-delay 100ms tools:latest sh -c 'exit 7'",
    )?;
    ensure!(failed.code == Some(10), "{failed}");
    let counts = ended(stage, "wrong", 7)?;
    let sum: usize = counts.iter().sum();
    ensure!(sum == 2, "{counts:?} containers have ended");
    let runs = runs(stage, "wrong")?;
    ensure!(
        runs.len() == 1 && runs[0].starts_with("0 failed"),
        "{runs:?}"
    );
    Ok(format!(
        "exit 10, {sum} containers have ended with 7: one attempt and one more; runs: {runs:?}"
    ))
}

fn global(stage: &Stage) -> Result<String> {
    stage.swarmr("node pause h2")?;
    stage.swarmr(
        "service create --quiet --name scrub --mode global-job tools:latest sh -c 'exit 0'",
    )?;
    let two = ended(stage, "scrub", 0)?;
    ensure!(two == [1, 0, 1], "{two:?} have ended");
    stage.swarmr("node activate h2")?;
    let three = stage.until("one has ended on each", || {
        let counts = ended(stage, "scrub", 0)?;
        ensure!(counts == [1, 1, 1], "{counts:?}");
        Ok(counts)
    })?;
    Ok(format!(
        "h2 paused: {two:?} have ended with 0; activated: {three:?}"
    ))
}

fn another_run(stage: &Stage) -> Result<String> {
    stage.swarmr(
        "service create --quiet --name again --mode replicated-job --replicas 2 tools:latest \
         sh -c 'exit 0'",
    )?;
    let first: usize = ended(stage, "again", 0)?.iter().sum();
    stage.swarmr("service run-now --quiet again")?;
    let second: usize = ended(stage, "again", 0)?.iter().sum();
    stage.swarmr("service update --quiet --force again")?;
    let third: usize = ended(stage, "again", 0)?.iter().sum();
    ensure!(
        (first, second, third) == (2, 4, 6),
        "{first}, {second}, {third} have ended"
    );
    let runs = runs(stage, "again")?;
    ensure!(
        runs == [
            "2 completed updated 2",
            "1 completed request 2",
            "0 completed created 2"
        ],
        "{runs:?}"
    );
    Ok(format!(
        "{first}, {second}, {third} containers have ended; runs: {runs:?}"
    ))
}

fn by_hand(stage: &Stage) -> Result<String> {
    stage.create(
        "backup",
        "--mode cron-job --schedule @yearly --concurrency forbid tools:latest",
    )?;
    let none = stage.containers("backup")?.len();
    stage.swarmr("service run-now --detach backup")?;
    let one = stage.counted("backup", "one", |counts| counts.iter().sum::<usize>() == 1)?;
    let before = stage.ids("backup")?;
    let refused = stage.tried("service run-now --detach backup")?;
    ensure!(refused.code == Some(4), "{refused}");
    let allow = |what: &str| {
        stage.swarmr(&format!(
            "service update --detach --quiet --concurrency {what} backup"
        ))
    };
    allow("allow")?;
    stage.swarmr("service run-now --detach backup")?;
    let both = stage.counted("backup", "two", |counts| counts.iter().sum::<usize>() == 2)?;
    let before = &stage.ids("backup")? | &before;
    ensure!(before.len() == 2, "the first run was stopped");
    allow("replace")?;
    stage.swarmr("service run-now --detach backup")?;
    let other = stage.counted("backup", "another one", |counts| {
        counts.iter().sum::<usize>() == 1
            && stage
                .ids("backup")
                .is_ok_and(|ids| ids.is_disjoint(&before))
    })?;
    let runs = runs(stage, "backup")?;
    ensure!(none == 0 && runs.len() == 3, "{none} at first; {runs:?}");
    Ok(format!(
        "{none} until it is asked for, then {one:?}, a second is refused; with allow {both:?}; with replace only another: {other:?}; runs: {runs:?}"
    ))
}

fn begin_schedule(stage: &Stage) -> Result<String> {
    stage.keep("tick");
    // Not where the minute may begin while the node is being drained: what is moved ends twice.
    stage.create(
        "tick",
        "--mode cron-job --schedule '* * * * *' --replicas 2 --constraint node.hostname!=h2 \
         tools:latest sh -c 'exit 0'",
    )?;
    let next = stage.swarmr("service explain tick")?;
    Ok(next)
}

fn scheduled(stage: &Stage) -> Result<String> {
    let (counts, runs) = eventually("the schedule runs it", DUE_WITHIN, || {
        let runs = runs(stage, "tick")?;
        ensure!(
            runs.iter().any(|run| run.ends_with("completed schedule 2")),
            "{runs:?}"
        );
        Ok((ended(stage, "tick", 0)?, runs))
    })?;
    let sum: usize = counts.iter().sum();
    ensure!(sum >= 2 && sum.is_multiple_of(2), "{counts:?} have ended");
    let first = stage.containers("tick")?;
    let (started, _) = stage.lifetime(&first[0])?;
    Ok(format!(
        "{counts:?} have ended with 0, the first began at {started}; runs: {runs:?}"
    ))
}
