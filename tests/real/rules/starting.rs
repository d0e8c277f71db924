//! When tasks start, end and start again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testhosts::IMAGE_WEB_1;

use super::stage::{Container, Stage};
use super::web::{app_network, serve};
use super::{Rule, show};
use crate::real::all_answered;

const RULES: [Rule; 12] = [
    ("depends on started", started),
    ("depends on healthy", healthy),
    ("depends on completed", completed),
    ("an update waits for what it depends on", on_update),
    ("init containers run to their ends, in turn", inits),
    ("an init container that fails", failing_init),
    ("restarts back off, and the loop is told of", crash_loop),
    ("what is killed is restarted in its place", killed),
    ("conditions and attempts of restarts", conditions),
    ("ended tasks are remembered up to a limit", history_limit),
    ("restart: all anew, by the update policy", restart),
    ("stop and start", stop_and_start),
];
/// A health check that waits for a word.
const CHECK: &str = "--health-cmd '[ -e /tmp/well ]' --health-interval 200ms \
    --health-retries 1000 --health-start-period 60s";

#[test]
fn tasks_start_end_and_start_again() {
    let stage = Stage::new().unwrap();
    app_network(&stage).unwrap();
    show(stage, &RULES);
}

/// None of a service's containers may have been started, however far they are prepared.
fn has_not_begun(stage: &Stage, service: &str) -> Result<()> {
    for container in stage.containers(service)? {
        ensure!(
            container.state == "created",
            "{} is {}",
            container.name,
            container.state
        );
    }
    Ok(())
}

/// The only container of a service that runs.
fn only(stage: &Stage, service: &str) -> Result<Container> {
    stage.until(&format!("one container of {service} runs"), || {
        let running = stage.running(service)?;
        ensure!(running.len() == 1, "{running:?} do");
        running.into_iter().next().context("none does")
    })
}

fn started(stage: &Stage) -> Result<String> {
    stage.create("app", "--replicas 2 --depends-on db tools:latest")?;
    let reason = stage.says("app", "waiting for service db, which does not exist yet")?;
    has_not_begun(stage, "app")?;
    stage.create("db", "tools:latest")?;
    stage.counted("app", "2", |counts| counts.iter().sum::<usize>() == 2)?;
    let (db, _) = stage.lifetime(&only(stage, "db")?)?;
    for container in stage.running("app")? {
        let (app, _) = stage.lifetime(&container)?;
        ensure!(app > db, "{} began at {app}, db at {db}", container.name);
    }
    Ok(format!("{}; then db began before both", quoted(&reason)))
}

/// What stands in quotes at the end of a line of `service ps`.
fn quoted(line: &str) -> &str {
    line.split('"').nth(1).unwrap_or_default()
}

fn healthy(stage: &Stage) -> Result<String> {
    stage.create("db", &format!("{CHECK} tools:latest"))?;
    stage.create("app", "--replicas 2 --depends-on db:healthy tools:latest")?;
    let db = only(stage, "db")?;
    let reason = stage.says(
        "app",
        "waiting for service db to be healthy: 0 of 1 tasks are",
    )?;
    stage.stays(Duration::from_secs(1), || has_not_begun(stage, "app"))?;
    stage.exec(&db, ": >/tmp/well")?;
    let two = stage.counted("app", "2", |counts| counts.iter().sum::<usize>() == 2)?;
    Ok(format!("{}; once db is well: {two:?}", quoted(&reason)))
}

fn completed(stage: &Stage) -> Result<String> {
    stage.create("app", "--depends-on migrate:completed tools:latest")?;
    stage.create(
        "migrate",
        "--mode replicated-job --replicas 2 tools:latest sh -c 'until [ -e /tmp/go ]; do sleep 0.1; done'",
    )?;
    let two = stage.counted("migrate", "2", |counts| counts.iter().sum::<usize>() == 2)?;
    let running = stage.running("migrate")?;
    stage.exec(&running[0], ": >/tmp/go")?;
    let reason = stage.says(
        "app",
        "waiting for service migrate to be completed: 1 of 2 tasks are",
    )?;
    has_not_begun(stage, "app")?;
    stage.exec(&running[1], ": >/tmp/go")?;
    let (app, _) = stage.lifetime(&only(stage, "app")?)?;
    for container in stage.containers("migrate")? {
        let (_, end) = stage.lifetime(&container)?;
        ensure!(
            end < app,
            "{} ended at {end}, app began at {app}",
            container.name
        );
    }
    Ok(format!(
        "{two:?} of migrate; {}; app began after the ends of both",
        quoted(&reason)
    ))
}

