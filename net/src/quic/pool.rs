//! Standing connections to many nodes, dialled when first needed.
//!
//! Callers name a node and a protocol. Those who want the same one share its
//! connection, and share the dial while there is none. `Slot` decides what to do
//! next; it is plain data.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::address::Address;
use super::connection::Connection;
use super::dial::{Call, DialError, dial};
use super::door::Door;
use super::rpc::{self, CallError};
use super::verify::Expect;

/// How a pool dials.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// One attempt. Short, since a fresh one finds a node that has come back
    /// sooner than an old one whose repeats are spaced further and further.
    pub dial_timeout: Duration,
    /// Pause after a failed dial, doubled each time up to `max_backoff`; each is
    /// spread by a factor of 0.5 to 1.5.
    pub min_backoff: Duration,
    pub max_backoff: Duration,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<PoolShared>,
}

struct PoolShared {
    door: Door,
    options: PoolOptions,
    nodes: Mutex<HashMap<String, Node>>,
}

struct Node {
    address: Address,
    slots: HashMap<&'static str, Slot>,
}

/// The state of one (node, protocol).
#[derive(Default)]
enum Slot {
    #[default]
    New,
    Dialling(Shared),
    Up(Connection),
    Failed {
        error: DialError,
        pause: Duration,
        retry_at: Instant,
    },
}

/// A dial that several callers wait for.
type Shared = watch::Receiver<Option<Result<Connection, DialError>>>;

/// What a caller does next.
enum Step {
    Use(Connection),
    Wait(Shared),
    Pause { until: Instant, error: DialError },
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(1),
            min_backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(500),
        }
    }
}

impl Pool {
    pub fn new(door: &Door, options: PoolOptions) -> Self {
        Self {
            shared: Arc::new(PoolShared {
                door: door.clone(),
                options,
                nodes: Mutex::default(),
            }),
        }
    }

    /// Where the node is from now on. If that is new, connections to the old
    /// address are no longer handed out.
    pub fn set_address(&self, node_id: &str, address: impl Into<Address>) {
        let address = address.into();
        let mut nodes = self.shared.lock();
        if nodes
            .get(node_id)
            .is_some_and(|node| node.address == address)
        {
            return;
        }
        let slots = HashMap::new();
        let replaced = nodes.insert(node_id.to_owned(), Node { address, slots });
        drop(nodes);
        drop(replaced);
    }

    /// Forgets the node and drops its connections.
    pub fn remove(&self, node_id: &str) {
        let removed = self.shared.lock().remove(node_id);
        drop(removed);
    }

    /// The live connection, or a new one. After a failed dial there is a short
    /// pause for all; who cannot wait it out gets that dial's error.
    pub async fn get(
        &self,
        node_id: &str,
        alpn: &'static str,
        deadline: Duration,
    ) -> Result<Connection, DialError> {
        let until = Instant::now() + deadline;
        loop {
            let mut dialling = match self.shared.step(node_id, alpn)? {
                Step::Use(connection) => return Ok(connection),
                Step::Wait(dialling) => dialling,
                Step::Pause { until: end, error } if end >= until => return Err(error),
                Step::Pause { until: end, .. } => {
                    sleep_until(end).await;
                    continue;
                }
            };
            let outcome = timeout_at(until, dialling.wait_for(Option::is_some)).await;
            return match outcome {
                Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(DialError::Closed)),
                Ok(Err(_)) => Err(DialError::Closed),
                Err(_) => Err(self.shared.not_in_time(node_id, deadline)),
            };
        }
    }

    /// [`call`](super::call) over the node's connection. A connection that turns
    /// out to be dead before anything was sent is replaced once.
    pub async fn call(
        &self,
        node_id: &str,
        alpn: &'static str,
        request: Bytes,
        deadline: Duration,
        max_response: usize,
    ) -> Result<Bytes, CallError> {
        let until = Instant::now() + deadline;
        let mut tries = 0;
        loop {
            let connection = self
                .get(node_id, alpn, left(until))
                .await
                .map_err(CallError::NoConnection)?;
            tries += 1;
            match rpc::call(&connection, request.clone(), left(until), max_response).await {
                Err(CallError::NotSent(_)) if tries == 1 => {}
                Err(CallError::Timeout { .. }) => {
                    return Err(CallError::Timeout { within: deadline });
                }
                result => return result,
            }
        }
    }
}

