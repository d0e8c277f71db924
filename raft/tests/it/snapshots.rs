//! Snapshots: taken, sent, and started from.

use std::time::Duration;

use crate::support::{CALM, Cluster, PATIENCE};

fn small(mut cluster: Cluster) -> Cluster {
    cluster.snapshot_every = 50;
    cluster.keep_behind = 10;
    cluster
}

async fn fill(cluster: &Cluster, keys: std::ops::Range<u64>) {
    for key in keys {
        cluster.set(key, key + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_joins_late_gets_a_snapshot() {
    let mut cluster = small(Cluster::new(CALM));
    cluster.form(1).await;
    fill(&cluster, 0..300).await;
    cluster.until(1, |status| status.purged > Some(150)).await;
    cluster.join(2).await;
    assert_eq!(cluster.settled().await.len(), 300);
    let restores = cluster.nodes[&2].view.lock().unwrap().restores;
    assert_eq!(restores, 1, "the log alone could not have done it");
    cluster.join(3).await;
    fill(&cluster, 300..320).await;
    assert_eq!(cluster.settled().await.len(), 320);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_for_long_catches_up_by_a_snapshot() {
    let mut cluster = small(Cluster::new(CALM));
    cluster.form(3).await;
    fill(&cluster, 0..20).await;
    let away = cluster.followers()[0];
    cluster.kill(away);
    fill(&cluster, 20..400).await;
    let leader = cluster.leader().await;
    cluster
        .until(leader, |status| status.purged > Some(200))
        .await;
    cluster.start(away).await;
    assert_eq!(cluster.settled().await.len(), 400);
    let status = cluster
        .until(away, |status| status.snapshot.is_some())
        .await;
    assert!(status.snapshot > Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_starts_from_its_snapshot_and_the_log_behind_it() {
    let mut cluster = small(Cluster::new(CALM));
    cluster.form(1).await;
    for round in 1..4 {
        fill(&cluster, 0..130 * round).await;
        cluster.until(1, |status| status.snapshot > Some(50)).await;
        cluster.kill(1);
        cluster.start(1).await;
        let raft = &cluster.nodes[&1].raft;
        raft.wait_recovered(PATIENCE).await.unwrap();
        assert_eq!(cluster.values(1).len() as u64, 130 * round);
        assert_eq!(cluster.nodes[&1].view.lock().unwrap().restores, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_slow_to_encode_stops_no_write() {
    let cluster = Cluster::of(1, CALM).await;
    fill(&cluster, 0..10).await;
    let node = &cluster.nodes[&1];
    let gate = node.gate.clone();
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let _closed = gate.lock().unwrap();
        locked.send(()).unwrap();
        // Also when the test fails and drops its end.
        let _ = released.recv();
    });
    is_locked.recv().unwrap();
    node.raft.trigger_snapshot().await.unwrap();
    fill(&cluster, 10..40).await;
    assert_eq!(
        node.raft.status().snapshot,
        None,
        "it is still being encoded"
    );
    release.send(()).unwrap();
    holder.join().unwrap();
    cluster.until(1, |status| status.snapshot.is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_arrives_over_a_network_that_loses_and_delays() {
    let mut cluster = small(Cluster::new(CALM));
    cluster.form(1).await;
    fill(&cluster, 0..300).await;
    cluster.until(1, |status| status.purged > Some(150)).await;
    cluster.net.degrade(Duration::from_millis(5), 4);
    cluster.join(2).await;
    cluster.net.degrade(Duration::ZERO, 0);
    assert_eq!(cluster.settled().await.len(), 300);
}
