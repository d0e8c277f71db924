//! Updates by the docker command, under a stream of requests.

use anyhow::{Result, ensure};
use testhosts::{Hosts, IMAGE_BROKEN, IMAGE_WEB_2, Probe};

use super::{RATE, all_answered, cluster, published, running, serve};

#[test]
fn an_update_loses_no_request_and_a_broken_one_takes_itself_back() {
    let hosts = cluster(3).unwrap();
    hosts.explain(updated(&hosts)).unwrap();
}

fn updated(hosts: &Hosts) -> Result<()> {
    serve(hosts, 4)?;
    let by = &hosts[2];
    let update = |words: &[&str]| {
        let common = [
            "service",
            "update",
            "--no-resolve-image",
            "--quiet",
            "--detach=false",
        ];
        by.docker_on_swarmr(&[&common[..], words, &["web"]].concat())
    };
    let probe = Probe::start(hosts.client(), published(hosts, |_| true), RATE)?;
    update(&["--image", IMAGE_WEB_2, "--update-parallelism", "2"])?.ok()?;
    running(hosts, "web", 4)?;
    let window = all_answered(&probe)?;
    ensure!(
        window.versions.len() == 2,
        "versions {:?} answered while it rolled",
        window.versions
    );

    update(&[
        "--image",
        IMAGE_BROKEN,
        "--update-failure-action",
        "rollback",
    ])?
    .ok()?;
    let format = "{{.UpdateStatus.State}} {{.Spec.TaskTemplate.ContainerSpec.Image}}";
    let state = by
        .docker_on_swarmr(&["service", "inspect", "--format", format, "web"])?
        .ok()?;
    ensure!(
        state.trim() == format!("rollback_completed {IMAGE_WEB_2}"),
        "after the broken update: {state}"
    );
    running(hosts, "web", 4)?;
    let window = all_answered(&probe)?;
    let only: Vec<_> = window.versions.iter().map(String::as_str).collect();
    ensure!(only == ["2"], "versions {only:?} answered");
    Ok(())
}
