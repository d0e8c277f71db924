//! The handle: what starts a member, what its owner can ask of it, and how it stops.
//!
//! Consensus has a thread and a single-threaded runtime of its own, at a raised priority, so that
//! other work of the process delays no heartbeat. The log's writer and the machine have a thread
//! each. All of them end with [`Raft::shutdown`], or when the last handle is dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{InitializeError as OpenraftInitializeError, RaftError};
use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::error::{
    InitializeError, MembershipError, ProposeError, ReadError, StartError, WaitError,
};
use crate::log::LogStats;
use crate::machine::Machine;
use crate::member::{Member, MemberId};
use crate::propose::Applied;
use crate::runner::{Parts, Stop, run};
use crate::status::Status;
use crate::store_dir::at;
use crate::threads;
use crate::transport::Transport;
use crate::types::Contact;

/// A running member. Clones are handles to the same one.
#[derive(Clone)]
pub struct Raft {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    stop: watch::Sender<Stop>,
    stopped: watch::Receiver<bool>,
}

impl Raft {
    /// Starts a member: recovers its directory, replays what it knows to be committed, and takes
    /// part in the cluster if it belongs to one already.
    pub async fn start(
        config: Config,
        machine: impl Machine,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, StartError> {
        let (stop, stop_asked) = watch::channel(Stop::No);
        let (stopped_now, stopped) = watch::channel(false);
        let (started, outcome) = oneshot::channel();
        let dir = config.dir.clone();
        threads::spawn("raft", move || {
            run(config, machine, transport, started, stop_asked);
            stopped_now.send_replace(true);
        })
        .map_err(at(&dir))?;
        let parts = outcome
            .await
            .map_err(|_| StartError::Stopped("the consensus thread ended".into()))??;
        Ok(Self {
            inner: Arc::new(Inner {
                parts,
                stop,
                stopped,
            }),
        })
    }

    /// Forms a cluster of this one member. Returns when it takes proposals.
    pub async fn initialize(&self, first: Member) -> Result<(), InitializeError> {
        let parts = &self.inner.parts;
        if first.id != parts.server.id {
            return Err(InitializeError::NotThisMember(parts.server.id));
        }
        let nodes = BTreeMap::from([(first.id, Contact::from(first))]);
        match parts.consensus.initialize(nodes).await {
            Ok(()) => {}
            Err(RaftError::APIError(OpenraftInitializeError::NotAllowed(_))) => {
                return Err(InitializeError::AlreadyInitialized);
            }
            Err(error) => return Err(InitializeError::Stopped(error.to_string())),
        }
        // Entry 0 is the membership; entry 1 is the leader's own, after which all else may come.
        let mut status = parts.status.clone();
        let ready = status.wait_for(|status| status.is_leader() && status.applied >= Some(1));
        match tokio::time::timeout(parts.reader.timing.patience(), ready).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(InitializeError::Stopped("while starting".into())),
            Err(_) => Err(InitializeError::TimedOut),
        }
    }

    /// Answers a call that another member made through its [`Transport`].
    pub async fn serve(&self, request: Bytes) -> Bytes {
        self.inner.parts.server.serve(request).await
    }

    /// Puts data through consensus; returns once it is on a quorum's disks and applied here, with
    /// the machine's reply. Concurrent proposals share log writes and disk flushes.
    pub async fn propose(&self, data: Bytes) -> Result<Applied, ProposeError> {
        self.inner.parts.proposer.propose(data).await
    }

    /// On the leader: returns once the local machine shows every write acknowledged so far. Rests
    /// on the leader's lease while that is fresh, on a round trip to a quorum otherwise.
    pub async fn read_barrier(&self) -> Result<u64, ReadError> {
        self.inner.parts.reader.barrier().await
    }

    /// Like [`read_barrier`](Self::read_barrier), but always with a round trip, on no clock.
    pub async fn read_barrier_confirmed(&self) -> Result<u64, ReadError> {
        self.inner.parts.reader.confirm().await
    }

    /// Like [`read_barrier`](Self::read_barrier), on any member: asks the leader how far the local
    /// machine must be, and waits for that.
    pub async fn read_barrier_anywhere(&self) -> Result<u64, ReadError> {
        let leader = self.inner.parts.status.borrow().leader.clone();
        self.inner.parts.reader.barrier_anywhere(leader).await
    }

    /// Waits until the local machine has applied an index.
    pub async fn wait_applied(&self, index: u64, deadline: Duration) -> Result<(), WaitError> {
        self.inner.parts.reader.wait_applied(index, deadline).await
    }

