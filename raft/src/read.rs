//! Linearizable reads: how far the local machine must be before a read of it may be answered.

use std::time::Duration;

use openraft::LinearizerOption;
use openraft::errors::{ForwardToLeader, LinearizableReadError, RaftError};
use tokio::sync::watch;

use crate::codec::{Answer, Ask, Refusal};
use crate::config::Timing;
use crate::error::{ReadError, WaitError};
use crate::member::Member;
use crate::network::{CallError, Network};
use crate::transport::CallKind;
use crate::types::{Consensus, TypeConfig};

/// Answers read barriers for one member.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) consensus: Consensus,
    pub(crate) network: Network,
    pub(crate) timing: Timing,
    /// Index of the last entry the machine has applied and published.
    pub(crate) applied: watch::Receiver<u64>,
}

impl Reader {
    /// On the leader: an index that covers every write acknowledged so far, and which the machine
    /// has reached. Costs no round trip while the lease is fresh.
    pub(crate) async fn barrier(&self) -> Result<u64, ReadError> {
        let index = self.read_index(self.timing.lease()).await?;
        self.reach(index).await
    }

    /// The same, resting on a round trip to a quorum and on no clock.
    pub(crate) async fn confirm(&self) -> Result<u64, ReadError> {
        let index = self.read_index(Duration::ZERO).await?;
        self.reach(index).await
    }

    /// On any member: asks the leader, then waits for the local machine.
    pub(crate) async fn barrier_anywhere(&self, leader: Option<Member>) -> Result<u64, ReadError> {
        match self.barrier().await {
            Err(ReadError::NotLeader { leader: known }) => {
                let leader = known.or(leader).ok_or(ReadError::NoQuorum)?;
                let index = self.ask_leader(&leader).await?;
                self.reach(index).await
            }
            result => result,
        }
    }

    /// Waits until the machine has applied an index.
    pub(crate) async fn wait_applied(
        &self,
        index: u64,
        deadline: Duration,
    ) -> Result<(), WaitError> {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|applied| *applied >= index);
        match tokio::time::timeout(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(WaitError::Stopped),
            Err(_) => Err(WaitError::TimedOut),
        }
    }

    async fn reach(&self, index: u64) -> Result<u64, ReadError> {
        match self.wait_applied(index, self.timing.patience()).await {
            Ok(()) => Ok(index),
            Err(WaitError::TimedOut) => Err(ReadError::TimedOut),
            Err(WaitError::Stopped) => Err(ReadError::Stopped),
        }
    }

    async fn read_index(&self, lease: Duration) -> Result<u64, ReadError> {
        let option = LinearizerOption::new(Some(lease), true)
            .with_wait_timeout(self.timing.election_max * 2);
        let linearizer = self
            .consensus
            .get_read_linearizer(option)
            .await
            .map_err(read_error)?;
        Ok(linearizer.read_log_id().index())
    }

    async fn ask_leader(&self, leader: &Member) -> Result<u64, ReadError> {
        let deadline = self.timing.bulk_deadline();
        let answer = self
            .network
            .ask(leader, CallKind::Other, Ask::ReadIndex, deadline)
            .await;
        match answer {
            Ok(Answer::ReadIndex(index)) => Ok(index),
            Err(CallError::Refused(Refusal::NotLeader { leader })) => {
                Err(ReadError::NotLeader { leader })
            }
            _ => Err(ReadError::NoQuorum),
        }
    }
}

/// The leader an error points at.
pub(crate) fn leader_of(forward: ForwardToLeader<TypeConfig>) -> Option<Member> {
    let contact = forward.leader_node?;
    Some(contact.member(forward.leader_id?))
}

fn read_error(error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ReadError::NotLeader {
                leader: leader_of(forward),
            }
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::NoQuorum,
        RaftError::Fatal(_) => ReadError::Stopped,
    }
}
