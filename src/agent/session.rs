//! The agent's end of its session with the leader: finds it, says what it knows, hears its part.
//!
//! With no manager at all it keeps trying and everything else goes on: what runs keeps running.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarmr_net::quic::{Connection, FramedReceiver, FramedSender, Pool};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Agent;
use crate::message::session::{ToAgent, ToManager};
use crate::message::{FRAME_BYTES_MAX, SESSION};
use crate::spec::NodeId;
use crate::state::assignment::{Assignment, ManagerAddr};
use crate::state::codec;

/// How often the leader hears that this node lives.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// The same while this node leads itself: agent and leader are one process.
const HEARTBEAT_OWN: Duration = Duration::from_millis(700);
/// A leader says something every 400 ms; after this much silence another manager is tried.
const SILENCE_MAX: Duration = Duration::from_millis(1_000);
const DIAL_DEADLINE: Duration = Duration::from_millis(700);
const RETRY_MIN: Duration = Duration::from_millis(30);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Between attempts of a node that the cluster does not know any more.
const REMOVED_RETRY: Duration = Duration::from_secs(10);
/// Reports in one message.
const BATCH: usize = 500;

/// What a session is held with.
#[derive(Debug)]
pub(crate) struct SessionConfig {
    pub(crate) agent: Arc<Agent>,
    pub(crate) pool: Pool,
    /// The address that others dial, as this node knows it now.
    pub(crate) addr: String,
    /// Where managers are; kept up to date from assignments.
    pub(crate) managers: watch::Sender<Vec<ManagerAddr>>,
    /// Every assignment that was taken, for those who follow the node's role and managers.
    pub(crate) assigned: watch::Sender<Option<Arc<Assignment>>>,
}

/// Why a session ended.
enum End {
    Redirected(Option<ManagerAddr>),
    Lost,
    Removed,
}

/// Holds a session with whoever leads, for as long as the node lives.
pub(crate) async fn run(config: SessionConfig, stop: CancellationToken) {
    let mut turn: usize = 0;
    let mut pause = RETRY_MIN;
    let mut next: Option<ManagerAddr> = None;
    while !stop.is_cancelled() {
        let manager = next.take().or_else(|| {
            let managers = config.managers.borrow();
            managers.get(turn % managers.len().max(1)).cloned()
        });
        let began = Instant::now();
        let end = match &manager {
            None => End::Lost,
            Some(manager) => tokio::select! {
                () = stop.cancelled() => return,
                end = hold(&config, manager) => end,
            },
        };
        if began.elapsed() > RETRY_MAX {
            pause = RETRY_MIN;
        }
        let wait = match end {
            End::Redirected(Some(leader)) if manager.as_ref() != Some(&leader) => {
                next = Some(leader);
                Duration::ZERO
            }
            End::Removed => {
                tracing::error!(
                    "this node is not part of the cluster any more: run swarmr leave --force on it"
                );
                REMOVED_RETRY
            }
            End::Redirected(_) | End::Lost => {
                turn += 1;
                pause
            }
        };
        pause = (pause * 2).min(RETRY_MAX / 4);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn hold(config: &SessionConfig, manager: &ManagerAddr) -> End {
    let Some(connection) = dial(&config.pool, manager.node, &manager.addr).await else {
        return End::Lost;
    };
    let Ok(Ok(stream)) = timeout(DIAL_DEADLINE, connection.open_framed(FRAME_BYTES_MAX)).await
    else {
        return End::Lost;
    };
    let (mut sender, receiver) = stream.split();
    let hello = ToManager::Hello {
        addr: config.addr.clone(),
        description: config.agent.describe(),
        applied: *config.agent.applied().borrow(),
    };
    // Everything known is repeated: what an earlier leader heard may never have been written.
    let known = config.agent.full_report();
    if say(&mut sender, &hello).await.is_none() {
        return End::Lost;
    }
    for reports in known.chunks(BATCH) {
        if say(&mut sender, &ToManager::Reports(reports.to_vec()))
            .await
            .is_none()
        {
            return End::Lost;
        }
    }
    tracing::debug!(manager = %manager.node, "session opened");
    tokio::select! {
        end = hear(config, receiver) => end,
        () = tell(config, manager.node, &mut sender) => End::Lost,
    }
}

async fn dial(pool: &Pool, node: NodeId, addr: &str) -> Option<Connection> {
    let id = node.to_string();
    pool.set_address(&id, addr);
    match pool.get(&id, SESSION, DIAL_DEADLINE).await {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::debug!(manager = %node, %error, "a manager cannot be reached");
            None
        }
    }
}

async fn say(sender: &mut FramedSender, message: &ToManager) -> Option<()> {
    let frame = codec::encode(message).ok()?;
    sender.send(Bytes::from(frame)).await.ok()
}

async fn hear(config: &SessionConfig, mut receiver: FramedReceiver) -> End {
    loop {
        let Ok(Ok(Some(frame))) = timeout(SILENCE_MAX, receiver.recv()).await else {
            return End::Lost;
        };
        match codec::decode::<ToAgent>(&frame) {
            Ok(ToAgent::Heartbeat) => {}
            Ok(ToAgent::Redirect { leader }) => return End::Redirected(leader),
            Ok(ToAgent::Removed) => return End::Removed,
            Ok(ToAgent::Assign(assignment)) => {
                config.managers.send_if_modified(|managers| {
                    let news = !assignment.managers.is_empty() && *managers != assignment.managers;
                    if news {
                        managers.clone_from(&assignment.managers);
                    }
                    news
                });
                config
                    .assigned
                    .send_replace(Some(Arc::new((*assignment).clone())));
                config.agent.assign(*assignment);
            }
            Err(error) => {
                tracing::warn!(%error, "a message of the leader cannot be read: upgrade this node");
                return End::Lost;
            }
        }
    }
}

/// Reports as they come, confirmations as tables come into force, heartbeats in between.
async fn tell(config: &SessionConfig, leader: NodeId, sender: &mut FramedSender) {
    let mut applied = config.agent.applied();
    let mut descriptions = config.agent.descriptions();
    let mut beat = tokio::time::interval(match leader == config.agent.node() {
        true => HEARTBEAT_OWN,
        false => HEARTBEAT,
    });
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // What came into force while the first words were said.
    applied.mark_changed();
    loop {
        let message = tokio::select! {
            reports = config.agent.next_reports() => ToManager::Reports(reports),
            changed = applied.changed() => {
                if changed.is_err() {
                    return;
                }
                ToManager::Applied(*applied.borrow_and_update())
            }
            changed = descriptions.changed() => {
                if changed.is_err() {
                    return;
                }
                ToManager::Described(descriptions.borrow_and_update().clone())
            }
            _ = beat.tick() => ToManager::Heartbeat,
        };
        if say(sender, &message).await.is_none() {
            return;
        }
    }
}
