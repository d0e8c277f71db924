//! Leaders are cut off and members crash while clients write and read. No read may show less than
//! what was acknowledged before it began, and no acknowledged write may be lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raft::{MemberId, Raft};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::{CALM, Cluster, PATIENCE, View, encode};

const KEYS: u64 = 4;
const EVENTS: usize = 14;

/// The members that run, as clients find them.
type Members = Arc<Mutex<BTreeMap<MemberId, (Raft, View)>>>;

/// What the clients have seen.
#[derive(Default)]
struct Witness {
    acknowledged: [AtomicU64; KEYS as usize],
    writes: AtomicU64,
    reads: AtomicU64,
    unknown: AtomicU64,
    stop: AtomicBool,
}

fn any_leader(members: &Members) -> Option<(Raft, View)> {
    let members = members.lock().unwrap();
    // Every member that thinks it leads is as good as another: a deposed one must notice.
    let mut leaders = members
        .values()
        .filter(|(raft, _)| raft.status().is_leader());
    leaders.next().cloned()
}

async fn write(key: u64, members: Members, witness: Arc<Witness>) {
    for value in 1.. {
        if witness.stop.load(SeqCst) {
            return;
        }
        let Some((raft, _)) = any_leader(&members) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        match raft.propose(encode(key, value)).await {
            Ok(_) => {
                witness.acknowledged[key as usize].store(value, SeqCst);
                witness.writes.fetch_add(1, SeqCst);
            }
            Err(raft::ProposeError::Unknown) => {
                witness.unknown.fetch_add(1, SeqCst);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

async fn read(key: u64, nth: usize, members: Members, witness: Arc<Witness>) {
    while !witness.stop.load(SeqCst) {
        let chosen = {
            let members = members.lock().unwrap();
            let leaders = members
                .values()
                .filter(|(raft, _)| raft.status().is_leader());
            let leaders: Vec<_> = leaders.cloned().collect();
            leaders.get(nth % leaders.len().max(1)).cloned()
        };
        let Some((raft, view)) = chosen else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let before = witness.acknowledged[key as usize].load(SeqCst);
        if raft.read_barrier().await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let shown = view.lock().unwrap().values.get(&key).copied().unwrap_or(0);
        assert!(
            shown >= before,
            "key {key} shows {shown} after {before} was acknowledged"
        );
        witness.reads.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
    }
}

fn publish(cluster: &Cluster, members: &Members) {
    let nodes = cluster.nodes.iter();
    let nodes = nodes.map(|(id, node)| (*id, (node.raft.clone(), node.view.clone())));
    *members.lock().unwrap() = nodes.collect();
}

/// Waits until clients get work done: faults must not come so thick that nothing is tested.
async fn await_progress(witness: &Witness) {
    let enough = witness.writes.load(SeqCst) + 50;
    let progress = async {
        while witness.writes.load(SeqCst) < enough {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, progress)
        .await
        .expect("no write went through");
}

async fn torment(seed: u64) {
    let mut cluster = Cluster::new(CALM);
    cluster.snapshot_every = 500;
    cluster.keep_behind = 50;
    cluster.form(3).await;
    let members = Members::default();
    publish(&cluster, &members);
    let witness = Arc::new(Witness::default());
    let mut clients = Vec::new();
    for key in 0..KEYS {
        clients.push(tokio::spawn(write(key, members.clone(), witness.clone())));
        for nth in 0..2 {
            clients.push(tokio::spawn(read(
                key,
                nth,
                members.clone(),
                witness.clone(),
            )));
        }
    }
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..EVENTS {
        await_progress(&witness).await;
        let leader = cluster.leader().await;
        let victim = if random.random_range(0..2) == 0 {
            leader
        } else {
            random.random_range(1..=3)
        };
        match random.random_range(0..4) {
            0 => {
                cluster.net.isolate(victim);
                tokio::time::sleep(CALM.election_max * random.random_range(1..5)).await;
                cluster.net.heal();
            }
            1 => {
                members.lock().unwrap().remove(&victim);
                cluster.kill(victim);
                cluster.start(victim).await;
                publish(&cluster, &members);
            }
            2 => {
                cluster.net.degrade(Duration::from_millis(15), 5);
                tokio::time::sleep(CALM.election_max).await;
                cluster.net.degrade(Duration::ZERO, 0);
            }
            _ => {
                // The member it was meant for may have stopped leading: that is fine.
                let _ = cluster.nodes[&leader].raft.transfer_leader(None).await;
            }
        }
    }
    await_progress(&witness).await;
    witness.stop.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let values = cluster.settled().await;
    for key in 0..KEYS {
        let acknowledged = witness.acknowledged[key as usize].load(SeqCst);
        assert!(
            values.get(&key).copied().unwrap_or(0) >= acknowledged,
            "key {key}"
        );
    }
    println!(
        "seed {seed}: checked {} reads and {} acknowledged writes, {} of unknown outcome, {EVENTS} faults",
        witness.reads.load(SeqCst),
        witness.writes.load(SeqCst),
        witness.unknown.load(SeqCst),
    );
    assert!(witness.reads.load(SeqCst) > 100 && witness.writes.load(SeqCst) > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_stay_linearizable_and_writes_stay_kept_while_members_fail() {
    for seed in [1, 2] {
        torment(seed).await;
    }
}
