//! What this node has heard of others without any manager: who is silent, which tasks have died.
//!
//! It only ever takes endpoints out of the tables that the managers' word put in, so what somebody
//! says wrongly of others costs a way to them and never opens one.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::{NodeId, TaskId};
use crate::state::assignment::{Assignment, NetworkEndpoint};

/// How a node is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// For a second or so. Its tasks get nothing new, unless there are no others.
    Suspected,
    /// It was given up.
    Gone,
}

/// What gossip says of others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hearsay {
    pub nodes: BTreeMap<NodeId, Silence>,
    /// Tasks that do not run, by the word of their own nodes.
    pub dead: BTreeSet<(NodeId, TaskId)>,
}

/// Everything that takes a serving endpoint out of this node's tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Out {
    /// Tasks whose containers do not run. What leads to them is cut.
    pub dead: BTreeSet<TaskId>,
    /// Nodes that are silent. What leads to their tasks stays; nothing is added.
    pub silent: BTreeMap<NodeId, Silence>,
}

impl Out {
    /// `here` are this node's own tasks that have died.
    pub(super) fn new(here: BTreeSet<TaskId>, hearsay: &Hearsay, assignment: &Assignment) -> Self {
        let mut silent = hearsay.nodes.clone();
        // Whatever others say, this node is here.
        silent.remove(&assignment.node);
        let said = |endpoint: &&NetworkEndpoint| {
            let said = (endpoint.node, endpoint.task);
            endpoint.node != assignment.node && hearsay.dead.contains(&said)
        };
        let mut dead = here;
        if !hearsay.dead.is_empty() {
            // A node speaks of its own tasks only.
            dead.extend(endpoints(assignment).filter(said).map(|it| it.task));
        }
        Self { dead, silent }
    }
}

/// The tasks of this node that others should hear are dead: those in tables somewhere.
pub fn to_be_told(assignment: &Assignment, dead: &BTreeSet<TaskId>) -> BTreeSet<TaskId> {
    let own = endpoints(assignment).filter(|endpoint| endpoint.node == assignment.node);
    own.map(|endpoint| endpoint.task)
        .filter(|task| dead.contains(task))
        .collect()
}

fn endpoints(assignment: &Assignment) -> impl Iterator<Item = &NetworkEndpoint> {
    let services = assignment.networks.iter().flat_map(|it| &it.services);
    services.flat_map(|service| &service.endpoints)
}