impl PoolShared {
    /// Looks at the slot and, if it is this caller's to do, starts a dial.
    fn step(self: &Arc<Self>, node_id: &str, alpn: &'static str) -> Result<Step, DialError> {
        let mut nodes = self.lock();
        let node = nodes.get_mut(node_id).ok_or_else(|| DialError::NoAddress {
            node_id: node_id.to_owned(),
        })?;
        let slot = node.slots.entry(alpn).or_default();
        if let Some(step) = slot.next(Instant::now()) {
            return Ok(step);
        }
        let (announce, dialling) = watch::channel(None);
        let pause = slot.next_pause(&self.options);
        *slot = Slot::Dialling(dialling.clone());
        let task = dial_for_all(
            Arc::downgrade(self),
            Target {
                node_id: node_id.to_owned(),
                address: node.address.clone(),
                alpn,
            },
            pause,
            Arc::clone(self.door.shared()),
            self.options.dial_timeout,
            announce,
        );
        self.door.spawn(task);
        Ok(Step::Wait(dialling))
    }

    /// Keeps the outcome, unless the node got another address meanwhile.
    fn settle(&self, target: &Target, pause: Duration, outcome: &Result<Connection, DialError>) {
        let mut nodes = self.lock();
        let Some(node) = nodes
            .get_mut(&target.node_id)
            .filter(|node| node.address == target.address)
        else {
            return;
        };
        let slot = match outcome {
            Ok(connection) => Slot::Up(connection.clone()),
            Err(error) => Slot::Failed {
                error: error.clone(),
                pause,
                retry_at: Instant::now() + pause.mul_f64(0.5 + rand::random::<f64>()),
            },
        };
        node.slots.insert(target.alpn, slot);
    }

    fn not_in_time(&self, node_id: &str, deadline: Duration) -> DialError {
        let address = self
            .lock()
            .get(node_id)
            .map_or_else(String::new, |node| node.address.to_string());
        DialError::Unreachable {
            address,
            reason: format!("no connection within {deadline:?}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// `None`: it is time to dial.
    fn next(&self, now: Instant) -> Option<Step> {
        match self {
            Self::Up(connection) if connection.lost().is_none() => {
                Some(Step::Use(connection.clone()))
            }
            // A dial whose task was dropped leaves no outcome.
            Self::Dialling(dialling) if dialling.has_changed().is_ok() => {
                Some(Step::Wait(dialling.clone()))
            }
            Self::Failed {
                error, retry_at, ..
            } if *retry_at > now => Some(Step::Pause {
                until: *retry_at,
                error: error.clone(),
            }),
            _ => None,
        }
    }

    /// How long to pause if the dial that begins now fails.
    fn next_pause(&self, options: &PoolOptions) -> Duration {
        match self {
            Self::Failed { pause, .. } => (*pause * 2).min(options.max_backoff),
            _ => options.min_backoff,
        }
    }
}

struct Target {
    node_id: String,
    address: Address,
    alpn: &'static str,
}

async fn dial_for_all(
    pool: Weak<PoolShared>,
    target: Target,
    pause: Duration,
    door: Arc<super::door::Shared>,
    dial_timeout: Duration,
    announce: watch::Sender<Option<Result<Connection, DialError>>>,
) {
    let call = Call {
        expect: Expect::Node(target.node_id.clone()),
        alpn: target.alpn,
        deadline: dial_timeout,
    };
    let outcome = dial(&door, &target.address, call).await;
    if let Some(pool) = pool.upgrade() {
        pool.settle(&target, pause, &outcome);
    }
    announce.send_replace(Some(outcome));
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("door", &self.shared.door)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}
