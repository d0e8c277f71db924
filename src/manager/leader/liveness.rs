//! Which nodes answer: their sessions weighed with what gossip says of them.
//!
//! Gossip is told by others, and what a member says of a third is not signed. So it never decides
//! alone: a node is down when the leader itself misses it as well, whose session is the leader's own
//! evidence. And a node that misses only its leader, but is heard by its neighbours, is given longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use swarmr_net::gossip;
use swarmr_net::membership::{Absence, View};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::spec::NodeId;
use crate::state::State;
use crate::state::command::NodeObservation;
use crate::state::node::{Node, NodeDescription, NodeState};

/// Agents say something every 250 ms (of the leader's own node every 700); who said nothing for so
/// long is missed here too.
const MISSED_AFTER: Duration = Duration::from_millis(750);
/// The agents that live find a new leader in this time.
const MET_WITHIN: Duration = Duration::from_millis(500);
/// A node that said so little as nothing for so long is not known to be well.
const SILENT_AFTER: Duration = Duration::from_millis(1_000);
/// A silent node whose kernel answers is down after this.
const DOWN_AFTER: Duration = Duration::from_secs(5);
/// One that its neighbours hear, though it has no session, after this.
const HEARD_ELSEWHERE: Duration = Duration::from_secs(20);

/// What is known of the nodes' silences in this term.
#[derive(Debug)]
pub(super) struct Liveness {
    /// What gossip says, as the node of this leader hears it.
    view: watch::Receiver<Arc<View>>,
    began: Instant,
    nodes: BTreeMap<NodeId, Known>,
}

#[derive(Debug)]
struct Known {
    /// When it last said something, or when the term began.
    heard: Instant,
    /// It has said something in this term.
    met: bool,
    news: Option<(Option<String>, NodeDescription)>,
}

impl Liveness {
    pub(super) fn new(view: watch::Receiver<Arc<View>>) -> Self {
        Self {
            view,
            began: Instant::now(),
            nodes: BTreeMap::new(),
        }
    }

    /// Waits until gossip has something new to say.
    pub(super) async fn rumour(&mut self) {
        if self.view.changed().await.is_err() {
            // This node stops.
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn heard(&mut self, node: NodeId) {
        let known = self.known(node);
        known.heard = Instant::now();
        known.met = true;
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
        let view = self.view.borrow_and_update().clone();
        state
            .nodes()
            .filter_map(|node| {
                let absence = view.absent.get(&gossip::NodeId(node.id.bits())).copied();
                self.look_at(node, absence)
            })
            .collect()
    }

    fn look_at(&mut self, node: &Node, absence: Option<Absence>) -> Option<NodeObservation> {
        let known = self.known(node.id);
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
        let verdict = judge(known.heard.elapsed(), known.met, absence);
        let is = node.status.state;
        observation.state = match verdict {
            Verdict::Down(why) if is != NodeState::Down => Some((NodeState::Down, why.to_owned())),
            // What was heard of one that left was said before it went.
            Verdict::Ready if is != NodeState::Ready && !node.status.has_left() => {
                Some((NodeState::Ready, String::new()))
            }
            Verdict::Down(_) | Verdict::Ready | Verdict::Unsure => None,
        };
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
            news: None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ready,
    /// Too silent to be well, not silent enough to be down.
    Unsure,
    Down(&'static str),
}

/// What a silence means: in the session since a node was last heard, or since the term began when it
/// was not `met` in it, and among its neighbours.
fn judge(silence: Duration, met: bool, absence: Option<Absence>) -> Verdict {
    let missed = silence >= if met { MISSED_AFTER } else { MET_WITHIN };
    match absence {
        Some(Absence::Silent) if missed => {
            return Verdict::Down("no answer from the node or its kernel");
        }
        // Its neighbours have given it its time before this leader came.
        Some(Absence::Unresponsive) if missed && !met => return Verdict::Down(HEARTBEAT_FAILURE),
        _ => {}
    }
    let patience = match absence {
        Some(_) => DOWN_AFTER,
        None => HEARD_ELSEWHERE,
    };
    if silence >= patience {
        return Verdict::Down(HEARTBEAT_FAILURE);
    }
    match met && silence < SILENT_AFTER {
        true => Verdict::Ready,
        false => Verdict::Unsure,
    }
}

const HEARTBEAT_FAILURE: &str = "heartbeat failure";

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(milliseconds: u64, met: bool, absence: Option<Absence>) -> Verdict {
        judge(Duration::from_millis(milliseconds), met, absence)
    }

    #[test]
    fn gossip_alone_takes_no_node_down() {
        for absence in [Absence::Suspected, Absence::Silent, Absence::Unresponsive] {
            assert_eq!(verdict(300, true, Some(absence)), Verdict::Ready);
            assert_eq!(verdict(300, false, Some(absence)), Verdict::Unsure);
        }
    }

    #[test]
    fn a_node_without_power_is_down_as_soon_as_its_neighbours_agree() {
        let silent = Some(Absence::Silent);
        assert!(matches!(verdict(800, true, silent), Verdict::Down(_)));
        assert!(matches!(verdict(600, false, silent), Verdict::Down(_)));
    }

    #[test]
    fn a_node_whose_kernel_answers_has_five_seconds() {
        for absence in [Absence::Suspected, Absence::Unresponsive] {
            assert_eq!(verdict(4_900, true, Some(absence)), Verdict::Unsure);
            assert!(matches!(
                verdict(5_000, true, Some(absence)),
                Verdict::Down(_)
            ));
        }
        let known_before = verdict(600, false, Some(Absence::Unresponsive));
        assert!(matches!(known_before, Verdict::Down(_)));
    }

    #[test]
    fn a_node_that_only_its_leader_misses_is_given_longer() {
        assert_eq!(verdict(19_000, true, None), Verdict::Unsure);
        assert!(matches!(verdict(20_000, true, None), Verdict::Down(_)));
    }
}
