//! Proposals on their way to the log: many callers, one queue, few batches.
//!
//! One task takes whatever waits and hands it over as one batch, without waiting for the batch
//! before it; a task per batch carries the replies back. What the disk sees is grouped once more
//! by the log's writer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use openraft::errors::{ClientWriteError, Fatal, ForwardReason};
use openraft::raft::WriteResult;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::Timing;
use crate::error::ProposeError;
use crate::read::leader_of;
use crate::status::Status;
use crate::types::{Consensus, Data, TypeConfig};

/// Largest proposal.
pub const MAX_PROPOSAL_BYTES: usize = 8 << 20;

/// Proposals that wait for the task.
const QUEUE: usize = 4096;

/// Proposals and bytes in one batch.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;

/// Bytes of proposals that were handed over and not answered, in units of 1 KiB.
const IN_FLIGHT_UNITS: usize = 64 << 10;
const UNIT_BYTES: usize = 1024;

/// Pause before a batch is offered again to a leader that lacks a quorum for the moment.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// A proposal that went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub index: u64,
    pub term: u64,
    /// What the machine answered.
    pub reply: Bytes,
}

type Outcome = Result<Applied, ProposeError>;
type Results = BoxStream<'static, Result<WriteResult<TypeConfig>, Fatal<TypeConfig>>>;

/// Where callers put proposals.
#[derive(Clone, Debug)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Proposal>,
    patience: Duration,
}

struct Proposal {
    data: Bytes,
    reply: oneshot::Sender<Outcome>,
}

/// The task that empties the queue.
pub(crate) struct ProposeTask {
    queue: mpsc::Receiver<Proposal>,
    lane: Lane,
    /// While true nothing is handed over: leadership is about to move.
    paused: watch::Receiver<bool>,
    in_flight: Arc<Semaphore>,
}

/// What a batch needs on its way.
#[derive(Clone)]
struct Lane {
    consensus: Consensus,
    timing: Timing,
    status: watch::Receiver<Status>,
}

impl Proposer {
    pub(crate) fn new(
        consensus: Consensus,
        timing: Timing,
        status: watch::Receiver<Status>,
        paused: watch::Receiver<bool>,
    ) -> (Self, ProposeTask) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let proposer = Self {
            queue,
            patience: timing.patience(),
        };
        let task = ProposeTask {
            queue: receiver,
            lane: Lane {
                consensus,
                timing,
                status,
            },
            paused,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_UNITS)),
        };
        (proposer, task)
    }

    /// Puts data through consensus and returns the machine's reply.
    pub(crate) async fn propose(&self, data: Bytes) -> Outcome {
        if data.len() > MAX_PROPOSAL_BYTES {
            return Err(ProposeError::TooLarge {
                size: data.len(),
                limit: MAX_PROPOSAL_BYTES,
            });
        }
        let (reply, outcome) = oneshot::channel();
        let proposal = Proposal { data, reply };
        match self.queue.try_send(proposal) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(ProposeError::Stopped),
            Err(mpsc::error::TrySendError::Full(proposal)) => {
                let send = self.queue.send(proposal);
                match tokio::time::timeout(self.patience, send).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(ProposeError::Stopped),
                    Err(_) => return Err(ProposeError::Busy),
                }
            }
        }
        // The task or its batch drops the sender only when the member stops: by then nobody
        // knows how far the proposal got.
        outcome.await.unwrap_or(Err(ProposeError::Unknown))
    }
}

impl ProposeTask {
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() && self.queue.recv_many(&mut waiting, BATCH).await == 0 {
                return;
            }
            let batch = take_batch(&mut waiting);
            if self.paused.wait_for(|paused| !paused).await.is_err() {
                return;
            }
            let bytes: usize = batch.iter().map(|proposal| proposal.data.len()).sum();
            let units = (bytes / UNIT_BYTES + batch.len()).min(IN_FLIGHT_UNITS);
            let units = u32::try_from(units).expect("bounded by the constant above");
            let Ok(room) = self.in_flight.clone().acquire_many_owned(units).await else {
                return;
            };
            let Ok(results) = self.lane.submit(&batch).await else {
                for proposal in batch {
                    proposal.answer(Err(ProposeError::Stopped));
                }
                continue;
            };
            tokio::spawn(self.lane.clone().carry(batch, results, room));
        }
    }
}

