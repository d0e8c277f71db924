//! One round of one side: every row once or several times.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;
use testhosts::http::Api;
use testhosts::{Apps, Host, IMAGE_WEB_1};

use crate::cluster::{Cluster, MANAGERS, Side, WORKER};
use crate::report::Report;
use crate::rows::Row;

/// Port of the web server in its container.
const PORT: u16 = 80;
/// Longest wait for anything to converge.
const PATIENCE: Duration = Duration::from_secs(180);
/// Rest before and length of the look at an idle manager.
const SETTLE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);
/// How long clients write.
const WRITING: Duration = Duration::from_secs(5);
/// Samples of one task's start in a round.
const STARTS: usize = 5;
/// 256 bytes, as base64 of a config's data.
const PAYLOAD_BYTES: usize = 256;

/// Measures all rows on fresh hosts.
pub(crate) fn round(side: Side, swarmr: Option<&Path>, report: &mut Report) -> Result<()> {
    let cluster = Cluster::hosts(side, swarmr)?;
    floors(&cluster, report)?;
    let mut add = |row, value| report.add(row, side, value);
    let done = rows(&cluster, &mut add);
    cluster.hosts.explain(done)
}

fn rows(cluster: &Cluster, add: &mut impl FnMut(Row, f64)) -> Result<()> {
    add(Row::Init, ms(cluster.init()?));
    for time in cluster.join()? {
        add(Row::Join, ms(time));
    }
    idle(cluster, add)?;
    cluster.network()?;
    task_start(cluster, add)?;
    converge(cluster, add)?;
    node_failover(cluster, add)?;
    leader_failover(cluster, add)?;
    add(Row::Writes1, writes(cluster, 1)?);
    add(Row::Writes64, writes(cluster, 64)?);
    Ok(())
}

/// The leader's host with nothing to do.
fn idle(cluster: &Cluster, add: &mut impl FnMut(Row, f64)) -> Result<()> {
    let host = &cluster.hosts[cluster.leader(0)?];
    thread::sleep(SETTLE);
    let (before, begin) = (host.cpu(), Instant::now());
    thread::sleep(IDLE);
    let used = host.cpu().saturating_sub(before);
    add(
        Row::ManagerCpu,
        used.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0,
    );
    for process in host.processes() {
        let name = process.command().into_iter().next().unwrap_or_default();
        eprintln!("    {name}: {:.1} MB", mb(process.pss_bytes()));
    }
    add(Row::ManagerRss, mb(host.pss_bytes()));
    Ok(())
}

fn task_start(cluster: &Cluster, add: &mut impl FnMut(Row, f64)) -> Result<()> {
    let mut apps = Apps::new(cluster.hosts.iter(), PORT);
    // The first tasks of a network on each host also make the network there.
    cluster.create_service("warm", (MANAGERS + 1) * 2)?;
    apps.wait((MANAGERS + 1) * 2, PATIENCE)?;
    remove(cluster, &mut apps, "warm")?;
    for number in 0..STARTS {
        let name = format!("one{number}");
        let begin = Instant::now();
        cluster.create_service(&name, 1)?;
        add(Row::TaskStart, ms(apps.wait(1, PATIENCE)? - begin));
        remove(cluster, &mut apps, &name)?;
    }
    Ok(())
}

fn converge(cluster: &Cluster, add: &mut impl FnMut(Row, f64)) -> Result<()> {
    let mut apps = Apps::new(cluster.hosts.iter(), PORT);
    let begin = Instant::now();
    cluster.create_service("sixty", 60)?;
    add(Row::Converge60, ms(apps.wait(60, PATIENCE)? - begin));
    remove(cluster, &mut apps, "sixty")
}

fn node_failover(cluster: &Cluster, add: &mut impl FnMut(Row, f64)) -> Result<()> {
    let replicas = 6;
    cluster.create_service("web", replicas)?;
    let mut all = Apps::new(cluster.hosts.iter(), PORT);
    all.wait(replicas, PATIENCE)?;
    let worker = &cluster.hosts[WORKER];
    ensure!(
        Apps::new([worker], PORT).accepting() > 0,
        "the worker has no task to lose"
    );
    let mut survivors = Apps::new(cluster.hosts.iter().take(WORKER), PORT);
    let begin = Instant::now();
    worker.power_off()?;
    add(
        Row::NodeFailover,
        ms(survivors.wait(replicas, PATIENCE)? - begin),
    );
    cluster.power_on(worker)?;
    cluster.rest(MANAGERS + 1)?;
    remove(cluster, &mut all, "web")
}

