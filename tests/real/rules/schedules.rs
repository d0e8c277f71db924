//! Schedules that are suspended, and times at which nobody led. A minute is the least between two
//! times of a schedule, so both are shown on the same two minutes of a cluster of their own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testhosts::eventually;

use super::stage::Stage;
use super::{Rule, show};

const RULES: [Rule; 3] = [
    ("a suspended schedule begins nothing", suspended),
    ("resumed, it makes up for nothing", resumed),
    ("times without a leader, by their window", missed),
];
/// A schedule of each minute is due within one.
const DUE_WITHIN: Duration = Duration::from_secs(120);
/// Engines say of what has not begun that it did so then.
const YEAR_1: &str = "0002";
/// Until this second of a minute, there is time for something before the next minute.
const IN_TIME: u32 = 45;
/// `strict` begins nothing later than this.
const WINDOW_SECONDS: u32 = 5;

#[test]
fn schedules_rest_and_are_made_up_for_as_told() {
    show(Stage::new().unwrap(), &RULES);
}

/// What the clock of the hosts shows, written as the engines write it; `of` is for `date`.
fn clock(stage: &Stage, of: &str) -> Result<String> {
    stage.hosts[0]
        .sh(&format!("date -u -d '{of}' +%Y-%m-%dT%H:%M:%S.%N"))?
        .ok()
}

/// Waits for time before the next minute; gives that minute.
fn next_minute(stage: &Stage) -> Result<String> {
    eventually("the beginning of a minute", DUE_WITHIN, || {
        let now = clock(stage, "now")?;
        let second: u32 = now[17..19].parse()?;
        ensure!(second <= IN_TIME, "it is {now}");
        let next = clock(stage, "1 minute")?;
        Ok(format!("{}:00.000000000", &next[..16]))
    })
}

/// When containers of a service began after a moment, in turn.
fn begins(stage: &Stage, service: &str, after: &str) -> Result<Vec<String>> {
    let mut begins = Vec::new();
    for container in stage.containers(service)? {
        let (began, _) = stage.lifetime(&container)?;
        if began.as_str() > after {
            begins.push(began);
        }
    }
    begins.sort();
    Ok(begins)
}

/// Waits until a container of a service has begun after a moment; gives when the first one did.
fn begun(stage: &Stage, service: &str, after: &str) -> Result<String> {
    let what = format!("a container of {service} begins after {after}");
    eventually(&what, DUE_WITHIN, || {
        let begins = begins(stage, service, after)?;
        begins.into_iter().next().context("none has")
    })
}

/// `service runs`: state, cause and time of each, the newest first.
fn runs(stage: &Stage, service: &str) -> Result<Vec<String>> {
    let format = "{{.State}} {{.Cause}} {{.Due}}";
    let listed = stage.swarmr(&format!("service runs --format '{format}' {service}"))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// A moment as `service runs` shows it.
fn due(moment: &str) -> String {
    format!("{} {} +00:00", &moment[..10], &moment[11..16])
}

fn suspended(stage: &Stage) -> Result<String> {
    let minute = next_minute(stage)?;
    let strict = format!("--missed-window {WINDOW_SECONDS}s");
    for (name, flags) in [("off", ""), ("late", ""), ("strict", &strict)] {
        stage.keep(name);
        stage.create(
            name,
            &format!("--mode cron-job --schedule '* * * * *' {flags} tools:latest sh -c 'exit 0'"),
        )?;
    }
    stage.swarmr("service update --detach --quiet --suspend off")?;
    let told = stage.swarmr("service explain off")?;
    ensure!(told.contains("the schedule is suspended"), "{told}");
    for service in ["late", "strict"] {
        let began = begun(stage, service, YEAR_1)?;
        ensure!(began > minute, "{service} began at {began}");
    }
    let none = stage.containers("off")?;
    ensure!(none.is_empty(), "{none:?} are there");
    Ok(format!(
        "{:?}; at {} two others begin, and no container of it",
        told.trim(),
        due(&minute)
    ))
}

fn resumed(stage: &Stage) -> Result<String> {
    let minute = next_minute(stage)?;
    stage.swarmr("service update --detach --quiet --resume off")?;
    let told = stage.swarmr("service explain off")?;
    ensure!(told.contains("next run"), "{told}");
    stage.stays(Duration::from_secs(2), || {
        let begins = begins(stage, "off", YEAR_1)?;
        let early = begins.iter().any(|began| *began < minute);
        ensure!(!early, "before {minute}, at {begins:?}");
        Ok(())
    })?;
    Ok(format!("no container of it begins; {:?}", told.trim()))
}

fn missed(stage: &Stage) -> Result<String> {
    let minute = next_minute(stage)?;
    stage.hosts.each(|host| host.kill_daemon())?;
    let past = format!("{minute} {WINDOW_SECONDS} seconds");
    let over = clock(stage, &past.replace('T', " "))?;
    eventually("the minute and the window are over", DUE_WITHIN, || {
        let now = clock(stage, "now")?;
        ensure!(now > over, "it is {now}");
        Ok(())
    })?;
    for service in ["off", "late", "strict"] {
        let begins = begins(stage, service, &minute)?;
        ensure!(
            begins.is_empty(),
            "{service} began with no leader: {begins:?}"
        );
    }
    let back = clock(stage, "now")?;
    stage.hosts.each(|host| host.start_daemon(&[]))?;
    for service in ["late", "off"] {
        let began = begun(stage, service, &minute)?;
        ensure!(began > back, "{service} began at {began}, before {back}");
    }
    let late = begun(stage, "late", &minute)?;
    let strict = stage.until("strict tells of what it missed", || {
        let runs = runs(stage, "strict")?;
        let missed = runs.iter().find(|run| run.starts_with("missed schedule"));
        missed.cloned().with_context(|| format!("{runs:?}"))
    })?;
    ensure!(strict.contains(&due(&minute)), "not {minute}: {strict}");
    let made_up = runs(stage, "late")?;
    let first = made_up.iter().find(|run| run.contains(&due(&minute)));
    let first = first.with_context(|| format!("{made_up:?}"))?;
    // Minutes that have come since then have their own runs.
    let next = clock(stage, &format!("{} 1 minute", minute.replace('T', " ")))?;
    let begins = begins(stage, "strict", &minute)?;
    let between = begins.iter().any(|began| *began < next);
    ensure!(!between, "strict began at {begins:?}");
    Ok(format!(
        "nobody led at {}; back at {}, 10m late are allowed: {first:?} began at {}, and what was \
         resumed too; {WINDOW_SECONDS}s late are: {strict:?}, no container",
        &minute[11..19],
        &back[11..19],
        &late[11..19],
    ))
}
