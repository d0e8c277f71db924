//! Everything that was acknowledged is there after every kind of end.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{CALM, Cluster, encode};

const DIR_VARIABLE: &str = "RAFT_TEST_CRASH_DIR";
const KEYS: u64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_that_all_members_are_dropped_and_started_again() {
    let mut cluster = Cluster::new(CALM);
    cluster.snapshot_every = 400;
    cluster.keep_behind = 100;
    cluster.form(3).await;
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    let mut checked = 0;
    let rounds = 8;
    for round in 1..=rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let leader = cluster.leader().await;
        let raft = cluster.nodes[&leader].raft.clone();
        let writers: Vec<_> = (0..KEYS)
            .map(|key| {
                let (raft, stop, written) = (raft.clone(), stop.clone(), written.clone());
                tokio::spawn(async move {
                    let mut last = None;
                    for value in round * 1_000_000.. {
                        if stop.load(Ordering::Relaxed)
                            || raft.propose(encode(key, value)).await.is_err()
                        {
                            break;
                        }
                        last = Some(value);
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    (key, last)
                })
            })
            .collect();
        drop(raft);
        // They also end when leadership is lost, which happens on a very busy machine.
        while written.load(Ordering::Relaxed) < 300
            && !writers.iter().all(|writer| writer.is_finished())
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for id in 1..=3 {
            cluster.kill(id);
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            let (key, last) = writer.await.unwrap();
            acknowledged.extend(last.map(|last| (key, last)));
        }
        for id in 1..=3 {
            cluster.start(id).await;
        }
        let values = cluster.settled().await;
        for (key, value) in &acknowledged {
            assert!(values[key] >= *value, "key {key}, round {round}");
            checked += 1;
        }
    }
    println!("checked {checked} acknowledged writes over {rounds} restarts of all members");
}

#[test]
fn acknowledged_writes_survive_kill_9_of_all_members() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut checked, mut writes) = (0, 0);
    let rounds = 5;
    for round in 1..=rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::victim", "--nocapture"])
            .env(DIR_VARIABLE, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = BTreeMap::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // What it found at its start must be what it had acknowledged before.
        let mut count = 0;
        for line in lines.by_ref() {
            let line = line.unwrap();
            let mut words = line.split_whitespace();
            let word = words.next();
            let mut number = || words.next().unwrap().parse::<u64>().unwrap();
            match word {
                Some("found") => {
                    let key = number();
                    seen.insert(key, number());
                }
                Some("ready") => {
                    for (key, value) in &acknowledged {
                        let found = seen.get(key).copied().unwrap_or(0);
                        assert!(found >= *value, "key {key}, round {round}");
                        checked += 1;
                    }
                }
                Some("acknowledged") => {
                    let key = number();
                    acknowledged.insert(key, number());
                    count += 1;
                }
                _ => {}
            }
            if count == 400 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(count >= 400, "the victim ended by itself in round {round}");
        writes += count;
    }
    println!("checked {checked} keys after {writes} acknowledged writes and {rounds} kills");
}

/// Not a test by itself: the process that the test above kills.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_for_ever(dir));
}

async fn write_for_ever(dir: PathBuf) {
    let fresh = !dir.join("member-1").exists();
    let mut cluster = Cluster::at(CALM, dir);
    cluster.snapshot_every = 300;
    cluster.keep_behind = 50;
    if fresh {
        cluster.form(3).await;
    } else {
        for id in 1..=3 {
            cluster.start(id).await;
        }
    }
    let values = cluster.settled().await;
    for (key, value) in &values {
        println!("found {key} {value}");
    }
    println!("ready");
    let cluster = Arc::new(cluster);
    let writers: Vec<_> = (0..KEYS)
        .map(|key| {
            let cluster = cluster.clone();
            let first = values.get(&key).map_or(1, |value| value + 1);
            tokio::spawn(async move {
                let mut raft = cluster.nodes[&cluster.leader().await].raft.clone();
                for value in first.. {
                    if raft.propose(encode(key, value)).await.is_err() {
                        raft = cluster.nodes[&cluster.leader().await].raft.clone();
                        continue;
                    }
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {key} {value}").unwrap();
                    out.flush().unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}
