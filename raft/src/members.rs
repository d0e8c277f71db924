//! Changes of who takes part, one at a time: join, leave, new address, another leader.
//!
//! openraft does one step; what is here makes it safe to call: a learner is promoted once it has
//! caught up, no change is begun that would leave a cluster without a quorum, a change that a
//! crashed leader left half done is finished, and leadership moves before its holder goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, ForwardReason, RaftError};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::config::Timing;
use crate::error::MembershipError;
use crate::member::{Member, MemberId};
use crate::read::leader_of;
use crate::status::Status;
use crate::types::{Consensus, Contact, TypeConfig};

/// Pause before a step that came too early is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

type Change = ChangeMembers<MemberId, Contact>;

/// Changes the membership, on behalf of any number of callers.
#[derive(Clone)]
pub(crate) struct Members {
    id: MemberId,
    consensus: Consensus,
    timing: Timing,
    runtime: Handle,
    /// One permit: whose turn it is.
    turn: Arc<Semaphore>,
    /// Stops proposals while leadership moves.
    pause: Arc<watch::Sender<bool>>,
}

impl Members {
    pub(crate) fn new(
        id: MemberId,
        consensus: Consensus,
        timing: Timing,
        runtime: Handle,
        pause: watch::Sender<bool>,
    ) -> Self {
        Self {
            id,
            consensus,
            timing,
            runtime,
            turn: Arc::new(Semaphore::new(1)),
            pause: Arc::new(pause),
        }
    }

    /// Adds a voter: first as a learner, then, once it has the log, with a vote.
    pub(crate) async fn add(
        &self,
        member: Member,
        deadline: Duration,
    ) -> Result<(), MembershipError> {
        let this = self.clone();
        let limit = deadline + self.timing.patience();
        self.in_turn(limit, async move { this.do_add(member, deadline).await })
            .await
    }

    /// Adds a member that follows but has no vote.
    pub(crate) async fn add_learner(&self, member: Member) -> Result<(), MembershipError> {
        let this = self.clone();
        self.in_turn(self.timing.patience(), async move {
            this.settle().await?;
            this.do_add_learner(&member).await
        })
        .await
    }

    /// Gives a learner a vote once it has caught up.
    pub(crate) async fn promote(
        &self,
        id: MemberId,
        deadline: Duration,
    ) -> Result<(), MembershipError> {
        let this = self.clone();
        let limit = deadline + self.timing.patience();
        self.in_turn(limit, async move {
            this.settle().await?;
            this.do_promote(id, deadline).await
        })
        .await
    }

    pub(crate) async fn remove(&self, id: MemberId) -> Result<(), MembershipError> {
        let this = self.clone();
        self.in_turn(self.timing.patience() * 2, async move {
            this.do_remove(id).await
        })
        .await
    }

    pub(crate) async fn update_addr(&self, member: Member) -> Result<(), MembershipError> {
        let this = self.clone();
        self.in_turn(self.timing.patience(), async move {
            let status = this.settle().await?;
            let known = status
                .member(member.id)
                .ok_or(MembershipError::UnknownMember(member.id))?;
            if known.label != member.label {
                return Err(MembershipError::IdInUse(member.id));
            }
            if known.addr == member.addr {
                return Ok(());
            }
            let nodes = BTreeMap::from([(member.id, Contact::from(member))]);
            this.change(Change::SetNodes(nodes)).await
        })
        .await
    }

    /// Hands leadership to a voter, or to the one that is furthest.
    pub(crate) async fn transfer(&self, to: Option<MemberId>) -> Result<(), MembershipError> {
        let this = self.clone();
        self.in_turn(
            self.timing.patience(),
            async move { this.do_transfer(to).await },
        )
        .await
    }

    /// Finishes what a crashed leader left half done. Runs as long as the member does.
    pub(crate) async fn finish_abandoned_changes(self, mut status: watch::Receiver<Status>) {
        let half_done = |status: &Status| status.is_leader() && status.changing;
        while status.wait_for(half_done).await.is_ok() {
            tokio::time::sleep(self.timing.election_max * 5).await;
            if !half_done(&status.borrow()) {
                continue;
            }
            let Ok(_turn) = self.turn.acquire().await else {
                return;
            };
            if let Err(error) = self.settle().await {
                tracing::debug!(%error, "a half-done change of the members is not finished yet");
            }
        }
    }

