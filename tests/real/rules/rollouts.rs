//! How updates go, stop and return, under a stream of requests.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use testhosts::{Host, IMAGE_BROKEN, IMAGE_WEB_1, IMAGE_WEB_2};

use super::canary::rests;
use super::stage::Stage;
use super::web::{app_network, fewest, serve};
use super::{Rule, canary, show};
use crate::real::{all_answered, published};

const RULES: [Rule; 8] = [
    ("parallelism bounds what is down", parallelism),
    ("health checks gate each step", health),
    ("a deadline for what can be placed nowhere", deadline),
    ("a deadline for what is never ready", never_ready),
    ("a broken update pauses", pauses),
    (
        "failures are counted over a change of leader",
        counts_outlive_leader,
    ),
    ("history, and a return to a revision", history),
    ("plan and --dry-run change nothing", rehearsals),
];

#[test]
fn updates_go_step_by_step_and_return() {
    let stage = Stage::new().unwrap();
    app_network(&stage).unwrap();
    let all = [&canary::RULES[..], &RULES].concat();
    show(stage, &all);
}

fn parallelism(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 6, "--update-parallelism 2")?;
    let update = "service update --quiet --image web:2 web";
    let (fewest, _) = fewest(stage, 6, || stage.swarmr(update))?;
    ensure!((4..6).contains(&fewest), "{fewest} of 6 served at a time");
    let all = stage.all_of_image("web", IMAGE_WEB_2, 6)?;
    let window = all_answered(&probe)?;
    Ok(format!(
        "stop-first, two at a time: {fewest} of 6 or more served, {all:?} of web:2; {} requests, 0 failed",
        window.sent
    ))
}

fn health(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 2, "--update-order start-first")?;
    let check = "--health-cmd '[ -e /tmp/well ]' --health-interval 200ms --health-retries 1000 \
        --health-start-period 60s";
    stage.swarmr(&format!(
        "service update --detach --quiet --image web:2 {check} web"
    ))?;
    for round in 1..=2 {
        // The old one stays until the new one is well.
        rests(stage, (3 - round, round))?;
        for container in stage.running("web")? {
            if container.image == IMAGE_WEB_2 {
                stage.exec(&container, ": >/tmp/well")?;
            }
        }
    }
    stage.all_of_image("web", IMAGE_WEB_2, 2)?;
    stage.update_is("web", "completed")?;
    let window = all_answered(&probe)?;
    Ok(format!(
        "2+1 and 1+2 until the newest was well, then 0+2; {} requests, 0 failed",
        window.sent
    ))
}

fn deadline(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 3, "--update-order start-first")?;
    let before = stage.ids("web")?;
    let update = "service update --quiet --constraint-add node.labels.nowhere==1 \
        --update-progress-deadline 2s --update-failure-action";
    let paused = stage.tried(&format!("{update} pause web"))?;
    ensure!(paused.code == Some(8), "{paused}");
    let message = stage.update_is("web", "paused")?;
    ensure!(message.contains("did not run within 2s"), "{message}");
    ensure!(stage.ids("web")? == before, "containers have changed");
    stage.swarmr("service rollback --quiet web")?;
    let back = stage.tried(&format!("{update} rollback web"))?;
    ensure!(back.code == Some(8), "{back}");
    stage.update_is("web", "rollback_completed")?;
    let window = all_answered(&probe)?;
    Ok(format!(
        "exit 8, the 3 old containers stay; {message:?}; {} requests, 0 failed",
        window.sent
    ))
}

fn never_ready(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 2, "--update-order start-first")?;
    let before = stage.ids("web")?;
    let failed = stage.tried(
        "service update --quiet --image web:2 --health-cmd 'exit 1' --health-interval 200ms \
         --health-retries 1000 --health-start-period 60s --update-progress-deadline 2s web",
    )?;
    ensure!(failed.code == Some(8), "{failed}");
    let message = stage.update_is("web", "paused")?;
    let reason = "did not run within 2s: waiting for its health check to pass";
    ensure!(message.contains(reason), "{message}");
    rests(stage, (2, 1))?;
    stage.swarmr("service rollback --quiet web")?;
    stage.all_of_image("web", IMAGE_WEB_1, 2)?;
    ensure!(stage.ids("web")? == before, "the old ones were stopped");
    let window = all_answered(&probe)?;
    ensure!(window.versions.len() == 1, "{:?}", window.versions);
    Ok(format!(
        "exit 8 with 2+1, {reason:?}; rolled back to the same two; {} requests, 0 failed",
        window.sent
    ))
}

fn pauses(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 4, "--restart-delay 1s")?;
    let update = "service update --quiet --image web:broken --update-failure-action";
    let paused = stage.tried(&format!("{update} pause web"))?;
    ensure!(paused.code == Some(8), "{paused}");
    stage.update_is("web", "paused")?;
    let running = stage.all_of_image("web", IMAGE_WEB_1, 3)?;
    let window = all_answered(&probe)?;
    stage.swarmr("service rollback --quiet web")?;
    let back = stage.all_of_image("web", IMAGE_WEB_1, 4)?;
    let failed = stage.tried(&format!("{update} rollback web"))?;
    ensure!(failed.code == Some(8), "{failed}");
    stage.update_is("web", "rollback_completed")?;
    let again = stage.all_of_image("web", IMAGE_WEB_1, 4)?;
    let rolled = all_answered(&probe)?;
    Ok(format!(
        "paused with {running:?} of web:1, rolled back by hand to {back:?}, by itself to {again:?}; \
         {} requests, 0 failed",
        window.sent + rolled.sent
    ))
}

