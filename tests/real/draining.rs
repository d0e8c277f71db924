//! What a thousand requests a second notice of tasks that come and go on purpose: nothing.

use anyhow::{Result, ensure};
use testhosts::{Hosts, IMAGE_WEB_2, Probe, eventually};

use super::{PATIENCE, all_answered, cluster, published, running, serve};

/// Requests a second, to all hosts together.
const MANY: u32 = 1000;

#[test]
fn tasks_that_come_and_go_on_purpose_lose_no_request() {
    let hosts = cluster(3).unwrap();
    hosts.explain(nothing_lost(&hosts)).unwrap();
}

fn nothing_lost(hosts: &Hosts) -> Result<()> {
    serve(hosts, 6)?;
    let by = &hosts[0];
    let docker = |words: &[&str]| by.docker_on_swarmr(words)?.ok();
    let probe = Probe::start(hosts.client(), published(hosts, |_| true), MANY)?;
    eventually("requests are answered", PATIENCE, || all_answered(&probe))?;

    let update = ["service", "update", "--no-resolve-image", "--quiet"];
    let slowly = ["--detach=false", "--image", IMAGE_WEB_2, "web"];
    docker(&[&update[..], &slowly].concat())?;
    running(hosts, "web", 6)?;
    let window = all_answered(&probe)?;
    ensure!(window.versions.len() == 2, "nothing was rolled: {window}");
    println!("rolling update of 6: {window}");

    docker(&["service", "scale", "--detach", "web=2"])?;
    running(hosts, "web", 2)?;
    println!("scale-down from 6 to 2: {}", all_answered(&probe)?);

    docker(&["service", "scale", "--detach", "web=6"])?;
    running(hosts, "web", 6)?;
    all_answered(&probe)?;
    let left = &hosts[2];
    by.swarmr(&["node", "drain", "--wait", left.name()])?.ok()?;
    let each = running(hosts, "web", 6)?;
    ensure!(each[2] == 0, "not drained: {each:?}");
    println!("drain of a node, 6 to {each:?}: {}", all_answered(&probe)?);

    docker(&["node", "update", "--availability", "active", left.name()])?;
    by.swarmr(&["service", "rebalance", "web"])?.ok()?;
    eventually("tasks are spread again", PATIENCE, || {
        let each = running(hosts, "web", 6)?;
        ensure!(each == [2, 2, 2], "{each:?}");
        Ok(())
    })?;
    println!("rebalancing to 2 on each: {}", all_answered(&probe)?);
    Ok(())
}
