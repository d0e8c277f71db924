//! Nodes that are emptied and filled again, under a stream of requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use testhosts::{Apps, eventually};

use super::stage::Stage;
use super::web::{app_network, serve};
use super::{Rule, show};
use crate::real::all_answered;

const RULES: [Rule; 6] = [
    ("automatic rebalancing waits for a node to stay", begin_auto),
    ("a drain is a rolling move, stop-first", stop_first),
    ("a drain is a rolling move, start-first", start_first),
    ("pause, activate, rebalance", rebalance),
    ("a drain that has no other place", blocked),
    ("automatic rebalancing evens out", auto),
];
/// What automatic rebalancing needs: a node that has stayed for a minute, and two moves.
const REBALANCED_WITHIN: Duration = Duration::from_secs(150);

#[test]
fn nodes_are_emptied_and_filled_again_without_a_lost_request() {
    let stage = Stage::new().unwrap();
    app_network(&stage).unwrap();
    show(&stage, &RULES);
}

/// The fewest containers that accepted connections while `work` went on, and what it gave.
fn fewest<T>(stage: &Stage, work: impl FnOnce() -> Result<T>) -> Result<(usize, T)> {
    let over = AtomicBool::new(false);
    let hosts = &stage.hosts;
    thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut apps = Apps::new(hosts.iter(), 80);
            let mut fewest = apps.accepting();
            while !over.load(Ordering::SeqCst) {
                fewest = fewest.min(apps.accepting());
                thread::sleep(Duration::from_millis(5));
            }
            fewest
        });
        let done = work();
        over.store(true, Ordering::SeqCst);
        let fewest = counting.join().map_err(|_| anyhow!("counting panicked"))?;
        Ok((fewest, done?))
    })
}

/// Drains h2 of some of the six tasks of web, and says what was seen.
fn drained(stage: &Stage, flags: &str, at_least: usize) -> Result<String> {
    let probe = serve(stage, 6, &format!("--update-parallelism 2 {flags}"))?;
    let before = stage.spread("web", [2, 2, 2])?;
    let drain = "node drain --wait --timeout 60s --quiet h2";
    let (fewest, after) = fewest(stage, || {
        stage.swarmr(drain)?;
        // Nothing is left there; the last ones may still be starting elsewhere.
        let left = stage.counts("web")?[1];
        ensure!(left == 0, "{left} run on h2 once it is drained");
        stage.spread("web", [3, 0, 3])
    })?;
    ensure!(
        fewest >= at_least,
        "{fewest} containers served at a time, not {at_least}"
    );
    let window = all_answered(&probe)?;
    Ok(format!(
        "{before:?} to {after:?}, {fewest} of 6 or more served; {} requests, 0 failed",
        window.sent
    ))
}

fn stop_first(stage: &Stage) -> Result<String> {
    drained(stage, "--update-order stop-first", 4)
}

fn start_first(stage: &Stage) -> Result<String> {
    drained(stage, "--update-order start-first", 6)
}

fn rebalance(stage: &Stage) -> Result<String> {
    stage.swarmr("node pause h2")?;
    let probe = serve(stage, 4, "--update-order start-first")?;
    let paused = stage.spread("web", [2, 0, 2])?;
    stage.swarmr("node activate h2")?;
    let ids = stage.ids("web")?;
    stage.stays(Duration::from_secs(1), || {
        ensure!(stage.ids("web")? == ids, "it moved unasked");
        Ok(())
    })?;
    // What runs on a paused node stays there.
    stage.swarmr("node pause h1")?;
    stage.swarmr("service scale --detach web=6")?;
    let scaled = stage.spread("web", [2, 2, 2])?;
    stage.swarmr("service scale --detach web=9")?;
    let uneven = stage.counted("web", "9, 2 on h1", |[h1, h2, h3]| h1 == 2 && h2 + h3 == 7)?;
    stage.swarmr("node activate h1")?;
    stage.swarmr("service rebalance web")?;
    let (fewest, even) = fewest(stage, || stage.spread("web", [3, 3, 3]))?;
    ensure!(fewest >= 9, "{fewest} containers served at a time, not 9");
    let window = all_answered(&probe)?;
    Ok(format!(
        "h2 paused: {paused:?}, activated: nothing moves; h1 paused and scaled to 6: {scaled:?}, \
         to 9: {uneven:?}; rebalanced: {even:?}, never fewer than {fewest}; {} requests, 0 failed",
        window.sent
    ))
}

fn blocked(stage: &Stage) -> Result<String> {
    stage.create("only", "--constraint node.hostname==h2 tools:latest")?;
    let before = stage.spread("only", [0, 1, 0])?;
    let ids = stage.ids("only")?;
    stage.swarmr("node drain h2")?;
    let reason = stage.says("only", "cannot leave its node")?;
    ensure!(stage.ids("only")? == ids, "it was stopped all the same");
    let listed = stage.swarmr("node drain --wait --timeout 1s --quiet h2")?;
    ensure!(listed == "h2", "{listed}");
    let after = stage.counts("only")?;
    ensure!(after == [0, 0, 0], "{after:?} run after the timeout");
    Ok(format!(
        "{before:?} stays ({}), after the timeout {after:?}",
        reason.split('"').nth(1).unwrap_or_default()
    ))
}

/// It takes a minute at least, so that other rules are shown meanwhile: they leave h1 and h3 alone.
fn begin_auto(stage: &Stage) -> Result<String> {
    stage.keep("auto");
    stage.swarmr("node pause h3")?;
    stage.create(
        "auto",
        "--replicas 4 --rebalance auto --constraint node.hostname!=h2 tools:latest",
    )?;
    let before = stage.spread("auto", [4, 0, 0])?;
    stage.swarmr("node activate h3")?;
    stage.stays(Duration::from_secs(1), || {
        let now = stage.counts("auto")?;
        ensure!(now == before, "{now:?} at once");
        Ok(())
    })?;
    Ok(format!("{before:?}, h3 returns: at first {before:?}"))
}

fn auto(stage: &Stage) -> Result<String> {
    let even = eventually("[2, 0, 2] of auto", REBALANCED_WITHIN, || {
        let now = stage.counts("auto")?;
        ensure!(now == [2, 0, 2], "{now:?}");
        Ok(now)
    })?;
    Ok(format!("{even:?}"))
}