    /// Waits until the machine shows at least what it showed before this member last stopped.
    /// Until then a read that is not behind a barrier may go back in time.
    pub async fn wait_recovered(&self, deadline: Duration) -> Result<(), WaitError> {
        let recovered = self.inner.parts.consensus.wait_for_recovery(Some(deadline));
        match recovered.await {
            Ok(_) => Ok(()),
            Err(openraft::metrics::WaitError::Timeout(..)) => Err(WaitError::TimedOut),
            Err(openraft::metrics::WaitError::ShuttingDown) => Err(WaitError::Stopped),
        }
    }

    pub fn status(&self) -> Status {
        let parts = &self.inner.parts;
        // What others watch lacks the times of the last heartbeats.
        let mut status = Status::from_metrics(&parts.consensus.metrics().borrow_watched());
        status.applied = status.applied.max(match *parts.reader.applied.borrow() {
            0 => None,
            index => Some(index),
        });
        status
    }

    /// Follows the status. Changes that come quickly are seen as one.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.inner.parts.status.clone()
    }

    /// What the log has written and flushed since this member started.
    pub fn log_stats(&self) -> LogStats {
        (self.inner.parts.log_stats)()
    }

    /// On the leader: adds a voter. It joins as a learner and gets its vote once it has the log;
    /// if it has not by the deadline, it is no member. Its `Raft` must run and be reachable.
    pub async fn add_member(
        &self,
        member: Member,
        deadline: Duration,
    ) -> Result<(), MembershipError> {
        self.inner.parts.members.add(member, deadline).await
    }

    /// On the leader: adds a member without a vote.
    pub async fn add_learner(&self, member: Member) -> Result<(), MembershipError> {
        self.inner.parts.members.add_learner(member).await
    }

    /// On the leader: gives a learner a vote, once it has caught up.
    pub async fn promote(&self, id: MemberId, deadline: Duration) -> Result<(), MembershipError> {
        self.inner.parts.members.promote(id, deadline).await
    }

    /// On the leader: removes a member, voter or learner. Asked to remove itself, a leader hands
    /// leadership over and returns `NotLeader` with the one to ask.
    pub async fn remove_member(&self, id: MemberId) -> Result<(), MembershipError> {
        self.inner.parts.members.remove(id).await
    }

    /// On the leader: gives a member another address. Its id and label stay.
    pub async fn update_member_addr(&self, member: Member) -> Result<(), MembershipError> {
        self.inner.parts.members.update_addr(member).await
    }

    /// On the leader: hands leadership to a voter, or to the one that is furthest. Returns once
    /// another leads. Proposals made meanwhile wait.
    pub async fn transfer_leader(&self, to: Option<MemberId>) -> Result<(), MembershipError> {
        self.inner.parts.members.transfer(to).await
    }

    /// Asks for a snapshot now; it is taken in the background.
    pub async fn trigger_snapshot(&self) -> Result<(), WaitError> {
        let triggered = self.inner.parts.consensus.trigger().snapshot().await;
        triggered.map_err(|_| WaitError::Stopped)
    }

    /// Hands leadership over if this member has it and another can take it, then shuts down. The
    /// member still belongs to the cluster.
    pub async fn leave_gracefully(&self) {
        if self.status().is_leader()
            && let Err(error) = self.transfer_leader(None).await
        {
            tracing::info!(%error, "stops as the leader");
        }
        self.shutdown().await;
    }

    /// Stops this member at once and tells nobody: to the others it looks like a crash. Returns
    /// before it has stopped.
    pub fn abort(&self) {
        self.inner.ask_to_stop(Stop::AtOnce);
    }

    /// Stops this member. When it returns its threads have ended and its directory is unlocked.
    pub async fn shutdown(&self) {
        self.inner.ask_to_stop(Stop::Gracefully);
        let mut stopped = self.inner.stopped.clone();
        // An error means that the thread is gone all the more.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

#[cfg(test)]
impl Raft {
    /// For tests of what openraft alone would do.
    pub(crate) fn consensus(&self) -> &crate::types::Consensus {
        &self.inner.parts.consensus
    }
}

impl fmt::Debug for Raft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raft")
            .field("id", &self.inner.parts.server.id)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn ask_to_stop(&self, how: Stop) {
        self.stop.send_if_modified(|stop| {
            let first = *stop == Stop::No;
            if first {
                *stop = how;
            }
            first
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ask_to_stop(Stop::AtOnce);
    }
}
