//! Updates that go in steps, under a stream of requests.

use std::time::Duration;

use anyhow::{Result, ensure};
use testhosts::{Host, IMAGE_WEB_1, IMAGE_WEB_2};

use super::Rule;
use super::stage::Stage;
use super::web::serve;
use crate::real::{all_answered, published};

pub(super) const RULES: [Rule; 4] = [
    ("steps: promote, pause, resume", steps),
    ("steps: promoted to the end at once", to_the_end),
    ("steps go on by themselves after their time", timed_steps),
    ("steps outlive the leader", leader_lost),
];

/// Running containers of either version.
fn versions(stage: &Stage) -> Result<(usize, usize)> {
    let running = stage.running("web")?;
    let of = |image: &str| running.iter().filter(|it| it.image == image).count();
    Ok((of(IMAGE_WEB_1), of(IMAGE_WEB_2)))
}

/// Waits until so many of either version run, and none other comes for a while.
pub(super) fn rests(stage: &Stage, wanted: (usize, usize)) -> Result<()> {
    stage.until(&format!("{wanted:?} of the versions run"), || {
        let now = versions(stage)?;
        ensure!(now == wanted, "{now:?} do");
        Ok(())
    })?;
    stage.stays(Duration::from_millis(500), || {
        let now = versions(stage)?;
        ensure!(now == wanted, "it went on: {now:?} run, not {wanted:?}");
        Ok(())
    })
}

fn steps(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 6, "--update-order start-first")?;
    stage.swarmr("service update --quiet --image web:2 --update-steps 1,50%,100% web")?;
    rests(stage, (5, 1))?;
    stage.swarmr("service promote --quiet web")?;
    rests(stage, (3, 3))?;
    let both = all_answered(&probe)?;
    ensure!(both.versions.len() == 2, "{:?} answered", both.versions);
    // There is time to pause it after the first of the last three.
    stage.swarmr("service update --detach --quiet --update-delay 4s web")?;
    stage.swarmr("service promote --detach web")?;
    stage.until("the first of them is new", || {
        let now = versions(stage)?;
        ensure!(now == (2, 4), "{now:?} run");
        Ok(())
    })?;
    stage.swarmr("service pause web")?;
    stage.update_is("web", "paused")?;
    stage.swarmr("service update --detach --quiet --update-delay 0s web")?;
    rests(stage, (2, 4))?;
    stage.swarmr("service resume --quiet web")?;
    stage.all_of_image("web", IMAGE_WEB_2, 6)?;
    stage.update_is("web", "completed")?;
    let after = all_answered(&probe)?;
    Ok(format!(
        "5+1, promoted: 3+3, paused at 2+4, resumed: 0+6; {} requests, 0 failed",
        both.sent + after.sent
    ))
}

fn to_the_end(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 6, "--update-order start-first")?;
    stage.swarmr("service update --quiet --image web:2 --update-steps 1,50%,100% web")?;
    rests(stage, (5, 1))?;
    stage.swarmr("service promote --full --quiet web")?;
    stage.all_of_image("web", IMAGE_WEB_2, 6)?;
    stage.update_is("web", "completed")?;
    let window = all_answered(&probe)?;
    Ok(format!(
        "5+1, promoted once: 0+6; {} requests, 0 failed",
        window.sent
    ))
}

fn timed_steps(stage: &Stage) -> Result<String> {
    let _probe = serve(stage, 4, "--update-parallelism 0")?;
    stage.swarmr("service update --detach --quiet --image web:2 --update-steps 1:3s,100% web")?;
    stage.until("the first step", || {
        let now = versions(stage)?;
        ensure!(now == (3, 1), "{now:?} run");
        Ok(())
    })?;
    let all = stage.all_of_image("web", IMAGE_WEB_2, 4)?;
    Ok(format!("3+1, then unasked {all:?} of web:2"))
}

/// Whatever the leader knew of an update is in the replicated state.
fn leader_lost(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 4, "--update-order start-first")?;
    stage.swarmr("service update --quiet --image web:2 --update-steps 1,50%,100% web")?;
    rests(stage, (3, 1))?;
    let leader = stage.leader()?;
    // What a dead daemon's own tables say is not judged.
    let living = |host: &Host| host.name() != leader.name();
    probe.aim(published(&stage.hosts, living));
    leader.kill_daemon()?;
    stage.another_leads(leader)?;
    rests(stage, (3, 1))?;
    leader.start_daemon(&[])?;
    stage.until("the next step", || {
        stage.swarmr("service promote --detach web")
    })?;
    rests(stage, (2, 2))?;
    stage.swarmr("service promote --quiet web")?;
    stage.all_of_image("web", IMAGE_WEB_2, 4)?;
    stage.update_is("web", "completed")?;
    let window = all_answered(&probe)?;
    Ok(format!(
        "3+1 with {} and after it was killed, promoted: 2+2, 0+4; {} requests, 0 failed",
        leader.name(),
        window.sent
    ))
}
