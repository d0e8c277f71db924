//! The replicated state as this manager uses it: proposing and reading from wherever it stands.
//!
//! A manager that does not lead hands the operation itself to the leader, which stamps the time;
//! when the leader has answered, it waits until it has applied that entry, so that whoever wrote
//! through it reads its own write.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarmr_net::quic::Pool;
use swarmr_raft::{Raft, ReadError, Status};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::peers::{AskError, ask};
use crate::api::control::{ProposeError, Unavailable};
use crate::clock::Clock;
use crate::message::control::{Answer, Ask};
use crate::spec::NodeId;
use crate::state::{Command, Op, Rejected, Reply, State, codec};

/// How long a client's request may wait for a leader, and for its answer. Well under what clients
/// wait for, so that they read a reason and not a silence.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request waits for a leader that takes it. Elections take a fraction of a second, but
/// on a machine without a processor to spare several of them may fail.
const LEADER_PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts while leadership moves.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Handle on the replicated state; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    raft: Raft,
    state: watch::Receiver<Arc<State>>,
    pool: Pool,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Why this member itself could not take a proposal.
#[derive(Debug)]
pub(super) enum HereError {
    /// Nothing was done.
    NotLeader,
    /// Nothing was done: this leader does not hear from a majority.
    NoQuorum,
    Refused(String),
    TooLarge(String),
    Unknown(String),
}

impl Store {
    pub(super) fn new(
        raft: Raft,
        state: watch::Receiver<Arc<State>>,
        pool: Pool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            raft,
            state,
            pool,
            clock,
        }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn status(&self) -> Status {
        self.raft.status()
    }

    /// The newest state applied here.
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// Every state from now on, newest only.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Proposes from wherever this manager stands. When a leader is lost before it answered, the
    /// operation is proposed again to the next one: ids and versions inside it tell a repetition.
    pub(crate) async fn propose(&self, op: Op) -> Result<Reply, ProposeError> {
        let (start, mut lost) = (Instant::now(), None);
        loop {
            let patience = if lost.is_some() {
                PATIENCE
            } else {
                LEADER_PATIENCE
            };
            let failed = match self.propose_once(&op, start + PATIENCE).await {
                Once::Replied(reply) => return settle(&op, reply, lost),
                Once::Failed(error) => error,
                Once::NotTaken(_) if start.elapsed() < patience => {
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
                Once::NotTaken(why) => {
                    Unavailable::NoQuorum(format!("{}. {why}", self.no_leader())).into()
                }
                Once::Lost(why) if start.elapsed() < PATIENCE => {
                    lost = Some(why);
                    continue;
                }
                Once::Lost(why) => ProposeError::Unknown(why),
            };
            // An earlier attempt may have been carried out, whatever became of the last one.
            return Err(lost.map_or(failed, ProposeError::Unknown));
        }
    }

    async fn propose_once(&self, op: &Op, deadline: Instant) -> Once {
        match self.propose_here(op.clone()).await {
            Ok((reply, _)) => return Once::Replied(reply),
            Err(HereError::TooLarge(why)) => return Once::Failed(ProposeError::TooLarge(why)),
            Err(HereError::Unknown(why)) => return Once::Lost(why),
            Err(HereError::Refused(why)) => return Once::Failed(Unavailable::NoQuorum(why).into()),
            Err(HereError::NoQuorum) => {
                return Once::NotTaken(
                    "This manager leads, but does not hear from a majority".to_owned(),
                );
            }
            Err(HereError::NotLeader) => {}
        }
        match self.leader_elsewhere(deadline).await {
            Ok(Some(leader)) => self.propose_there(&leader, op, deadline).await,
            Ok(None) => Once::NotTaken("leadership just moved here".to_owned()),
            Err(error) => Once::Failed(error.into()),
        }
    }

    async fn propose_there(&self, leader: &Leader, op: &Op, deadline: Instant) -> Once {
        let question = Ask::Propose(Box::new(op.clone()));
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = tokio::select! {
            answer = ask(&self.pool, leader.node, &leader.addr, &question, left) => answer,
            () = self.leads_no_more(leader.node) => {
                return Once::Lost(format!("the leader, node {}, was lost before it answered", leader.node));
            }
        };
        match answer {
            Ok(Answer::Proposed { reply, index }) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // The write is durable; that this manager lags does not make it less so.
                let _ = self.raft.wait_applied(index, left).await;
                Once::Replied(reply)
            }
            Ok(Answer::NotLeader { .. }) => Once::NotTaken("the leader just changed".to_owned()),
            Err(error @ AskError::Unreachable { .. }) => Once::NotTaken(error.to_string()),
            Ok(Answer::Refused(why)) => Once::Failed(Unavailable::NoQuorum(why).into()),
            Ok(Answer::Unknown(why)) => Once::Lost(why),
            Ok(other) => Once::Failed(ProposeError::Unknown(format!(
                "the leader answered {other:?}"
            ))),
            Err(error @ AskError::Silent { .. }) => Once::Lost(error.to_string()),
        }
    }