fn on_update(stage: &Stage) -> Result<String> {
    stage.create("db", "--update-monitor 500ms tools:latest")?;
    only(stage, "db")?;
    stage.create(
        "app",
        "--network app --update-monitor 500ms --depends-on db:healthy,update web:1",
    )?;
    let before = only(stage, "app")?;
    stage.swarmr(&format!("service update --detach --quiet {CHECK} db"))?;
    stage.until("db is being updated", || {
        let db = only(stage, "db")?;
        let check = &stage.inspect(&db)?["Config"]["Healthcheck"];
        ensure!(check.is_object(), "it is the old one");
        Ok(())
    })?;
    stage.swarmr("service update --detach --quiet --image web:2 app")?;
    let told = stage.until("the update of app says what it waits for", || {
        let told = stage.swarmr("service explain app")?;
        ensure!(told.contains("db"), "{told}");
        Ok(told)
    })?;
    stage.stays(Duration::from_secs(1), || {
        let now = only(stage, "app")?;
        ensure!(now.id == before.id, "the old one was stopped");
        Ok(())
    })?;
    stage.exec(&only(stage, "db")?, ": >/tmp/well")?;
    stage.all_of_image("app", "web:2", 1)?;
    Ok(format!(
        "{:?}; the old container stays until db is well",
        told.trim()
    ))
}

fn inits(stage: &Stage) -> Result<String> {
    let first =
        "first=tools:latest,sh,-c,echo one >>/data/log; until [ -e /tmp/go ]; do sleep 0.1; done";
    let second = "second=tools:latest,sh,-c,grep one /data/log && echo two >>/data/log";
    stage.create(
        "app",
        &format!(
            "--mount source=prepared,target=/data --init-container '{first}' \
             --init-container '{second}' tools:latest sh -c 'echo main >>/data/log; exec idle'"
        ),
    )?;
    let init = stage.until("the first init container runs", || {
        let all = stage.containers("app")?;
        let [init] = &all[..] else {
            anyhow::bail!("{all:?}");
        };
        ensure!(init.runs() && init.is_init(), "{init:?}");
        Ok(init.clone())
    })?;
    let reason = stage.says("app", "waiting for init container first to end (1 of 2)")?;
    stage.stays(Duration::from_secs(1), || {
        let all = stage.containers("app")?;
        ensure!(all.len() == 1, "{all:?} are there while it runs");
        Ok(())
    })?;
    stage.exec(&init, ": >/tmp/go")?;
    let own = only(stage, "app")?;
    // A container runs before its command has written anything.
    let log = stage.until("all three have written", || {
        let log = stage.exec(&own, "cat /data/log")?;
        ensure!(log == "one\ntwo\nmain", "it says {log:?}");
        Ok(log)
    })?;
    Ok(format!(
        "{} alone, {}; then {log:?} in the volume of all three",
        init.name,
        quoted(&reason)
    ))
}

fn failing_init(stage: &Stage) -> Result<String> {
    stage.create(
        "app",
        "--restart-delay 100ms --init-container 'check=tools:latest,sh,-c,exit 4' tools:latest",
    )?;
    let reason = stage.says("app", "init container check")?;
    stage.until("it was tried again", || {
        let tried = stage.tasks("app")?.matches("init container check").count();
        ensure!(tried >= 2, "{tried} times");
        Ok(())
    })?;
    let own = stage.containers("app")?;
    let own: Vec<_> = own.iter().filter(|it| !it.is_init()).collect();
    ensure!(own.is_empty(), "{own:?} are there");
    Ok(format!(
        "{}; its task's container was never made",
        quoted(&reason)
    ))
}

fn crash_loop(stage: &Stage) -> Result<String> {
    stage.create("crash", "--restart-delay 400ms tools:latest sh -c 'exit 9'")?;
    let mut lives = stage.until("it has ended four times", || {
        let containers = stage.containers("crash")?;
        let ended = containers.iter().filter(|it| it.state == "exited");
        let lives = ended.map(|container| stage.lifetime(container));
        let lives = lives.collect::<Result<Vec<_>>>()?;
        ensure!(lives.len() >= 4, "{} times", lives.len());
        Ok(lives)
    })?;
    let reason = stage.says(
        "crash",
        "th time in a row, last exit: task: non-zero exit (9)",
    )?;
    lives.sort();
    // From each end to the next start, by the engines.
    let gaps: Vec<f64> = lives
        .windows(2)
        .map(|pair| seconds(&pair[1].0) - seconds(&pair[0].1))
        .map(|gap| if gap < 0.0 { gap + 86_400.0 } else { gap })
        .collect();
    for (place, gap) in gaps.iter().enumerate() {
        let least = 0.4 * f64::from(1 << place);
        ensure!(
            *gap >= least,
            "gaps are {gaps:.1?}: number {place} is below {least}"
        );
    }
    ensure!(gaps.len() >= 3, "gaps are {gaps:.1?}");
    Ok(format!(
        "{}; {gaps:.1?} s from each end to the next start",
        quoted(&reason)
    ))
}

