//! A service that answers requests on every host, and requests to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use testhosts::{Apps, IMAGE_WEB_1, Probe};

use super::stage::Stage;
use crate::real::{RATE, published};

/// The network that it is on; once for each cluster.
pub(super) fn app_network(stage: &Stage) -> Result<()> {
    stage
        .swarmr("network create --driver overlay app")
        .map(drop)
}

/// The service `web` of web:1 on port 8080 of every host, and a stream of requests to it that
/// begins once all its containers and all hosts answer.
pub(super) fn serve(stage: &Stage, replicas: usize, flags: &str) -> Result<Probe> {
    let words = "--network app --publish 8080:80 --update-monitor 500ms --rollback-monitor 500ms";
    stage.create(
        "web",
        &format!("{words} --replicas {replicas} {flags} web:1"),
    )?;
    stage.all_of_image("web", IMAGE_WEB_1, replicas)?;
    let mut apps = Apps::new(stage.hosts.iter(), 80);
    stage.until("all containers answer", || {
        let accepting = apps.accepting();
        ensure!(accepting == replicas, "{accepting} do");
        Ok(())
    })?;
    let client = stage.hosts.client();
    let targets = published(&stage.hosts, |_| true);
    for target in &targets {
        stage.until("the service answers", || {
            client.get(*target, "/", Duration::from_secs(2))
        })?;
    }
    Probe::start(client, targets, RATE)
}

/// The fewest containers that accepted connections while `work` went on, beginning with `all` of
/// them, and what it gave.
pub(super) fn fewest<T>(
    stage: &Stage,
    all: usize,
    work: impl FnOnce() -> Result<T>,
) -> Result<(usize, T)> {
    let over = AtomicBool::new(false);
    let mut apps = Apps::new(stage.hosts.iter(), 80);
    stage.until("all are there to be counted", || {
        let accepting = apps.accepting();
        ensure!(accepting == all, "{accepting} are");
        Ok(())
    })?;
    thread::scope(|scope| {
        let over = &over;
        let counting = scope.spawn(move || {
            let mut fewest = all;
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
