//! The eight steps. Each returns what it observed, or why it failed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use testhosts::{IMAGE_BROKEN, IMAGE_TOOLS, IMAGE_WEB_1, IMAGE_WEB_2, eventually};

use crate::losses::{all_killed, leader_killed, power_loss};
use crate::stage::{PATIENCE, Stage, list};

pub(crate) struct Step {
    pub(crate) title: &'static str,
    /// Whether the later steps make no sense without this one.
    pub(crate) needed: bool,
    pub(crate) play: fn(&mut Stage) -> Result<String>,
}

pub(crate) const STEPS: [Step; 8] = [
    Step {
        title: "A cluster of three",
        needed: true,
        play: cluster,
    },
    Step {
        title: "A service on three engines",
        needed: true,
        play: service,
    },
    Step {
        title: "Scaled up and down",
        needed: false,
        play: scale,
    },
    Step {
        title: "A rolling update",
        needed: false,
        play: update,
    },
    Step {
        title: "A broken update rolls back by itself",
        needed: false,
        play: broken_update,
    },
    Step {
        title: "A host loses its power and comes back",
        needed: false,
        play: power_loss,
    },
    Step {
        title: "The leader is killed during an update",
        needed: false,
        play: leader_killed,
    },
    Step {
        title: "All daemons killed, then all engines",
        needed: false,
        play: all_killed,
    },
];

fn cluster(stage: &mut Stage) -> Result<String> {
    let first = &stage.hosts[0];
    let address = first.address().to_string();
    stage.swarmr_ok(first, &["init", "--advertise-addr", &address])?;
    let token = stage.swarmr_ok(first, &["join-token", "-q", "manager"])?;
    let manager = format!("{address}:2377");
    for host in stage.hosts.iter().skip(1) {
        let own = host.address().to_string();
        stage.swarmr_ok(
            host,
            &[
                "join",
                "--token",
                &token,
                "--advertise-addr",
                &own,
                &manager,
            ],
        )?;
    }
    for host in stage.hosts.iter() {
        stage.nodes_ready(host, 3)?;
    }
    stage.swarmr_ok(first, &["node", "ls"])?;
    let nodes = stage.look(first, "/nodes")?;
    let managers = list(&nodes)
        .iter()
        .filter(|node| node["ManagerStatus"]["Reachability"] == "reachable")
        .count();
    ensure!(managers == 3, "{managers} managers are reachable, not 3");
    Ok(format!(
        "3 nodes ready, 3 managers, {} leads",
        stage.leader(first)?.name()
    ))
}

fn service(stage: &mut Stage) -> Result<String> {
    let first = &stage.hosts[0];
    stage.swarmr_ok(first, &["network", "create", "-d", "overlay", "app"])?;
    let create = [
        "service",
        "create",
        "--name",
        "web",
        "--replicas",
        "6",
        "--network",
        "app",
    ];
    stage.swarmr_ok(
        first,
        &[&create[..], &["-p", "8080:80", IMAGE_WEB_1]].concat(),
    )?;
    let create = [
        "service",
        "create",
        "--name",
        "tools",
        "--network",
        "app",
        IMAGE_TOOLS,
    ];
    stage.swarmr_ok(first, &create)?;
    let counted = stage.count(6)?;
    let idle = stage
        .spread()?
        .into_iter()
        .filter(|(_, each)| *each == 0)
        .count();
    ensure!(idle == 0, "{idle} engines run no container of the service");
    let servers = by_name_and_vip(stage)?;
    stage.ask_everywhere(&stage.hosts.iter().collect::<Vec<_>>())?;
    stage.swarmr_ok(first, &["service", "ls"])?;
    stage.swarmr_ok(first, &["service", "ps", "web"])?;
    stage.swarmr_ok(first, &["service", "inspect", "--pretty", "web"])?;
    let inspected = first.swarmr(&["service", "inspect", "web"])?.ok()?;
    let inspected: Value = serde_json::from_str(&inspected).context("service inspect")?;
    ensure!(
        inspected[0]["Spec"]["Name"] == "web",
        "service inspect shows no web"
    );
    stage.start_requests()?;
    Ok(format!(
        "{counted}, {servers} servers behind the name; port on 3 hosts and localhost, client's \
         address seen"
    ))
}