/// Takes proposals off the front, up to the size of a batch.
fn take_batch(waiting: &mut Vec<Proposal>) -> Vec<Proposal> {
    let mut bytes = 0;
    let fitting = waiting.iter().take_while(|proposal| {
        let first = bytes == 0;
        bytes += proposal.data.len() + 1;
        first || bytes <= BATCH_BYTES
    });
    let count = fitting.count();
    let rest = waiting.split_off(count);
    std::mem::replace(waiting, rest)
}

impl Lane {
    async fn submit(&self, batch: &[Proposal]) -> Result<Results, Fatal<TypeConfig>> {
        let data: Vec<Data> = batch.iter().map(|p| Data(p.data.clone())).collect();
        self.consensus.client_write_many(data).await
    }

    /// Waits for the results of a batch and passes them on.
    async fn carry(
        mut self,
        mut batch: Vec<Proposal>,
        mut results: Results,
        _room: OwnedSemaphorePermit,
    ) {
        let give_up = Instant::now() + self.timing.patience();
        let retry_until = Instant::now() + self.timing.election_max * 2;
        loop {
            let refused = self.collect(batch, results, give_up).await;
            if refused.is_empty() {
                return;
            }
            // Not appended, as the leader's lease is over: it may be back in a moment.
            if Instant::now() >= retry_until {
                for proposal in refused {
                    proposal.answer(Err(ProposeError::NoQuorum));
                }
                return;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            batch = refused;
            results = match self.submit(&batch).await {
                Ok(results) => results,
                Err(_) => {
                    for proposal in batch {
                        proposal.answer(Err(ProposeError::Stopped));
                    }
                    return;
                }
            };
        }
    }

    /// Answers the proposals of a batch; returns those that were refused for want of a lease.
    async fn collect(
        &mut self,
        batch: Vec<Proposal>,
        mut results: Results,
        give_up: Instant,
    ) -> Vec<Proposal> {
        let mut refused = Vec::new();
        let mut waiting = batch.into_iter();
        let mut lost = std::pin::pin!(leadership_lost(self.status.clone(), self.timing));
        while waiting.len() > 0 {
            let result = tokio::select! {
                result = results.next() => result,
                () = &mut lost => None,
                () = tokio::time::sleep_until(give_up) => None,
            };
            let Some(proposal) = waiting.next() else {
                break;
            };
            match result {
                Some(Ok(Ok(written))) => proposal.answer(Ok(Applied {
                    index: written.log_id.index,
                    term: written.log_id.leader_id.term,
                    reply: written.response.0,
                })),
                Some(Ok(Err(ClientWriteError::ForwardToLeader(forward))))
                    if forward.reason == ForwardReason::LeaseExpired =>
                {
                    refused.push(proposal);
                }
                Some(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => {
                    proposal.answer(Err(ProposeError::NotLeader {
                        leader: leader_of(forward),
                    }));
                }
                // Appended, and then discarded or left behind: another leader may still have it.
                Some(Ok(Err(_)) | Err(_)) => proposal.answer(Err(ProposeError::Unknown)),
                None => {
                    proposal.answer(Err(ProposeError::Unknown));
                    for proposal in waiting.by_ref() {
                        proposal.answer(Err(ProposeError::Unknown));
                    }
                }
            }
        }
        refused
    }
}

impl Proposal {
    fn answer(self, outcome: Outcome) {
        // Whoever does not wait any more has no use for it.
        let _ = self.reply.send(outcome);
    }
}

/// Ends a while after this member stopped leading: the new leader mostly keeps what the old one
/// had appended, and then the outcome is known after all.
async fn leadership_lost(mut status: watch::Receiver<Status>, timing: Timing) {
    loop {
        let _ = status.wait_for(|status| !status.is_leader()).await;
        tokio::time::sleep(timing.election_max * 5).await;
        // The status may have lagged behind an election that was just won.
        if !status.borrow().is_leader() {
            return;
        }
    }
}
