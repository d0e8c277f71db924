//! The manager's end of an agent's session: a task for each, between the stream and the leader loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use swarmr_net::quic::{Connection, FramedReceiver, FramedSender};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::leader::{Event, LeaderHandle, SessionId};
use super::store::Store;
use crate::message::FRAME_BYTES_MAX;
use crate::message::session::{ToAgent, ToManager};
use crate::spec::NodeId;
use crate::state::assignment::ManagerAddr;
use crate::state::{State, codec};

/// How long a node may take to say who it is.
const HELLO_DEADLINE: Duration = Duration::from_secs(3);
/// How often an agent hears that its leader lives.
const HEARTBEAT: Duration = Duration::from_millis(400);
/// The same of the agent in this process.
const HEARTBEAT_OWN: Duration = Duration::from_millis(700);
/// An agent says something every 250 ms; after this much silence its stream is given up.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// How long a last word may take to be read.
const PARTING: Duration = Duration::from_millis(500);

static NEXT_SESSION: AtomicU64 = AtomicU64::new(1);

/// Serves one session until either side ends it or leadership moves.
pub(super) async fn serve(
    connection: Connection,
    store: Store,
    leading: watch::Receiver<Option<LeaderHandle>>,
) {
    let node = connection
        .peer()
        .node_id()
        .and_then(|id| id.parse::<NodeId>().ok());
    let Some(node) = node else { return };
    let Ok(Ok(stream)) = timeout(HELLO_DEADLINE, connection.accept_framed(FRAME_BYTES_MAX)).await
    else {
        return;
    };
    let (mut sender, receiver) = stream.split();
    let handle = leading.borrow().clone();
    let Some(handle) = handle else {
        let leader = leader_of(&store);
        part(&connection, &mut sender, ToAgent::Redirect { leader }).await;
        return;
    };
    // A leader knows every node there is: it read all there was before it took its first session.
    let knows_all = |state: &State| state.cluster().is_some();
    if store
        .read()
        .await
        .is_ok_and(|state| knows_all(&state) && state.node(node).is_none())
    {
        part(&connection, &mut sender, ToAgent::Removed).await;
        return;
    }
    let session = NEXT_SESSION.fetch_add(1, Ordering::Relaxed);
    let (outbox, inbox) = watch::channel(None);
    let opened = Event::Opened {
        node,
        session,
        outbox: Arc::new(outbox),
    };
    if handle.inbox.send(opened).await.is_err() {
        part(&connection, &mut sender, ToAgent::Redirect { leader: None }).await;
        return;
    }
    let own = leader_of(&store).is_some_and(|leader| leader.node == node);
    let beat = if own { HEARTBEAT_OWN } else { HEARTBEAT };
    let ended = tokio::select! {
        ended = hear(receiver, &handle, node, session) => ended,
        ended = tell(&mut sender, inbox, beat) => ended,
        () = handle.inbox.closed() => "leadership moved",
    };
    tracing::debug!(%node, session, ended, "a session ended");
    if handle.inbox.is_closed() {
        let leader = leader_of(&store);
        part(&connection, &mut sender, ToAgent::Redirect { leader }).await;
    } else {
        let _ = handle.inbox.send(Event::Closed { node, session }).await;
    }
}

fn leader_of(store: &Store) -> Option<ManagerAddr> {
    let leader = store.status().leader?;
    Some(ManagerAddr {
        node: leader.label.parse().ok()?,
        addr: leader.addr,
    })
}

/// A last word.
async fn part(connection: &Connection, sender: &mut FramedSender, word: ToAgent) {
    if let Ok(frame) = codec::encode(&word) {
        let _ = sender.send(Bytes::from(frame)).await;
        // Until the agent has read it and hung up: closing at once could overtake the frame.
        let _ = timeout(PARTING, connection.closed()).await;
    }
}

async fn hear(
    mut receiver: FramedReceiver,
    handle: &LeaderHandle,
    node: NodeId,
    session: SessionId,
) -> &'static str {
    loop {
        let frame = match timeout(SILENCE_MAX, receiver.recv()).await {
            Err(_) => return "the agent is silent",
            Ok(Ok(None) | Err(_)) => return "the agent is gone",
            Ok(Ok(Some(frame))) => frame,
        };
        let Ok(message) = codec::decode::<ToManager>(&frame) else {
            return "a message could not be read";
        };
        let said = Event::Said {
            node,
            session,
            message: Box::new(message),
        };
        if handle.inbox.send(said).await.is_err() {
            return "leadership moved";
        }
    }
}

async fn tell(
    sender: &mut FramedSender,
    mut inbox: watch::Receiver<Option<Bytes>>,
    every: Duration,
) -> &'static str {
    let Ok(heartbeat) = codec::encode(&ToAgent::Heartbeat).map(Bytes::from) else {
        return "no heartbeat";
    };
    let mut beat = tokio::time::interval_at(Instant::now() + every, every);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let frame = tokio::select! {
            changed = inbox.changed() => {
                if changed.is_err() {
                    return "the leader let go of the session";
                }
                inbox.borrow_and_update().clone()
            }
            _ = beat.tick() => Some(heartbeat.clone()),
        };
        if let Some(frame) = frame
            && sender.send(frame).await.is_err()
        {
            return "the agent is gone";
        }
    }
}
