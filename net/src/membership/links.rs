//! Connections with other nodes: whichever stands is used, and one is opened where none does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::driver::Input;
use crate::gossip::NodeId;
use crate::quic::{Connection, Pool};

const DIAL_DEADLINE: Duration = Duration::from_millis(1_000);
/// Of two nodes that want each other at once, one waits for the other's connection first.
const YIELD: Duration = Duration::from_millis(60);
/// Datagrams that wait for a connection; the oldest go.
const WAITING: usize = 8;
/// Dials under way at once.
const DIALS: usize = 64;
/// A connection on which nothing came for so long is closed: neighbours say something each half second.
const IDLE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Links {
    me: NodeId,
    alpn: &'static str,
    pool: Pool,
    /// The newest last.
    up: BTreeMap<NodeId, Vec<Connection>>,
    waiting: BTreeMap<NodeId, VecDeque<Bytes>>,
    inputs: mpsc::Sender<Input>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Links {
    pub(super) fn new(
        me: NodeId,
        alpn: &'static str,
        pool: Pool,
        inputs: mpsc::Sender<Input>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            me,
            alpn,
            pool,
            up: BTreeMap::new(),
            waiting: BTreeMap::new(),
            inputs,
            tracker,
            stop,
        }
    }

    /// `name` is the node as its certificate calls it.
    pub(super) fn send(&mut self, to: NodeId, name: &str, datagram: Vec<u8>) {
        let datagram = Bytes::from(datagram);
        if let Some(standing) = self.up.get_mut(&to) {
            standing.retain(|connection| connection.lost().is_none());
            if let Some(connection) = standing.last() {
                // Too large for the path just now, or lost this moment: lost as any datagram may be.
                if let Err(error) = connection.send_datagram(datagram) {
                    tracing::trace!(%name, %error, "a gossip datagram was not sent");
                }
                return;
            }
            self.up.remove(&to);
        }
        if let Some(waiting) = self.waiting.get_mut(&to) {
            waiting.push_back(datagram);
            if waiting.len() > WAITING {
                waiting.pop_front();
            }
        } else if self.waiting.len() < DIALS {
            self.waiting.insert(to, VecDeque::from([datagram]));
            self.dial(to, name);
        }
    }

    /// Whoever opened it.
    pub(super) fn connected(&mut self, node: NodeId, connection: Connection) {
        for datagram in self.waiting.remove(&node).unwrap_or_default() {
            let _ = connection.send_datagram(datagram);
        }
        let standing = self.up.entry(node).or_default();
        standing.retain(|it| it.lost().is_none());
        standing.push(connection);
    }

    pub(super) fn not_connected(&mut self, node: NodeId) {
        self.waiting.remove(&node);
    }

    /// Closes what leads to nodes that are no members any more.
    pub(super) fn keep(&mut self, is_member: impl Fn(NodeId) -> bool) {
        self.waiting.retain(|node, _| is_member(*node));
        self.up.retain(|node, standing| {
            let keep = is_member(*node);
            if !keep {
                standing.iter().for_each(|it| it.close("not a member"));
            }
            keep
        });
    }

    fn dial(&self, node: NodeId, name: &str) {
        let (pool, alpn, inputs) = (self.pool.clone(), self.alpn, self.inputs.clone());
        let (name, yields) = (name.to_owned(), self.me > node);
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let dial = async {
                if yields {
                    tokio::time::sleep(YIELD).await;
                }
                pool.get(&name, alpn, DIAL_DEADLINE).await
            };
            let dialled = tokio::select! {
                () = stop.cancelled() => return,
                dialled = dial => dialled,
            };
            match dialled {
                Ok(connection) => tokio::select! {
                    () = stop.cancelled() => {}
                    () = read(connection, inputs) => {}
                },
                Err(error) => {
                    tracing::trace!(%name, %error, "no connection for gossip");
                    let _ = inputs.send(Input::NotConnected(node)).await;
                }
            }
        });
    }
}

/// Hands on what comes until the connection is lost or idle.
pub(super) async fn read(connection: Connection, inputs: mpsc::Sender<Input>) {
    let here = Input::Connected(connection.clone());
    if inputs.send(here).await.is_err() {
        return;
    }
    while let Ok(Ok(datagram)) = tokio::time::timeout(IDLE, connection.read_datagram()).await {
        let datagram = Input::Datagram {
            from: connection.peer().clone(),
            datagram,
        };
        // What finds no room is lost, as on a network that is too busy.
        if let Err(mpsc::error::TrySendError::Closed(_)) = inputs.try_send(datagram) {
            return;
        }
    }
    connection.close("idle");
}
