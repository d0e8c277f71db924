//! What a member knows about itself and the cluster, as plain data.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use openraft::{Instant as _, ServerState};

use crate::member::{Member, MemberId};
use crate::types::{Membership, Metrics};

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Leader,
    Follower,
    Candidate,
    /// Receives the log but has no vote: not (yet, or any more) a member with a say.
    Learner,
}

/// One member's view, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub id: MemberId,
    pub role: Role,
    pub term: u64,
    pub leader: Option<Member>,
    /// The voters. While a change of them is under way, the old and the new ones.
    pub members: Vec<Member>,
    pub learners: Vec<Member>,
    /// Whether a change of the voters is under way.
    pub changing: bool,
    /// Indexes: of the last entry here, the last known committed, applied, in a snapshot, purged.
    pub last_log: Option<u64>,
    pub committed: Option<u64>,
    pub applied: Option<u64>,
    pub snapshot: Option<u64>,
    pub purged: Option<u64>,
    /// On the leader: when what a quorum acknowledged last was sent.
    pub last_quorum_ack: Option<Instant>,
    /// On the leader: how far each other member is.
    pub peers: BTreeMap<MemberId, Peer>,
    /// Why this member stopped for good, if it did.
    pub failed: Option<String>,
}

/// A leader's view of another member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Index of the last entry it is known to have on disk.
    pub matched: Option<u64>,
    pub last_ack: Option<Instant>,
}

impl Status {
    /// The status of a member of which nothing is known yet.
    pub(crate) fn unknown(id: MemberId) -> Self {
        Self {
            id,
            role: Role::Learner,
            term: 0,
            leader: None,
            members: Vec::new(),
            learners: Vec::new(),
            changing: false,
            last_log: None,
            committed: None,
            applied: None,
            snapshot: None,
            purged: None,
            last_quorum_ack: None,
            peers: BTreeMap::new(),
            failed: None,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// Time since a quorum acknowledged this leader; `None` if this is none, or not yet.
    pub fn since_quorum_ack(&self) -> Option<Duration> {
        self.last_quorum_ack.map(|at| at.elapsed())
    }

    /// The member with this id, voter or learner.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        let all = self.members.iter().chain(&self.learners);
        all.into_iter().find(|member| member.id == id)
    }

    pub(crate) fn from_metrics(metrics: &Metrics) -> Self {
        let membership = metrics.membership_config.membership();
        let (members, learners) = split(membership);
        let leader = metrics
            .current_leader
            .and_then(|id| membership.get_node(&id).map(|contact| contact.member(id)));
        let instant = |at: Duration| Instant::now().checked_sub(at);
        let acks = metrics.heartbeat.as_ref();
        let last_ack = |id: &MemberId| {
            let at = acks.and_then(|acks| acks.get(id)).and_then(Option::as_ref);
            at.and_then(|at| instant(at.elapsed()))
        };
        let peers = metrics.replication.iter().flatten();
        let peers = peers.filter(|(id, _)| **id != metrics.id);
        Self {
            id: metrics.id,
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Candidate => Role::Candidate,
                ServerState::Follower => Role::Follower,
                ServerState::Learner | ServerState::Shutdown => Role::Learner,
            },
            term: metrics.current_term,
            leader,
            members,
            learners,
            changing: membership.get_joint_config().len() > 1,
            last_log: metrics.last_log_index,
            committed: metrics.local_committed.map(|id| id.index),
            applied: metrics.last_applied.map(|id| id.index),
            snapshot: metrics.snapshot.map(|id| id.index),
            purged: metrics.purged.map(|id| id.index),
            last_quorum_ack: metrics
                .last_quorum_acked
                .as_ref()
                .and_then(|at| instant(at.elapsed())),
            peers: peers
                .map(|(id, matched)| {
                    let peer = Peer {
                        matched: matched.map(|id| id.index),
                        last_ack: last_ack(id),
                    };
                    (*id, peer)
                })
                .collect(),
            failed: match &metrics.running_state {
                Ok(()) | Err(openraft::errors::Fatal::Stopped) => None,
                Err(fatal) => Some(fatal.to_string()),
            },
        }
    }
}

/// Voters and learners.
fn split(membership: &Membership) -> (Vec<Member>, Vec<Member>) {
    let voters: Vec<MemberId> = membership.voter_ids().collect();
    membership
        .nodes()
        .map(|(id, contact)| contact.member(*id))
        .partition(|member| voters.contains(&member.id))
}
