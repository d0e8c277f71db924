//! Nodes that are emptied and filled again, under a stream of requests. Jobs are shown on the same
//! cluster.

use std::time::Duration;

use anyhow::{Result, ensure};
use testhosts::eventually;

use super::stage::{Container, Stage};
use super::web::{app_network, fewest, serve};
use super::{Rule, jobs, show};
use crate::real::all_answered;

const RULES: [Rule; 5] = [
    ("a drain is a rolling move, stop-first", stop_first),
    ("a drain is a rolling move, start-first", start_first),
    ("a global service's task leaves last", global_last),
    ("pause, activate, rebalance", rebalance),
    ("a drain that has no other place", blocked),
];
/// What takes a minute begins before all others and is looked at last; h3 takes tasks all the while.
const BEGIN: [Rule; 2] = [
    jobs::BEGIN,
    (
        "a node joins, and rebalancing waits for it to stay",
        begin_auto,
    ),
];
const END: [Rule; 2] = [jobs::END, ("automatic rebalancing evens out", auto)];
/// What automatic rebalancing needs: a node that has stayed for a minute, and two moves.
const REBALANCED_WITHIN: Duration = Duration::from_secs(150);

#[test]
fn jobs_end_and_nodes_are_emptied_and_filled_again() {
    let stage = Stage::of_two().unwrap();
    app_network(&stage).unwrap();
    let all = [&BEGIN[..], &jobs::RULES, &RULES, &END].concat();
    show(stage, &all);
}

/// Drains h2 of some of the six tasks of web, and says what was seen.
fn drained(stage: &Stage, flags: &str, at_least: usize) -> Result<String> {
    let probe = serve(stage, 6, &format!("--update-parallelism 2 {flags}"))?;
    let before = stage.spread("web", [2, 2, 2])?;
    let drain = "node drain --wait --timeout 60s --quiet h2";
    let (fewest, after) = fewest(stage, 6, || {
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

/// What serves on a node may need what is on every node, such as an agent for its logs.
fn global_last(stage: &Stage) -> Result<String> {
    stage.create("agent", "--mode global tools:latest")?;
    stage.spread("agent", [1, 1, 1])?;
    let probe = serve(stage, 6, "--update-order start-first --update-delay 1s")?;
    let before = stage.spread("web", [2, 2, 2])?;
    let on_h2 = |service: &str| -> Result<Vec<Container>> {
        let mut running = stage.running(service)?;
        running.retain(|container| container.host == 1);
        Ok(running)
    };
    let (agent, web) = (on_h2("agent")?, on_h2("web")?);
    stage.swarmr("node drain --wait --timeout 60s --quiet h2")?;
    let agents = stage.spread("agent", [1, 0, 1])?;
    let after = stage.spread("web", [3, 0, 3])?;
    let (_, agent_end) = stage.lifetime(&agent[0])?;
    let mut ends = Vec::new();
    for container in &web {
        let (_, end) = stage.lifetime(container)?;
        ensure!(
            agent_end > end,
            "agent ended at {agent_end}, {} at {end}",
            container.name
        );
        ends.push(end[11..23].to_owned());
    }
    ends.sort();
    let window = all_answered(&probe)?;
    Ok(format!(
        "web {before:?} to {after:?}: on h2 its two ended at {ends:?}, agent at {:?}, now {agents:?}; \
         {} requests, 0 failed",
        &agent_end[11..23],
        window.sent
    ))
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
    let (fewest, even) = fewest(stage, 9, || {
        stage.swarmr("service rebalance web")?;
        stage.spread("web", [3, 3, 3])
    })?;
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

fn begin_auto(stage: &Stage) -> Result<String> {
    stage.keep("auto");
    stage.create(
        "auto",
        "--replicas 4 --rebalance auto --constraint node.hostname!=h2 tools:latest",
    )?;
    let before = stage.spread("auto", [4, 0, 0])?;
    stage.create("each", "--mode global tools:latest")?;
    let two = stage.spread("each", [1, 1, 0])?;
    stage.join(2)?;
    let three = stage.spread("each", [1, 1, 1])?;
    stage.stays(Duration::from_secs(1), || {
        let now = stage.counts("auto")?;
        ensure!(now == before, "{now:?} at once");
        Ok(())
    })?;
    Ok(format!(
        "h3 joins: global {two:?} to {three:?}, at first {before:?} of what rebalances"
    ))
}

fn auto(stage: &Stage) -> Result<String> {
    let even = eventually("[2, 0, 2] of auto", REBALANCED_WITHIN, || {
        let now = stage.counts("auto")?;
        ensure!(now == [2, 0, 2], "{now:?}");
        Ok(now)
    })?;
    // Each that has moved has left a container that ended.
    let moves = stage.containers("auto")?.len() - 4;
    ensure!(moves == 2, "{moves} moves were made");
    Ok(format!("{even:?} after {moves} moves"))
}
