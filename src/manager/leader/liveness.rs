//! Which nodes answer. Two speeds: a node whose kernel is silent too is given up soon, one whose
//! kernel still answers (its daemon restarts, or is stopped for a moment) is given more time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::spec::NodeId;
use crate::state::State;
use crate::state::command::NodeObservation;
use crate::state::node::{Node, NodeDescription, NodeState};

/// Agents say something every 250 ms; a node that said nothing for this long is looked at closely.
const SUSPECT_AFTER: Duration = Duration::from_millis(1_000);
/// A silent node whose kernel answers is down after this.
const DOWN_AFTER: Duration = Duration::from_secs(5);
/// A new leader gives every node this much more, to find it.
const GRACE: Duration = Duration::from_millis(700);
/// How long a kernel may take to refuse a connection.
const PROBE_DEADLINE: Duration = Duration::from_millis(250);
/// Probes in a row without an answer that make a kernel silent.
const PROBES: u32 = 2;

/// What is known of the nodes' silences in this term.
#[derive(Debug)]
pub(super) struct Liveness {
    tracker: TaskTracker,
    began: Instant,
    nodes: BTreeMap<NodeId, Known>,
}

#[derive(Debug)]
struct Known {
    /// When it last said something, or when the term began.
    heard: Instant,
    /// It has said something in this term.
    met: bool,
    /// Its kernel has answered a probe in this term: then its silence means something.
    answers: Arc<AtomicU8>,
    probing: Option<Arc<AtomicU8>>,
    probed_at_start: bool,
    news: Option<(Option<String>, NodeDescription)>,
}

/// The outcomes of a probe.
const UNKNOWN: u8 = 0;
const ANSWERED: u8 = 1;
const SILENT: u8 = 2;

impl Liveness {
    pub(super) fn new(tracker: TaskTracker) -> Self {
        Self {
            tracker,
            began: Instant::now(),
            nodes: BTreeMap::new(),
        }
    }

    pub(super) fn heard(&mut self, node: NodeId) {
        let known = self.known(node);
        known.heard = Instant::now();
        known.met = true;
        known.probing = None;
    }

    pub(super) fn described(
        &mut self,
        node: NodeId,
        addr: Option<String>,
        description: NodeDescription,
    ) {
        self.known(node).news = Some((addr, description));
    }

    /// News that no quorum took: they are told again.
    pub(super) fn not_taken(&mut self, news: Vec<NodeObservation>) {
        for observation in news {
            if let Some(description) = observation.description {
                let known = self.known(observation.node);
                known.news = known.news.take().or(Some((observation.addr, description)));
            }
        }
    }

    /// What has to be written about nodes now.
    pub(super) fn look(&mut self, state: &State) -> Vec<NodeObservation> {
        self.nodes.retain(|id, _| state.node(*id).is_some());
        state
            .nodes()
            .filter_map(|node| self.look_at(node))
            .collect()
    }

    fn look_at(&mut self, node: &Node) -> Option<NodeObservation> {
        let tracker = self.tracker.clone();
        let known = self.known(node.id);
        let grace = if known.met { Duration::ZERO } else { GRACE };
        let silence = known.heard.elapsed();
        let mut observation = NodeObservation {
            node: node.id,
            state: None,
            description: None,
            addr: None,
        };
        if let Some((addr, description)) = known.news.take() {
            observation.addr = addr.filter(|addr| *addr != node.addr);
            observation.description = (description != node.description).then_some(description);
        }
        if known.met && silence < SUSPECT_AFTER {
            // What was heard of one that left was said before it went.
            if node.status.state != NodeState::Ready && !node.status.has_left() {
                observation.state = Some((NodeState::Ready, String::new()));
            }
            if !known.probed_at_start {
                known.probed_at_start = true;
                probe(&tracker, &node.addr, known.answers.clone());
            }
        } else if node.status.state != NodeState::Down {
            observation.state = known.judge(&tracker, node, silence, grace);
        }
        let something = observation.state.is_some()
            || observation.description.is_some()
            || observation.addr.is_some();
        something.then_some(observation)
    }

    fn known(&mut self, node: NodeId) -> &mut Known {
        let began = self.began;
        self.nodes.entry(node).or_insert_with(|| Known {
            heard: began,
            met: false,
            answers: Arc::new(AtomicU8::new(UNKNOWN)),
            probing: None,
            probed_at_start: false,
            news: None,
        })
    }
}

impl Known {
    /// What a silent node's silence means.
    fn judge(
        &mut self,
        tracker: &TaskTracker,
        node: &Node,
        silence: Duration,
        grace: Duration,
    ) -> Option<(NodeState, String)> {
        if silence >= DOWN_AFTER + grace {
            return Some((NodeState::Down, "heartbeat failure".to_owned()));
        }
        if silence < SUSPECT_AFTER + grace {
            return None;
        }
        match &self.probing {
            None => {
                let outcome = Arc::new(AtomicU8::new(UNKNOWN));
                probe(tracker, &node.addr, outcome.clone());
                self.probing = Some(outcome);
                None
            }
            // A kernel that never answered (a firewall drops what is asked) says nothing by silence.
            Some(outcome) if outcome.load(Ordering::Relaxed) == SILENT => {
                let answered_before = self.answers.load(Ordering::Relaxed) != SILENT;
                answered_before.then(|| {
                    (
                        NodeState::Down,
                        "no answer from the node or its kernel".to_owned(),
                    )
                })
            }
            Some(_) => None,
        }
    }
}

/// Asks a node's kernel for a connection to a port where nobody listens: its refusal is an answer.
fn probe(tracker: &TaskTracker, addr: &str, outcome: Arc<AtomicU8>) {
    let Ok(addr) = addr.parse::<SocketAddr>() else {
        return;
    };
    tracker.spawn(async move {
        for _ in 0..PROBES {
            let answer = timeout(PROBE_DEADLINE, TcpStream::connect(addr)).await;
            let answered = match answer {
                Ok(Ok(_)) => true,
                Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
                Err(_) => false,
            };
            if answered {
                outcome.store(ANSWERED, Ordering::Relaxed);
                return;
            }
        }
        outcome.store(SILENT, Ordering::Relaxed);
    });
}