/// Asks the service from another service's container, by name and by VIP, and
/// returns how many servers answered by name.
fn by_name_and_vip(stage: &Stage) -> Result<usize> {
    let mut tools = None;
    for host in stage.hosts.iter() {
        tools = tools.or(host.service_containers("tools")?.pop().map(|id| (host, id)));
    }
    let (host, id) = tools.context("no engine runs the service tools")?;
    let inside = |words: &[&str]| host.docker(&[&["exec", &id], words].concat())?.ok();
    let resolved = eventually("the name resolves", PATIENCE, || {
        inside(&["getent", "hosts", "web"])
    })?;
    println!("  seen: in the service tools, getent hosts web: {resolved}");
    let address = resolved
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    let service = stage.look(host, "/services/web")?;
    let vips = list(&service["Endpoint"]["VirtualIPs"]);
    let is_vip = vips.iter().any(|vip| {
        vip["Addr"]
            .as_str()
            .is_some_and(|vip| vip.split('/').next() == Some(&address))
    });
    ensure!(
        is_vip,
        "web resolves to {address}, which is none of its VIPs {vips:?}"
    );
    let own = inside(&["hostname", "-i"])?;
    let mut servers = BTreeSet::new();
    for (url, times) in [
        ("http://web/".to_owned(), 30),
        (format!("http://{address}/"), 5),
    ] {
        for time in 0..times {
            let said = inside(&["wget", "-q", "-O", "-", &url])?;
            let word = |name| {
                said.split_whitespace()
                    .find_map(|word| word.strip_prefix(name))
            };
            let client = word("client=").with_context(|| format!("{url} said {said:?}"))?;
            ensure!(
                own.split_whitespace().any(|own| own == client),
                "the server saw {client}, not {own}"
            );
            servers.extend(word("host=").map(str::to_owned));
            if time == 0 {
                println!("  seen: in the service tools, {url} answers {said}");
            }
        }
    }
    ensure!(
        servers.len() >= 3,
        "only {} servers answered 35 requests",
        servers.len()
    );
    Ok(servers.len())
}

fn scale(stage: &mut Stage) -> Result<String> {
    let first = &stage.hosts[0];
    stage.swarmr_ok(first, &["service", "scale", "web=12"])?;
    stage.count(12)?;
    stage.swarmr_ok(first, &["service", "scale", "web=4"])?;
    let counted = stage.count(4)?;
    Ok(format!("12, then {counted}; {}", stage.all_answered()?))
}

fn update(stage: &mut Stage) -> Result<String> {
    let stage = &*stage;
    let words = [
        "service",
        "update",
        "--image",
        IMAGE_WEB_2,
        "--update-parallelism",
        "2",
    ];
    let words = [&words[..], &["--update-delay", "1s", "web"]].concat();
    let fewest = serving_during(stage, || stage.swarmr_ok(&stage.hosts[0], &words).map(drop))?;
    println!("  seen: never fewer than {fewest} of 4 applications accepting connections");
    ensure!(
        fewest >= 2,
        "only {fewest} applications accepted connections at one time"
    );
    stage.count(4)?;
    only_version(stage, "2")?;
    Ok(format!(
        "exit 0, at least {fewest} of 4 serving, {}",
        stage.all_answered()?
    ))
}

fn broken_update(stage: &mut Stage) -> Result<String> {
    let stage = &*stage;
    let first = &stage.hosts[0];
    let words = [
        "service",
        "update",
        "--image",
        IMAGE_BROKEN,
        "--update-failure-action",
        "rollback",
    ];
    let mut code = None;
    let begin = Instant::now();
    let fewest = serving_during(stage, || {
        code = stage.swarmr(first, &[&words[..], &["web"]].concat())?.code;
        Ok(())
    })?;
    let took = begin.elapsed().as_secs_f64();
    let code = code.context("the command was killed")?;
    ensure!(
        code != 0,
        "the command ended with 0 although the update failed"
    );
    let service = stage.look(first, "/services/web")?;
    let state = service["UpdateStatus"]["State"]
        .as_str()
        .unwrap_or_default();
    ensure!(
        state == "rollback_completed",
        "the update's state is {state:?}"
    );
    let image = service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].to_string();
    ensure!(
        image.contains(IMAGE_WEB_2),
        "the service's image is {image}, not {IMAGE_WEB_2}"
    );
    stage.count(4)?;
    only_version(stage, "2")?;
    let answered = stage.all_answered()?;
    Ok(format!(
        "exit {code} after {took:.1} s, rolled back, at least {fewest} serving, {answered}"
    ))
}

/// The fewest applications that accepted connections at any time during `work`.
fn serving_during(stage: &Stage, work: impl FnOnce() -> Result<()>) -> Result<usize> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut apps = stage.apps();
            let mut fewest = apps.accepting();
            while !done.load(Ordering::Relaxed) {
                fewest = fewest.min(apps.accepting());
                thread::sleep(Duration::from_millis(20));
            }
            fewest
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        let fewest = watch.join().map_err(|_| anyhow!("the watch panicked"))?;
        result.map(|()| fewest)
    })
}

/// Waits until a second of requests sees this version and no other.
pub(crate) fn only_version(stage: &Stage, version: &str) -> Result<()> {
    let client = stage.hosts.client();
    let to = (stage.hosts[0].address(), crate::stage::PUBLISHED);
    eventually("only one version answers", PATIENCE, || {
        for _ in 0..20 {
            let reply = client.get(to, "/", Duration::from_secs(2))?;
            let seen = reply.word("version").unwrap_or_default();
            ensure!(seen == version, "version {seen} answers");
        }
        Ok(())
    })?;
    println!("  seen: 20 answers, all of version {version}");
    Ok(())
}
