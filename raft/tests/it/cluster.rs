//! Clusters of one to five members: writes, reads, leaders that come and go.

use std::time::Duration;

use crate::support::{CALM, Cluster, PATIENCE, encode, member, was_refused};
use bytes::Bytes;
use raft::{InitializeError, MAX_PROPOSAL_BYTES, ProposeError, Raft, ReadError, Role, StartError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_writes_reads_and_remembers() {
    let mut cluster = Cluster::of(1, CALM).await;
    let raft = cluster.nodes[&1].raft.clone();
    let applied = raft.propose(encode(1, 10)).await.unwrap();
    assert_eq!(&applied.reply[..], &0u64.to_le_bytes());
    let again = raft.propose(encode(1, 11)).await.unwrap();
    assert_eq!(&again.reply[..], &10u64.to_le_bytes());
    assert_eq!(again.index, applied.index + 1);
    assert!(raft.read_barrier().await.unwrap() >= again.index);
    assert_eq!(
        raft.initialize(member(1)).await.unwrap_err(),
        InitializeError::AlreadyInitialized
    );
    raft.shutdown().await;
    assert_eq!(
        raft.propose(encode(1, 12)).await,
        Err(ProposeError::Stopped)
    );
    drop(raft);
    cluster.kill(1);
    cluster.start(1).await;
    assert_eq!(cluster.settled().await[&1], 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_member_must_be_the_one_that_is_asked() {
    let mut cluster = Cluster::new(CALM);
    cluster.start(1).await;
    let result = cluster.nodes[&1].raft.initialize(member(2)).await;
    assert_eq!(result.unwrap_err(), InitializeError::NotThisMember(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_in_use_is_refused() {
    let cluster = Cluster::of(1, CALM).await;
    let transport = cluster.net.transport(1);
    let error = Raft::start(cluster.config(1), Fragile, transport).await;
    assert!(matches!(error.unwrap_err(), StartError::InUse { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_agree_and_followers_say_who_leads() {
    let cluster = Cluster::of(3, CALM).await;
    for key in 0..50 {
        cluster.set(key, key * 2).await;
    }
    assert_eq!(cluster.settled().await.len(), 50);
    let leader = cluster.leader().await;
    for id in cluster.followers() {
        cluster.until(id, |status| status.leader.is_some()).await;
        let raft = &cluster.nodes[&id].raft;
        let expected = Some(member(leader));
        assert_eq!(
            raft.propose(encode(0, 0)).await,
            Err(ProposeError::NotLeader {
                leader: expected.clone()
            })
        );
        assert_eq!(
            raft.read_barrier().await,
            Err(ReadError::NotLeader { leader: expected })
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reads_what_the_leader_acknowledged() {
    let cluster = Cluster::of(3, CALM).await;
    let follower = cluster.followers()[0];
    for value in 1..100 {
        cluster.set(5, value).await;
        let raft = &cluster.nodes[&follower].raft;
        raft.read_barrier_anywhere().await.unwrap();
        assert_eq!(cluster.values(follower)[&5], value);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_bear_the_loss_of_two_and_refuse_after_the_third() {
    let mut cluster = Cluster::of(5, CALM).await;
    cluster.set(1, 1).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.kill(leader);
        cluster.set(1, 2).await;
    }
    assert_eq!(cluster.settled().await[&1], 2);
    let leader = cluster.leader().await;
    let other = *cluster.nodes.keys().find(|id| **id != leader).unwrap();
    cluster.kill(other);
    let raft = cluster.nodes[&leader].raft.clone();
    let error = raft.read_barrier_confirmed().await.unwrap_err();
    assert!(matches!(
        error,
        ReadError::NoQuorum | ReadError::NotLeader { .. }
    ));
    // The first may have been appended while the lease still held; what comes later is refused.
    let _ = raft.propose(encode(1, 3)).await;
    assert!(was_refused(&raft.propose(encode(1, 4)).await.unwrap_err()));
    cluster.start(other).await;
    cluster.set(2, 2).await;
    assert_eq!(cluster.settled().await[&2], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_leader_refuses_reads_and_writes_while_a_new_one_takes_them() {
    let cluster = Cluster::of(3, CALM).await;
    cluster.set(1, 1).await;
    let old = cluster.leader().await;
    cluster.net.isolate(old);
    let raft = &cluster.nodes[&old].raft;
    let lost = async {
        while raft.read_barrier().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, lost).await.unwrap();
    let write = raft.propose(encode(1, 666)).await.unwrap_err();
    assert!(was_refused(&write), "{write}");
    assert_eq!(raft.status().role, Role::Leader, "it cannot know better");
    let applied = cluster.set(1, 2).await;
    assert_ne!(cluster.leader().await, old);
    assert!(raft.read_barrier().await.is_err(), "still cut off");
    cluster.net.heal();
    cluster
        .until(old, |status| status.role == Role::Follower)
        .await;
    raft.wait_applied(applied.index, PATIENCE).await.unwrap();
    assert_eq!(cluster.settled().await[&1], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_follower_does_not_disturb_the_term() {
    let cluster = Cluster::of(3, CALM).await;
    let leader = cluster.leader().await;
    let term = cluster.nodes[&leader].raft.status().term;
    let follower = cluster.followers()[0];
    cluster.net.isolate(follower);
    // It loses sight of the leader, and time passes in which it would have stood many times.
    for value in 0..40 {
        cluster.set(1, value).await;
        tokio::time::sleep(CALM.election_max / 4).await;
    }
    assert_eq!(cluster.nodes[&follower].raft.status().term, term);
    cluster.net.heal();
    assert_eq!(cluster.settled().await[&1], 39);
    let status = cluster.nodes[&leader].raft.status();
    assert_eq!((status.term, status.role), (term, Role::Leader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_and_delays_slow_a_cluster_down_and_change_nothing_else() {
    let cluster = Cluster::of(3, CALM).await;
    cluster.net.degrade(Duration::from_millis(20), 10);
    for key in 0..30 {
        cluster.set(key, key).await;
    }
    cluster.net.degrade(Duration::ZERO, 0);
    assert_eq!(cluster.settled().await.len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_proposals_share_flushes() {
    let cluster = Cluster::of(3, CALM).await;
    let leader = cluster.leader().await;
    let raft = cluster.nodes[&leader].raft.clone();
    let before = raft.log_stats();
    let proposers = (0..64u64).map(|key| {
        let raft = raft.clone();
        tokio::spawn(async move {
            for value in 1..=30 {
                raft.propose(encode(key, value)).await.unwrap();
            }
        })
    });
    for proposer in proposers.collect::<Vec<_>>() {
        proposer.await.unwrap();
    }
    let after = raft.log_stats();
    let (proposals, flushes) = (64 * 30, after.flushes - before.flushes);
    println!("{proposals} proposals took {flushes} flushes");
    assert!(flushes * 2 < proposals, "{flushes} flushes");
    assert!(after.records - before.records >= proposals);
    let values = cluster.settled().await;
    assert!(values.values().all(|value| *value == 30) && values.len() == 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_no_frame_is_refused_and_does_no_harm() {
    let cluster = Cluster::of(1, CALM).await;
    let raft = &cluster.nodes[&1].raft;
    let size = MAX_PROPOSAL_BYTES + 1;
    assert_eq!(
        raft.propose(vec![0; size].into()).await,
        Err(ProposeError::TooLarge {
            size,
            limit: MAX_PROPOSAL_BYTES
        })
    );
    for bytes in [&b""[..], b"\x01", b"\x02\x01\x02", &[1; 5000]] {
        let answer = raft.serve(Bytes::copy_from_slice(bytes)).await;
        assert!(!answer.is_empty());
    }
    cluster.set(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_leaves_hands_over_first() {
    let mut cluster = Cluster::of(3, CALM).await;
    cluster.set(1, 1).await;
    let old = cluster.leader().await;
    let raft = cluster.nodes[&old].raft.clone();
    let term = raft.status().term;
    raft.leave_gracefully().await;
    let new = *cluster.nodes.keys().find(|id| **id != old).unwrap();
    let status = cluster.nodes[&new].raft.status();
    assert!(
        status.term > term,
        "the next leader was elected before it left"
    );
    cluster.kill(old);
    cluster.set(1, 2).await;
    cluster.start(old).await;
    assert_eq!(cluster.settled().await[&1], 2);
}

/// Breaks the rule that `apply` is total.
struct Fragile;

impl raft::Machine for Fragile {
    fn apply(&mut self, _: u64, _: u64, data: &[u8]) -> Bytes {
        assert_ne!(data, b"13", "this one I cannot do");
        Bytes::new()
    }
    fn published(&mut self, _: u64) {}
    fn snapshot(&self) -> Box<dyn FnOnce() -> std::io::Result<Vec<u8>> + Send> {
        Box::new(|| Ok(Vec::new()))
    }
    fn restore(&mut self, _: u64, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_panics_stops_its_member_which_says_so() {
    let cluster = Cluster::new(CALM);
    let (config, transport) = (cluster.config(1), cluster.net.transport(1));
    let raft = Raft::start(config, Fragile, transport).await.unwrap();
    raft.initialize(member(1)).await.unwrap();
    raft.propose(Bytes::from_static(b"12")).await.unwrap();
    let error = raft.propose(Bytes::from_static(b"13")).await.unwrap_err();
    assert_eq!(error, ProposeError::Unknown);
    let mut status = raft.watch();
    let failed = status.wait_for(|status| status.failed.is_some());
    tokio::time::timeout(PATIENCE, failed)
        .await
        .unwrap()
        .unwrap();
    let error = raft.propose(Bytes::from_static(b"14")).await.unwrap_err();
    assert_eq!(error, ProposeError::Stopped);
    raft.shutdown().await;
}
