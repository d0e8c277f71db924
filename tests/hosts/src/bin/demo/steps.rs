//! The eight steps. Each returns what it observed, or why it failed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use testhosts::{Host, IMAGE_BROKEN, IMAGE_TOOLS, IMAGE_WEB_1, IMAGE_WEB_2, eventually};

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
            let said = inside(&["wget", "-q", "-T", "5", "-O", "-", &url])?;
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

fn power_loss(stage: &mut Stage) -> Result<String> {
    let first = &stage.hosts[0];
    let leader = stage.leader(first)?.name();
    let spread = stage.spread()?;
    let lost = stage
        .hosts
        .iter()
        .zip(&spread)
        .find(|(host, (_, tasks))| host.name() != leader && *tasks > 0)
        .map(|(host, _)| host)
        .context("no host but the leader's has a task")?;
    let by = stage
        .hosts
        .iter()
        .find(|host| host.name() != lost.name())
        .context("another host")?;
    stage.aim(|host| host.name() != lost.name())?;
    stage.requests()?;

    println!("  {} loses its power", lost.name());
    let begin = Instant::now();
    lost.power_off()?;
    let mut apps = stage.apps();
    let replaced = eventually("the tasks are replaced", PATIENCE, || {
        let accepting = apps.accepting();
        ensure!(
            accepting == 4,
            "{accepting} of 4 applications accept connections"
        );
        Ok(Instant::now())
    })?;
    let replaced = (replaced - begin).as_secs_f64();
    println!("  seen: after {replaced:.1} s 4 applications accept connections on the survivors");
    stage.count(4)?;
    let during = stage.requests()?;
    stage.swarmr_ok(by, &["node", "ls"])?;
    thread::sleep(Duration::from_secs(2));
    stage
        .all_answered()
        .context("after the tasks were replaced")?;

    println!("  {} has power again", lost.name());
    lost.power_on()?;
    lost.start_engine()?;
    lost.start_daemon(&[])?;
    stage.nodes_ready(by, 3)?;
    stage.count(4)?;
    stage.swarmr_ok(by, &["service", "scale", "web=8"])?;
    stage.count(8)?;
    let used = lost.service_containers("web")?.len();
    ensure!(used > 0, "{} is not used again", lost.name());
    stage.ask_everywhere(&[lost])?;
    stage.aim(|_| true)?;
    Ok(format!(
        "replaced after {replaced:.1} s, {} of {} requests failed meanwhile; back, clean, {used} of 8 tasks",
        during.failed, during.sent
    ))
}

fn leader_killed(stage: &mut Stage) -> Result<String> {
    let leader = stage.leader(&stage.hosts[0])?;
    let by = stage
        .hosts
        .iter()
        .find(|host| host.name() != leader.name())
        .context("another host")?;
    stage.swarmr_ok(by, &["service", "scale", "web=8"])?;
    // What a dead daemon's tables say is not judged here: only the others.
    stage.aim(|host| host.name() != leader.name())?;
    stage.requests()?;
    let words = [
        "service",
        "update",
        "-d",
        "--image",
        IMAGE_WEB_1,
        "--update-parallelism",
        "1",
    ];
    stage.swarmr_ok(by, &[&words[..], &["--update-delay", "2s", "web"]].concat())?;
    let done = eventually("the update has begun", PATIENCE, || {
        let done = running_with(stage, by, IMAGE_WEB_1)?;
        ensure!(done >= 1, "no task is updated yet");
        Ok(done)
    })?;
    let started = stage.look(by, "/services/web")?["UpdateStatus"]["StartedAt"].clone();

    println!(
        "  kill -9 of the leader's daemon on {}, with {done} of 8 tasks updated",
        leader.name()
    );
    let begin = Instant::now();
    leader.kill_daemon()?;
    let wait = first_write(by)? - begin;
    let wait_ms = wait.as_secs_f64() * 1000.0;
    println!(
        "  seen: {} accepts a write after {wait_ms:.0} ms",
        by.name()
    );
    let new = eventually("somebody leads", PATIENCE, || stage.leader(by))?;
    ensure!(new.name() != leader.name(), "{} still leads", new.name());

    // The dead daemon's tasks can only be updated once it is back.
    leader.start_daemon(&[])?;
    eventually("the update is completed", PATIENCE, || {
        let service = stage.look(by, "/services/web")?;
        let status = &service["UpdateStatus"];
        ensure!(status["State"] == "completed", "the update is {status}");
        ensure!(
            status["StartedAt"] == started,
            "it is another update: {status}"
        );
        Ok(())
    })?;
    stage.nodes_ready(by, 3)?;
    stage.swarmr_ok(by, &["node", "ls"])?;
    stage.count(8)?;
    let answered = stage.all_answered()?;
    stage.aim(|_| true)?;
    only_version(stage, "1")?;
    Ok(format!(
        "next write after {wait_ms:.0} ms, update continued and completed, {answered}"
    ))
}