    /// Runs work when it is its turn, on the consensus runtime: it goes on if the caller leaves.
    async fn in_turn(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<(), MembershipError>> + Send + 'static,
    ) -> Result<(), MembershipError> {
        let turn = self.turn.clone();
        let job = self.runtime.spawn(async move {
            let _turn = turn.acquire().await.map_err(|_| MembershipError::Stopped)?;
            work.await
        });
        match tokio::time::timeout(limit, job).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(MembershipError::Stopped),
            Err(_) => Err(MembershipError::Unknown),
        }
    }

    async fn do_add(&self, member: Member, deadline: Duration) -> Result<(), MembershipError> {
        let status = self.settle().await?;
        if status.members.contains(&member) {
            return Ok(());
        }
        self.do_add_learner(&member).await?;
        let result = self.do_promote(member.id, deadline).await;
        if let Err(MembershipError::NotCaughtUp(_) | MembershipError::WouldLoseQuorum { .. }) =
            &result
        {
            // It did not become a member with a say, so it leaves nothing behind.
            self.change(Change::RemoveNodes(BTreeSet::from([member.id])))
                .await?;
        }
        result
    }

    async fn do_add_learner(&self, member: &Member) -> Result<(), MembershipError> {
        let status = self.leading()?;
        match status.member(member.id) {
            Some(known) if known == member => return Ok(()),
            Some(_) => return Err(MembershipError::IdInUse(member.id)),
            None => {}
        }
        let nodes = BTreeMap::from([(member.id, Contact::from(member.clone()))]);
        self.change(Change::AddNodes(nodes)).await
    }

    async fn do_promote(&self, id: MemberId, deadline: Duration) -> Result<(), MembershipError> {
        let status = self.leading()?;
        if status.members.iter().any(|member| member.id == id) {
            return Ok(());
        }
        if status.member(id).is_none() {
            return Err(MembershipError::UnknownMember(id));
        }
        let goal = status.last_log;
        self.until(deadline, |status| {
            status
                .peers
                .get(&id)
                .is_some_and(|peer| peer.matched >= goal)
        })
        .await?
        .ok_or(MembershipError::NotCaughtUp(id))?;
        let mut voters: BTreeSet<MemberId> = status.members.iter().map(|m| m.id).collect();
        voters.insert(id);
        self.check_quorum(&voters).await?;
        self.change(Change::AddVoterIds(BTreeSet::from([id]))).await
    }

    async fn do_remove(&self, id: MemberId) -> Result<(), MembershipError> {
        let status = self.settle().await?;
        if status.learners.iter().any(|member| member.id == id) {
            return self.change(Change::RemoveNodes(BTreeSet::from([id]))).await;
        }
        let mut voters: BTreeSet<MemberId> = status.members.iter().map(|m| m.id).collect();
        if !voters.remove(&id) {
            return Err(MembershipError::UnknownMember(id));
        }
        if voters.is_empty() {
            return Err(MembershipError::LastVoter);
        }
        self.check_quorum(&voters).await?;
        if id == self.id {
            self.do_transfer(None).await?;
            let leader = self.status().leader.filter(|leader| leader.id != id);
            return Err(MembershipError::NotLeader { leader });
        }
        self.change(Change::RemoveVoters(BTreeSet::from([id])))
            .await
    }

    async fn do_transfer(&self, to: Option<MemberId>) -> Result<(), MembershipError> {
        let status = self.leading()?;
        let target = match to {
            Some(id) if id == self.id => return Ok(()),
            Some(id) if status.members.iter().any(|member| member.id == id) => id,
            Some(id) => return Err(MembershipError::UnknownMember(id)),
            None => self.best_successor(&status)?,
        };
        let _paused = Paused::new(&self.pause);
        // Nothing new is proposed now, so the target can have all there is.
        let now = std::time::Instant::now();
        self.until(self.timing.election_max * 5, |status| {
            let peer = status.peers.get(&target);
            self.answered(status, target, now)
                && peer.is_some_and(|peer| peer.matched >= status.last_log)
        })
        .await?
        .ok_or(MembershipError::NotCaughtUp(target))?;
        self.consensus
            .trigger()
            .transfer_leader(target)
            .await
            .map_err(|_| MembershipError::Stopped)?;
        let moved = self
            .wait(self.timing.election_max * 10, |status| {
                let leader = status.leader.as_ref().map(|leader| leader.id);
                !status.is_leader() && leader.is_some_and(|leader| leader != self.id)
            })
            .await?;
        moved.ok_or(MembershipError::TransferFailed)?;
        Ok(())
    }

    /// The voter that answers and is furthest; the lowest id among equals.
    fn best_successor(&self, status: &Status) -> Result<MemberId, MembershipError> {
        let lately = std::time::Instant::now().checked_sub(self.timing.election_max * 3);
        let others = status.members.iter().map(|member| member.id);
        others
            .filter(|id| *id != self.id)
            .filter(|id| lately.is_some_and(|lately| self.answered(status, *id, lately)))
            .max_by_key(|id| {
                let matched = status.peers.get(id).and_then(|peer| peer.matched);
                (matched, std::cmp::Reverse(*id))
            })
            .ok_or(MembershipError::NoQuorum)
    }

    /// Whether a member has acknowledged something that was sent to it since a moment.
    fn answered(&self, status: &Status, id: MemberId, since: std::time::Instant) -> bool {
        let peer = status.peers.get(&id);
        id == self.id || peer.is_some_and(|peer| peer.last_ack.is_some_and(|at| at >= since))
    }

    /// Refuses voters of whom too few answer. What they answered earlier does not count: the
    /// change is decided by those who are there now.
    async fn check_quorum(&self, voters: &BTreeSet<MemberId>) -> Result<(), MembershipError> {
        let now = std::time::Instant::now();
        let silent = |status: &Status| -> BTreeSet<MemberId> {
            let all = voters.iter().copied();
            all.filter(|id| !self.answered(status, *id, now)).collect()
        };
        let enough = |status: &Status| (voters.len() - silent(status).len()) * 2 > voters.len();
        match self.until(self.timing.election_max * 3, enough).await? {
            Some(_) => Ok(()),
            None => Err(MembershipError::WouldLoseQuorum {
                silent: silent(&self.status()).into_iter().collect(),
            }),
        }
    }

    /// Makes sure that this is the leader and no change is half done; returns the status then.
    async fn settle(&self) -> Result<Status, MembershipError> {
        let status = self.leading()?;
        if !status.changing {
            return Ok(status);
        }
        self.change(Change::AddVoterIds(BTreeSet::new())).await?;
        self.until(self.timing.patience(), |status| !status.changing)
            .await?
            .ok_or(MembershipError::Unknown)
    }

    /// Makes one change, through both of its steps.
    async fn change(&self, change: Change) -> Result<(), MembershipError> {
        let give_up = Instant::now() + self.timing.patience();
        loop {
            let error = match self
                .consensus
                .change_membership(change.clone(), false)
                .await
            {
                Ok(done) => return self.seen(done.log_id.index).await,
                Err(RaftError::Fatal(_)) => return Err(MembershipError::Stopped),
                Err(RaftError::APIError(error)) => error,
            };
            let early = is_early(&error);
            if !early || Instant::now() >= give_up {
                return Err(refused(error));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Waits until the status shows a membership that was just decided.
    async fn seen(&self, index: u64) -> Result<(), MembershipError> {
        let mut metrics = self.consensus.metrics();
        loop {
            let shown = metrics
                .borrow_watched()
                .membership_config
                .log_id()
                .map(|id| id.index);
            if shown >= Some(index) {
                return Ok(());
            }
            if metrics.changed().await.is_err() {
                return Err(MembershipError::Stopped);
            }
        }
    }

    fn status(&self) -> Status {
        Status::from_metrics(&self.consensus.metrics().borrow_watched())
    }

    fn leading(&self) -> Result<Status, MembershipError> {
        let status = self.status();
        if status.is_leader() {
            Ok(status)
        } else {
            Err(MembershipError::NotLeader {
                leader: status.leader,
            })
        }
    }

    /// Waits for something while leading; `None` if it does not come in time.
    async fn until(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&Status) -> bool,
    ) -> Result<Option<Status>, MembershipError> {
        let either = |status: &Status| !status.is_leader() || condition(status);
        match self.wait(limit, either).await? {
            Some(status) if !status.is_leader() => Err(MembershipError::NotLeader {
                leader: status.leader,
            }),
            other => Ok(other),
        }
    }

    /// Waits for something; `None` if it does not come in time.
    async fn wait(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&Status) -> bool,
    ) -> Result<Option<Status>, MembershipError> {
        let mut metrics = self.consensus.metrics();
        let give_up = Instant::now() + limit;
        loop {
            let status = Status::from_metrics(&metrics.borrow_watched());
            if condition(&status) {
                return Ok(Some(status));
            }
            match tokio::time::timeout_at(give_up, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(MembershipError::Stopped),
                Err(_) => return Ok(None),
            }
        }
    }
}

/// Whether a moment later the same step may be taken.
fn is_early(error: &ClientWriteError<TypeConfig>) -> bool {
    match error {
        ClientWriteError::ForwardToLeader(forward) => forward.reason == ForwardReason::LeaseExpired,
        ClientWriteError::ChangeMembershipError(error) => matches!(
            error,
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_)
        ),
        _ => false,
    }
}

fn refused(error: ClientWriteError<TypeConfig>) -> MembershipError {
    match error {
        ClientWriteError::ForwardToLeader(forward)
            if forward.reason == ForwardReason::LeaseExpired =>
        {
            MembershipError::NoQuorum
        }
        ClientWriteError::ForwardToLeader(forward) => MembershipError::NotLeader {
            leader: leader_of(forward),
        },
        ClientWriteError::LogEntryDiscarded(_) => MembershipError::Unknown,
        error => MembershipError::Refused(error.to_string()),
    }
}

/// Holds proposals back until dropped.
struct Paused<'a>(&'a watch::Sender<bool>);

impl<'a> Paused<'a> {
    fn new(pause: &'a watch::Sender<bool>) -> Self {
        pause.send_replace(true);
        Self(pause)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

#[cfg(test)]
mod tests;