    /// Returns when that node is no longer the leader that this manager follows.
    async fn leads_no_more(&self, node: NodeId) {
        let label = node.to_string();
        let mut status = self.raft.watch();
        let follows = |status: &Status| {
            status
                .leader
                .as_ref()
                .is_some_and(|leader| leader.label == label)
        };
        // An error means that Raft stopped here: nobody is followed any more.
        let _ = status.wait_for(|status| !follows(status)).await;
    }

    /// Proposes as the leader. Stamps the time.
    pub(super) async fn propose_here(&self, op: Op) -> Result<(Reply, u64), HereError> {
        let command = Command {
            at: self.clock.now(),
            op,
        };
        let bytes =
            codec::encode(&command).map_err(|error| HereError::Refused(error.to_string()))?;
        let applied = self
            .raft
            .propose(Bytes::from(bytes))
            .await
            .map_err(|error| {
                use swarmr_raft::ProposeError as Raft;
                match error {
                    Raft::NotLeader { .. } => HereError::NotLeader,
                    Raft::NoQuorum => HereError::NoQuorum,
                    Raft::Busy => HereError::Refused(
                        "too many writes are waiting: slow down and retry".to_owned(),
                    ),
                    Raft::Unknown => HereError::Unknown(
                        "no answer from a majority of managers in time".to_owned(),
                    ),
                    Raft::TooLarge { .. } => HereError::TooLarge(error.to_string()),
                    Raft::Stopped => HereError::Refused("this manager is stopping".to_owned()),
                }
            })?;
        let reply = codec::decode(&applied.reply).map_err(|error| {
            HereError::Unknown(format!("applied, but its reply cannot be read: {error}"))
        })?;
        Ok((reply, applied.index))
    }

    /// A state that holds every write acknowledged before the call.
    pub(crate) async fn read(&self) -> Result<Arc<State>, Unavailable> {
        let deadline = Instant::now() + LEADER_PATIENCE;
        loop {
            match timeout_at(deadline, self.raft.read_barrier_anywhere()).await {
                Ok(Ok(_)) => return Ok(self.state()),
                Ok(Err(ReadError::Stopped)) => return Err(Unavailable::NotManager),
                Ok(Err(
                    ReadError::NotLeader { .. } | ReadError::NoQuorum | ReadError::TimedOut,
                )) if Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Ok(Err(_)) | Err(_) => return Err(Unavailable::NoQuorum(self.no_leader())),
            }
        }
    }

    /// The leader, when it is another manager; `None` when it is this one after all.
    async fn leader_elsewhere(&self, deadline: Instant) -> Result<Option<Leader>, Unavailable> {
        let deadline = deadline.min(Instant::now() + LEADER_PATIENCE);
        let mut status = self.raft.watch();
        let found = timeout_at(deadline, async {
            loop {
                let leader = status.borrow_and_update().leader.clone();
                if let Some(leader) = leader {
                    return Some(leader);
                }
                if status.changed().await.is_err() {
                    return None;
                }
            }
        })
        .await;
        let Ok(Some(member)) = found else {
            return Err(Unavailable::NoQuorum(self.no_leader()));
        };
        if member.id == self.raft.status().id {
            return Ok(None);
        }
        let node = member
            .label
            .parse()
            .map_err(|_| Unavailable::NoQuorum(self.no_leader()))?;
        Ok(Some(Leader {
            node,
            addr: member.addr,
        }))
    }

    /// Who is missing, in words: "The swarm does not have a leader" is what clients match.
    pub(super) fn no_leader(&self) -> String {
        let status = self.raft.status();
        let state = self.state();
        let names: Vec<String> = status
            .members
            .iter()
            .map(|member| {
                let node = member
                    .label
                    .parse()
                    .ok()
                    .and_then(|id: NodeId| state.node(id).cloned());
                node.map_or_else(
                    || member.addr.clone(),
                    |node| format!("{} ({})", node.description.hostname, member.addr),
                )
            })
            .collect();
        format!(
            "The swarm does not have a leader. It's possible that too few managers are online. \
             {} of {} managers must answer: {}. Start the missing ones, then retry",
            names.len() / 2 + 1,
            names.len(),
            names.join(", ")
        )
    }
}

struct Leader {
    node: NodeId,
    addr: String,
}

/// The outcome of one attempt.
enum Once {
    Replied(Reply),
    /// Nothing was done; another attempt may succeed.
    NotTaken(String),
    /// It may or may not have been done.
    Lost(String),
    /// Another attempt would not help.
    Failed(ProposeError),
}

/// What a reply means when an earlier attempt at the same operation was lost.
fn settle(op: &Op, reply: Reply, lost: Option<String>) -> Result<Reply, ProposeError> {
    let Some(lost) = lost else { return Ok(reply) };
    match (&reply, op) {
        (
            Reply::Rejected(Rejected::NotFound { .. }),
            Op::RemoveService { .. }
            | Op::RemoveNetwork { .. }
            | Op::RemoveConfig { .. }
            | Op::RemoveNode { .. },
        ) => Ok(Reply::Done),
        // The lost attempt itself may have moved the version on.
        (Reply::Rejected(Rejected::Stale { .. }), _) => Err(ProposeError::Unknown(lost)),
        _ => Ok(reply),
    }
}