/// One failure of four is allowed. Had it been forgotten with the leader, a third would be needed.
fn counts_outlive_leader(stage: &Stage) -> Result<String> {
    let flags = "--update-order start-first --update-delay 8s --update-failure-action rollback \
        --update-max-failure-ratio 0.3 --restart-delay 60s";
    let probe = serve(stage, 4, flags)?;
    let before = stage.ids("web")?;
    let mut broken = BTreeSet::new();
    let mut failed = || -> Result<usize> {
        let all = stage.containers("web")?;
        let new = all.into_iter().filter(|it| it.image == IMAGE_BROKEN);
        // Where one has failed, its successor is made and waits.
        let new = new.filter(|it| it.state != "created");
        broken.extend(new.map(|it| it.id));
        Ok(broken.len())
    };
    stage.swarmr("service update --detach --quiet --image web:broken --update-monitor 5s web")?;
    // The plan that counts it is the one that makes its successor.
    stage.says("web", "restart delay")?;
    let first = failed()?;
    let leader = stage.leader()?;
    // What a dead daemon's own tables say is not judged.
    let living = |host: &Host| host.name() != leader.name();
    probe.aim(published(&stage.hosts, living));
    leader.kill_daemon()?;
    let next = stage.another_leads(leader)?;
    let then = failed();
    leader.start_daemon(&[])?;
    let then = then?;
    ensure!(
        (first, then) == (1, 1),
        "{first}, then {then} had failed when it led"
    );
    stage.until("a second one fails", || {
        let now = failed()?;
        ensure!(now >= 2, "{now} have failed");
        Ok(())
    })?;
    let message = stage.update_is("web", "rollback_completed")?;
    let all = failed()?;
    ensure!(all == 2, "{all} failed before it returned");
    stage.all_of_image("web", IMAGE_WEB_1, 4)?;
    ensure!(stage.ids("web")? == before, "the old ones were stopped");
    let window = all_answered(&probe)?;
    ensure!(window.versions.len() == 1, "{:?}", window.versions);
    Ok(format!(
        "{first} of web:broken failed with {}, another with {}: {message:?}, the same 4 of web:1; \
         {} requests, 0 failed",
        leader.name(),
        next.name(),
        window.sent
    ))
}

fn history(stage: &Stage) -> Result<String> {
    let probe = serve(
        stage,
        3,
        "--update-parallelism 0 --update-order start-first",
    )?;
    let update = |words: &str| stage.swarmr(&format!("service update --quiet {words} web"));
    update("--image web:2")?;
    stage.all_of_image("web", IMAGE_WEB_2, 3)?;
    update("--env-add A=1")?;
    let revisions = "service history --format '{{.Revision}} {{.Cause}}' web";
    let listed = stage.swarmr(revisions)?;
    ensure!(listed.lines().count() == 3, "{listed}");
    stage.swarmr("service rollback --quiet --to-revision 1 web")?;
    let first = stage.all_of_image("web", IMAGE_WEB_1, 3)?;
    let then = stage.swarmr(revisions)?;
    stage.swarmr("service rollback --quiet --to-revision 2 web")?;
    let second = stage.all_of_image("web", IMAGE_WEB_2, 3)?;
    let window = all_answered(&probe)?;
    Ok(format!(
        "revisions {:?}, to 1: {first:?} of web:1, to 2: {second:?} of web:2; then {:?}; {} requests, 0 failed",
        listed.lines().collect::<Vec<_>>(),
        then.lines().collect::<Vec<_>>(),
        window.sent
    ))
}

fn rehearsals(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 3, "")?;
    let before = stage.ids("web")?;
    let version = || stage.field("web", "{{.Version.Index}}");
    let at = version()?;
    let planned = stage.swarmr("service plan --image web:2 web")?;
    let dry = stage.swarmr("service update --dry-run --image web:2 web")?;
    for text in [&planned, &dry] {
        for word in ["stop", "place", "run", "update completed"] {
            ensure!(text.contains(word), "no {word:?} in: {text}");
        }
    }
    let never = stage.swarmr("service plan --reserve-cpu 1000 web")?;
    ensure!(
        never.contains("insufficient resources on 3 nodes"),
        "{never}"
    );
    let made = "service create --dry-run --name never --replicas 2 tools:latest";
    let made = stage.swarmr(made)?;
    ensure!(made.contains("never.2"), "{made}");
    let explained = stage.swarmr("service explain web")?;
    ensure!(explained == "web waits for nothing", "{explained}");
    stage.stays(Duration::from_secs(1), || {
        ensure!(stage.ids("web")? == before, "containers have changed");
        ensure!(stage.containers("never")?.is_empty(), "a service was made");
        Ok(())
    })?;
    ensure!(version()? == at, "the service was written");
    let window = all_answered(&probe)?;
    ensure!(window.versions.len() == 1, "{:?}", window.versions);
    Ok(format!(
        "{} steps told, the same 3 containers and version {at} before and after; {} requests, 0 failed",
        planned.lines().count(),
        window.sent
    ))
}