fn all_killed(stage: &mut Stage) -> Result<String> {
    let first = &stage.hosts[0];
    stage.nodes_ready(first, 3)?;
    let containers = stage.container_ids()?;
    let identity = |by: &Host| -> Result<(Value, Vec<Value>)> {
        let cluster = stage.look(by, "/swarm")?["ID"].clone();
        let services = stage.look(by, "/services")?;
        let mut services: Vec<_> = list(&services)
            .iter()
            .map(|each| each["ID"].clone())
            .collect();
        services.sort_by_key(ToString::to_string);
        Ok((cluster, services))
    };
    let before = identity(first)?;
    stage.requests()?;

    println!("  kill -9 of all daemons");
    stage.hosts.each(Host::kill_daemon)?;
    thread::sleep(Duration::from_secs(3));
    let alone = stage.all_answered().context("while no daemon ran")?;
    stage.hosts.each(|host| host.start_daemon(&[]))?;
    same_again(stage, &containers)?;
    ensure!(
        identity(first)? == before,
        "another cluster, or other services"
    );
    let restarted = stage
        .all_answered()
        .context("while the daemons came back")?;

    println!("  kill -9 of all engines");
    stage.hosts.each(Host::kill_engine)?;
    thread::sleep(Duration::from_secs(3));
    stage.hosts.each(Host::start_engine)?;
    same_again(stage, &containers)?;
    ensure!(
        identity(first)? == before,
        "another cluster, or other services"
    );
    let engines = stage
        .all_answered()
        .context("while the engines came back")?;
    stage.swarmr_ok(first, &["service", "ps", "web"])?;
    Ok(format!(
        "the same {} containers after both; without daemons {alone}, restart {restarted}, engines {engines}",
        containers.len()
    ))
}

/// Waits until the cluster is whole, takes writes, and its containers are
/// exactly these; and still are a little later.
fn same_again(stage: &Stage, containers: &BTreeSet<String>) -> Result<()> {
    for host in stage.hosts.iter() {
        stage.nodes_ready(host, 3)?;
    }
    first_write(&stage.hosts[0])?;
    for _ in 0..3 {
        let now = stage.container_ids()?;
        let (lost, new) = (
            containers.difference(&now).count(),
            now.difference(containers).count(),
        );
        ensure!(lost == 0 && new == 0, "{lost} containers lost, {new} new");
        thread::sleep(Duration::from_secs(2));
    }
    println!(
        "  seen: the same {} containers by docker ps",
        containers.len()
    );
    Ok(())
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
fn only_version(stage: &Stage, version: &str) -> Result<()> {
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

/// Running tasks of `web` with this image.
fn running_with(stage: &Stage, by: &Host, image: &str) -> Result<usize> {
    let tasks = stage.look(by, "/tasks?filters=%7B%22service%22%3A%5B%22web%22%5D%7D")?;
    Ok(list(&tasks)
        .iter()
        .filter(|task| task["Status"]["State"] == "running" && task["DesiredState"] == "running")
        .filter(|task| {
            let spec = task["Spec"]["ContainerSpec"]["Image"]
                .as_str()
                .unwrap_or_default();
            spec.split('@').next() == Some(image)
        })
        .count())
}

/// Tries to write through `by` until it is accepted, and says when that was.
fn first_write(by: &Host) -> Result<Instant> {
    let api = by.swarmr_api()?.within(Duration::from_secs(1));
    eventually("a write is accepted", PATIENCE, || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let config = json!({"Name": format!("written-{now}"), "Labels": {}, "Data": "eA=="});
        api.post("/configs/create", &config)?;
        Ok(Instant::now())
    })
}