/// Of the day.
fn seconds(moment: &str) -> f64 {
    let (_, time) = moment.split_once('T').unwrap_or_default();
    time.split(':').fold(0.0, |sum, part| {
        sum * 60.0 + part.parse::<f64>().unwrap_or(0.0)
    })
}

fn killed(stage: &Stage) -> Result<String> {
    stage.create("sturdy", "--replicas 3 --restart-delay 100ms tools:latest")?;
    stage.spread("sturdy", [1, 1, 1])?;
    let victim = stage.running("sturdy")?.swap_remove(1);
    stage.hosts[victim.host]
        .docker(&["kill", &victim.id])?
        .ok()?;
    let now = stage.until("another one runs in its place", || {
        let running = stage.running("sturdy")?;
        ensure!(
            running.len() == 3 && running.iter().all(|it| it.id != victim.id),
            "{running:?}"
        );
        stage.counts("sturdy")
    })?;
    stage.says("sturdy", "non-zero exit (137)")?;
    Ok(format!("{} of three killed: {now:?} again", victim.name))
}

fn conditions(stage: &Stage) -> Result<String> {
    let end = |name: &str, flags: &str, code: u8| {
        let command = format!("{flags} --restart-delay 100ms tools:latest sh -c 'exit {code}'");
        stage.create(name, &command)
    };
    end("done", "--restart-condition on-failure", 0)?;
    end("never", "--restart-condition none", 5)?;
    end("twice", "--restart-max-attempts 2", 5)?;
    let ended = |service: &str| -> Result<usize> {
        let all = stage.containers(service)?;
        Ok(all.iter().filter(|it| it.state == "exited").count())
    };
    let all = || -> Result<[usize; 3]> { Ok([ended("done")?, ended("never")?, ended("twice")?]) };
    let counts = stage.until("all have ended", || {
        let counts = all()?;
        ensure!(counts == [1, 1, 3], "{counts:?} containers have");
        Ok(counts)
    })?;
    stage.stays(Duration::from_secs(1), || {
        let counts = all()?;
        ensure!(counts == [1, 1, 3], "{counts:?} containers have ended");
        Ok(())
    })?;
    Ok(format!(
        "containers that ended: {counts:?} with exit 0 on-failure, exit 5 none, exit 5 with two more attempts"
    ))
}

fn history_limit(stage: &Stage) -> Result<String> {
    stage.swarmr("swarm update --task-history-limit 2")?;
    stage.create(
        "brief",
        "--restart-delay 100ms --restart-backoff 1 tools:latest sh -c 'exit 5'",
    )?;
    let mut seen = BTreeSet::new();
    let left = stage.until("seven have been there, three still are", || {
        let now = stage.containers("brief")?;
        seen.extend(now.iter().map(|container| container.id.clone()));
        ensure!(seen.len() >= 7, "{} have been there", seen.len());
        ensure!(now.len() <= 3, "{} still are", now.len());
        Ok(now.len())
    });
    stage.swarmr("swarm update --task-history-limit 5")?;
    Ok(format!(
        "limit 2: {} containers have been there, {} still were",
        seen.len(),
        left?
    ))
}

fn restart(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 3, "--update-order start-first")?;
    let before = stage.ids("web")?;
    let revisions = || stage.swarmr("service history --format '{{.Revision}}' web");
    let known = revisions()?;
    stage.swarmr("service restart --quiet web")?;
    let counts = stage.all_of_image("web", IMAGE_WEB_1, 3)?;
    let after = stage.ids("web")?;
    ensure!(after.is_disjoint(&before), "some are the same");
    ensure!(revisions()? == known, "revisions were {known}");
    let window = all_answered(&probe)?;
    Ok(format!(
        "3 others: {counts:?}, no new revision; {} requests, 0 failed",
        window.sent
    ))
}

fn stop_and_start(stage: &Stage) -> Result<String> {
    let probe = serve(stage, 3, "")?;
    let address = std::net::SocketAddr::from((stage.hosts[1].address(), 8080));
    probe.aim(Vec::new());
    stage.swarmr("service stop web")?;
    let stopped = stage.spread("web", [0, 0, 0])?;
    let client = stage.hosts.client();
    let refused = client.get(address, "/", Duration::from_secs(1));
    ensure!(refused.is_err(), "somebody answered: {refused:?}");
    let replicas = stage.field("web", "{{.Spec.Mode.Replicated.Replicas}}")?;
    ensure!(replicas == "3", "it has forgotten its scale: {replicas}");
    stage.swarmr("service start --quiet web")?;
    let started = stage.spread("web", [1, 1, 1])?;
    stage.until("the service answers", || {
        client.get(address, "/", Duration::from_secs(2))
    })?;
    Ok(format!(
        "stopped: {stopped:?} and nobody answers; started: {started:?}, answered"
    ))
}
