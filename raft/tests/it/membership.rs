//! Members that join, leave, move and hand over.

use std::time::Duration;

use raft::{MembershipError, Role};

use crate::support::{CALM, Cluster, PATIENCE, encode, member, pointed_at};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_as_a_learner_and_gets_its_vote_when_told() {
    let mut cluster = Cluster::of(1, CALM).await;
    cluster.set(1, 1).await;
    cluster.start(2).await;
    let leader = cluster.nodes[&1].raft.clone();
    leader.add_learner(member(2)).await.unwrap();
    leader.add_learner(member(2)).await.unwrap();
    let status = leader.status();
    assert_eq!(
        (status.members, status.learners),
        (vec![member(1)], vec![member(2)])
    );
    assert_eq!(cluster.settled().await[&1], 1);
    cluster
        .until(2, |status| status.role == Role::Learner)
        .await;
    leader.promote(2, PATIENCE).await.unwrap();
    assert_eq!(leader.status().members, vec![member(1), member(2)]);
    cluster
        .until(2, |status| status.role == Role::Follower)
        .await;
    let peer = leader.status().peers[&2].clone();
    assert!(peer.matched.is_some() && peer.last_ack.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_answers_is_not_let_in() {
    let cluster = Cluster::of(1, CALM).await;
    let leader = &cluster.nodes[&1].raft;
    let soon = Duration::from_millis(300);
    let error = leader.add_member(member(2), soon).await.unwrap_err();
    assert_eq!(error, MembershipError::NotCaughtUp(2));
    let status = leader.status();
    assert_eq!((status.members.len(), status.learners.len()), (1, 0));
    cluster.set(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_not_given_to_another_member() {
    let cluster = Cluster::of(2, CALM).await;
    let leader = cluster.leader().await;
    let raft = &cluster.nodes[&leader].raft;
    let mut other = member(2);
    other.label = "somebody else".into();
    let error = raft.add_member(other.clone(), PATIENCE).await.unwrap_err();
    assert_eq!(error, MembershipError::IdInUse(2));
    let error = raft.update_member_addr(other).await.unwrap_err();
    assert_eq!(error, MembershipError::IdInUse(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_removed_down_to_the_last_one() {
    let mut cluster = Cluster::of(3, CALM).await;
    cluster.set(1, 1).await;
    let leader = cluster.leader().await;
    let raft = cluster.nodes[&leader].raft.clone();
    assert_eq!(
        raft.remove_member(9).await,
        Err(MembershipError::UnknownMember(9))
    );
    drop(raft);
    for left in [2, 1] {
        let leader = cluster.leader().await;
        let others: Vec<_> = cluster.nodes.keys().copied().collect();
        let id = others.into_iter().find(|id| *id != leader).unwrap();
        cluster.remove(id).await;
        cluster.kill(id);
        cluster.set(1, id).await;
        let leader = cluster.leader().await;
        let members = cluster.nodes[&leader].raft.status().members;
        assert_eq!(members.len(), left);
    }
    let leader = cluster.leader().await;
    assert_eq!(
        cluster.nodes[&leader].raft.remove_member(leader).await,
        Err(MembershipError::LastVoter)
    );
    cluster.set(2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_to_be_removed_hands_over_and_names_its_successor() {
    let cluster = Cluster::of(3, CALM).await;
    let old = cluster.leader().await;
    let error = cluster.nodes[&old]
        .raft
        .remove_member(old)
        .await
        .unwrap_err();
    let new = pointed_at(&error).expect("a successor is named");
    assert_ne!(new, old);
    let new = cluster.remove(old).await;
    let status = cluster.nodes[&new].raft.status();
    assert_eq!((status.members.len(), status.changing), (2, false));
    assert_eq!(status.member(old), None);
    cluster.set(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_would_cost_the_quorum_is_refused() {
    let mut cluster = Cluster::of(3, CALM).await;
    let leader = cluster.leader().await;
    let followers = cluster.followers();
    cluster.kill(followers[0]);
    let raft = cluster.nodes[&leader].raft.clone();
    let refused = Err(MembershipError::WouldLoseQuorum {
        silent: vec![followers[0]],
    });
    let result = raft.remove_member(followers[1]).await;
    assert_eq!(
        result, refused,
        "two would be left, and one of them does not answer"
    );
    let leader = cluster.remove(followers[0]).await;
    cluster.set(1, 1).await;
    assert_eq!(cluster.nodes[&leader].raft.status().members.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_refuse_changes_and_point_at_the_leader() {
    let cluster = Cluster::of(3, CALM).await;
    let leader = cluster.leader().await;
    let follower = cluster.followers()[0];
    cluster
        .until(follower, |status| status.leader.is_some())
        .await;
    let raft = &cluster.nodes[&follower].raft;
    let errors = [
        raft.add_member(member(4), PATIENCE).await.unwrap_err(),
        raft.remove_member(leader).await.unwrap_err(),
        raft.transfer_leader(None).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(pointed_at(&error), Some(leader), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_asked_for_at_once_happen_one_after_the_other() {
    let mut cluster = Cluster::of(1, CALM).await;
    for id in 2..=5 {
        cluster.start(id).await;
    }
    let joins = (2..=5).map(|id| {
        cluster.change(move |raft| async move { raft.add_member(member(id), PATIENCE).await })
    });
    let leaders = futures::future::join_all(joins).await;
    let status = cluster.nodes[&leaders[0]].raft.status();
    assert_eq!((status.members.len(), status.changing), (5, false));
    cluster.set(1, 1).await;
    assert_eq!(cluster.settled().await[&1], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_to_the_member_that_was_named() {
    let cluster = Cluster::of(3, CALM).await;
    for target in [3, 1, 2] {
        cluster
            .change(|raft| async move { raft.transfer_leader(Some(target)).await })
            .await;
        cluster
            .until(target, |status| {
                status
                    .leader
                    .as_ref()
                    .is_some_and(|leader| leader.id == target)
            })
            .await;
        cluster.set(target, target).await;
    }
    assert_eq!(cluster.settled().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_while_writes_go_on_and_none_of_them_is_lost() {
    let cluster = Cluster::of(3, CALM).await;
    let leader = cluster.leader().await;
    let raft = cluster.nodes[&leader].raft.clone();
    let writers: Vec<_> = (0..8u64)
        .map(|key| {
            let raft = raft.clone();
            tokio::spawn(async move {
                let mut acknowledged = 0;
                for value in 1.. {
                    if raft.propose(encode(key, value)).await.is_err() {
                        return (key, acknowledged);
                    }
                    acknowledged = value;
                }
                unreachable!("it stops leading sooner")
            })
        })
        .collect();
    cluster
        .until(leader, |status| {
            status.applied >= Some(500) || !status.is_leader()
        })
        .await;
    // On a very busy machine leadership may have moved by itself.
    while let Err(error) = raft.transfer_leader(None).await {
        if pointed_at(&error).is_some_and(|other| other != leader) {
            break;
        }
    }
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.push(writer.await.unwrap());
    }
    let values = cluster.settled().await;
    for (key, value) in acknowledged {
        assert!(values.get(&key).copied().unwrap_or(0) >= value, "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_found_again_at_its_new_address() {
    let mut cluster = Cluster::of(3, CALM).await;
    let moved = cluster.followers()[0];
    cluster.kill(moved);
    cluster.start_at(moved, "elsewhere:1").await;
    cluster.set(1, 1).await;
    let mut at = member(moved);
    at.addr = "elsewhere:1".into();
    let leader = cluster
        .change(|raft| {
            let at = at.clone();
            async move { raft.update_member_addr(at).await }
        })
        .await;
    let status = cluster.nodes[&leader].raft.status();
    assert_eq!(status.member(moved), Some(&at));
    assert_eq!(cluster.settled().await[&1], 1);
}