fn leader_failover(cluster: &Cluster, add: &mut impl FnMut(Row, f64)) -> Result<()> {
    let number = cluster.leader(0)?;
    let leader = &cluster.hosts[number];
    let survivors: Vec<Api> = (0..MANAGERS)
        .filter(|other| *other != number)
        .map(|other| Ok(cluster.api(other)?.within(Duration::from_secs(1))))
        .collect::<Result<_>>()?;
    let stop = &AtomicBool::new(false);
    let accepted = thread::scope(|scope| {
        let begin = Instant::now();
        // With its link cut the old leader accepts nothing more.
        leader.link_down()?;
        let off = scope.spawn(|| leader.power_off());
        let (tell, told) = channel();
        for (number, api) in survivors.iter().cycle().take(8).enumerate() {
            let tell = tell.clone();
            scope.spawn(move || {
                for attempt in 0_usize.. {
                    let name = format!("failover-{number}-{attempt}");
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if create_config(api, &name).is_ok() {
                        let _ = tell.send(begin.elapsed());
                        return;
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let first = told.recv_timeout(PATIENCE);
        stop.store(true, Ordering::Relaxed);
        joined(off)?;
        first.context("no write was accepted after the leader's end")
    })?;
    add(Row::LeaderFailover, ms(accepted));
    cluster.power_on(leader)?;
    cluster.rest(MANAGERS + 1)
}

/// Accepted writes per second of `clients` clients through the leader's socket.
fn writes(cluster: &Cluster, clients: usize) -> Result<f64> {
    let api = cluster.api(cluster.leader(0)?)?;
    let accepted = AtomicUsize::new(0);
    let begin = Instant::now();
    thread::scope(|scope| {
        let running: Vec<_> = (0..clients)
            .map(|client| {
                let (api, accepted) = (&api, &accepted);
                scope.spawn(move || -> Result<()> {
                    let mut connection = api.connect()?;
                    for number in 0_usize.. {
                        if begin.elapsed() >= WRITING {
                            break;
                        }
                        let name = format!("write-{clients}-{client}-{number}");
                        let path = Api::path("/configs/create");
                        let body = config(&name);
                        let reply = connection.send("POST", &path, "application/json", &body)?;
                        ensure!(
                            reply.status == 201,
                            "status {}: {}",
                            reply.status,
                            reply.text()
                        );
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        for client in running {
            client
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a client panicked")))?;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(accepted.into_inner() as f64 / seconds)
}

/// What no orchestrator can do better on this machine: a start by the engine
/// alone, and a disk that confirms a write.
fn floors(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let host = &cluster.hosts[0];
    let mut apps = Apps::new([host], PORT);
    for _ in 0..3 {
        let begin = Instant::now();
        let id = start_container(host)?;
        let took = ms(apps.wait(1, PATIENCE)? - begin);
        report.add_floor(
            "container started by the engine alone to its application accepting",
            took,
        );
        host.engine()?
            .delete(&format!("/containers/{id}?force=1"))?;
        apps.wait(0, PATIENCE)?;
    }
    let mut file = File::create(host.folder().join("floor"))?;
    for _ in 0..20 {
        let begin = Instant::now();
        file.write_all(&[0; 1024])?;
        file.sync_data()?;
        report.add_floor(
            "1 KiB written and confirmed by the disk",
            ms(begin.elapsed()),
        );
    }
    Ok(())
}

/// Starts a web server past any orchestrator; returns its id.
fn start_container(host: &Host) -> Result<String> {
    let engine = host.engine()?;
    let made = engine.post("/containers/create", &json!({"Image": IMAGE_WEB_1}))?;
    let id = made["Id"]
        .as_str()
        .context("the engine gave no id")?
        .to_owned();
    engine.post(&format!("/containers/{id}/start"), &json!({}))?;
    Ok(id)
}

fn remove(cluster: &Cluster, apps: &mut Apps<'_>, service: &str) -> Result<()> {
    cluster.remove_service(service)?;
    apps.wait(0, PATIENCE)
        .map(drop)
        .with_context(|| format!("removal of {service}"))
}

fn create_config(api: &Api, name: &str) -> Result<()> {
    let reply = api.send("POST", "/configs/create", "application/json", &config(name))?;
    ensure!(reply.status == 201, "status {}", reply.status);
    Ok(())
}

/// The body of a request for a config of [`PAYLOAD_BYTES`].
fn config(name: &str) -> Vec<u8> {
    // Every three bytes of zeros are four letters A in base64; 256 leave one.
    let data = format!("{}AA==", "A".repeat(PAYLOAD_BYTES / 3 * 4));
    json!({"Name": name, "Labels": {}, "Data": data})
        .to_string()
        .into_bytes()
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
