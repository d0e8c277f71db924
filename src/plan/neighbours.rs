//! Affinity and anti-affinity: where the tasks of other services, and of the service itself, let a
//! task be.
//!
//! Of other services every task counts to keep apart from until it has ended, and to be near to as
//! long as it is wanted. Of the service itself what stays counts: not what is told to stop, and not
//! what a newer task is about to take the place of or has to leave its node. Required rules decide
//! where tasks are put, not whether they stay when the world around them changes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::board::Board;
use super::desk::Desk;
use super::place::is_on_its_way_out;
use crate::spec::extension::{AffinityRule, Strength};
use crate::spec::topology::Topology;
use crate::spec::{NodeId, ServiceSpec};
use crate::state::task::NodeRejection;
use crate::state::{Node, Service, Task};

/// All rules that concern one service's tasks: its own, and those by which others keep apart.
#[derive(Debug, Default)]
pub(super) struct Neighbours<'a> {
    rules: Vec<Rule<'a>>,
}

#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) kind: Kind,
    pub(super) rule: &'a AffinityRule,
    /// Whose rule it is.
    pub(super) owner: &'a str,
    topology: Topology<'a>,
    /// Tasks that the rule speaks of, by the value of the topology key.
    tasks: BTreeMap<Cow<'a, str>, u64>,
    /// The service's own tasks are among them.
    counts_own: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Together(Strength),
    Apart(Strength),
}

impl<'a> Neighbours<'a> {
    /// The rules for tasks of `spec`, which the service on the desk has or had.
    pub(super) fn of(desk: &Desk<'a>, board: &Board<'_>, spec: &'a ServiceSpec) -> Self {
        let mut rules = Vec::new();
        if let Some(extension) = spec.swarmr.as_ref() {
            let kinds = [
                (
                    &extension.affinities,
                    Kind::Together as fn(Strength) -> Kind,
                ),
                (&extension.anti_affinities, Kind::Apart),
            ];
            for (list, kind) in kinds {
                for rule in list {
                    let kind = kind(rule.strength);
                    rules.extend(Rule::own(desk, board, spec, rule, kind));
                }
            }
        }
        for other in desk.state.services_keeping_apart() {
            if other.id != desk.service.id {
                rules.extend(theirs(desk, board, other, spec));
            }
        }
        Self { rules }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether where a task is put decides where the next may be.
    pub(super) fn change(&self) -> bool {
        self.rules.iter().any(|rule| rule.counts_own)
    }

    pub(super) fn reject(&self, node: &Node) -> Option<NodeRejection> {
        self.broken_on(node).next().map(|rule| match rule.kind {
            Kind::Together(_) => NodeRejection::AffinityNotSatisfied,
            Kind::Apart(_) => NodeRejection::AntiAffinity,
        })
    }

    /// The required rules that do not hold for a task on a node.
    pub(super) fn broken_on(&self, node: &Node) -> impl Iterator<Item = &Rule<'a>> {
        self.rules.iter().filter(|rule| rule.is_broken_on(node))
    }

    /// How little the preferred rules like a node; less is better.
    pub(super) fn dislike(&self, node: &Node) -> i64 {
        let of_rule = |rule: &Rule<'_>| match rule.kind {
            Kind::Together(Strength::Preferred) => -i64::from(rule.tasks_near(node) > 0),
            Kind::Apart(Strength::Preferred) => {
                i64::try_from(rule.tasks_near(node)).unwrap_or(i64::MAX)
            }
            Kind::Together(Strength::Required) | Kind::Apart(Strength::Required) => 0,
        };
        self.rules.iter().map(of_rule).fold(0, i64::saturating_add)
    }

    /// A task of the service was put on a node.
    pub(super) fn placed(&mut self, node: &'a Node) {
        for rule in self.rules.iter_mut().filter(|rule| rule.counts_own) {
            if let Some(value) = value_of(rule.topology, node) {
                *rule.tasks.entry(value).or_default() += 1;
            }
        }
    }

    /// Whether a task on `placed` can have changed what the rules say of `node`.
    pub(super) fn tells_on(&self, placed: &Node, node: &Node) -> bool {
        self.rules
            .iter()
            .filter(|rule| rule.counts_own)
            .any(|rule| {
                let first = matches!(rule.kind, Kind::Together(Strength::Required))
                    && rule.tasks.values().sum::<u64>() == 1;
                first || value_of(rule.topology, placed) == value_of(rule.topology, node)
            })
    }
}

impl<'a> Rule<'a> {
    fn own(
        desk: &Desk<'a>,
        board: &Board<'_>,
        spec: &'a ServiceSpec,
        rule: &'a AffinityRule,
        kind: Kind,
    ) -> Option<Self> {
        let mut own = Self {
            kind,
            rule,
            owner: desk.service.name(),
            topology: Topology::parse(&rule.topology)?,
            tasks: BTreeMap::new(),
            counts_own: rule.selects(&spec.labels),
        };
        if own.counts_own {
            let stay = desk
                .tasks()
                .filter(|task| !desk.is_leaving(task) && !is_on_its_way_out(desk, task));
            own.count(desk, stay.filter_map(|task| place_of(task)));
        }
        for other in desk.state.services() {
            if other.id != desk.service.id && rule.selects(&other.spec.labels) {
                own.count_service(desk, board, other);
            }
        }
        Some(own)
    }

    fn count_service(&mut self, desk: &Desk<'a>, board: &Board<'_>, other: &Service) {
        let apart = matches!(self.kind, Kind::Apart(_));
        let tasks = desk.state.tasks_of(other.id);
        let there = tasks.filter(|task| task.occupies_node() && (apart || task.is_wanted()));
        self.count(desk, there.filter_map(|task| task.node));
        // What this very pass has placed makes nodes worse, but none better: a service that waits
        // for a neighbour is looked at again once that is there.
        if apart {
            self.count(desk, board.placed(other.id));
        }
    }

    fn count(&mut self, desk: &Desk<'a>, nodes: impl Iterator<Item = NodeId>) {
        for node in nodes {
            let value = desk
                .state
                .node(node)
                .and_then(|node| value_of(self.topology, node));
            if let Some(value) = value {
                *self.tasks.entry(value).or_default() += 1;
            }
        }
    }

    /// Nodes without the label are near to nobody.
    fn tasks_near(&self, node: &Node) -> u64 {
        value_of(self.topology, node)
            .and_then(|value| self.tasks.get(&value).copied())
            .unwrap_or(0)
    }

    fn is_broken_on(&self, node: &Node) -> bool {
        match self.kind {
            Kind::Apart(Strength::Required) => self.tasks_near(node) > 0,
            // The first of tasks that belong together may be anywhere that has the label.
            Kind::Together(Strength::Required) if self.counts_own && self.tasks.is_empty() => {
                value_of(self.topology, node).is_none()
            }
            Kind::Together(Strength::Required) => self.tasks_near(node) == 0,
            Kind::Together(Strength::Preferred) | Kind::Apart(Strength::Preferred) => false,
        }
    }
}

/// The rules of another service that keep tasks of `spec` away from its own.
fn theirs<'a>(
    desk: &Desk<'a>,
    board: &Board<'_>,
    other: &'a Service,
    spec: &ServiceSpec,
) -> Vec<Rule<'a>> {
    let rules = other
        .spec
        .swarmr
        .iter()
        .flat_map(|extension| &extension.anti_affinities)
        .filter(|rule| rule.strength == Strength::Required && rule.selects(&spec.labels));
    let rules = rules.filter_map(|rule| {
        let mut theirs = Rule {
            kind: Kind::Apart(Strength::Required),
            rule,
            owner: other.name(),
            topology: Topology::parse(&rule.topology)?,
            tasks: BTreeMap::new(),
            counts_own: false,
        };
        theirs.count_service(desk, board, other);
        Some(theirs)
    });
    rules.collect()
}

fn place_of(task: &Task) -> Option<NodeId> {
    task.node.filter(|_| task.is_wanted() && !task.has_ended())
}

/// A node's value of a topology key; `None` where it has no such label.
pub(super) fn value_of<'a>(topology: Topology<'_>, node: &'a Node) -> Option<Cow<'a, str>> {
    let label = |value: Option<&'a String>| value.map(|value| Cow::Borrowed(value.as_str()));
    match topology {
        Topology::Id => Some(Cow::Owned(node.id.to_string())),
        Topology::Hostname => Some(Cow::Borrowed(&node.description.hostname)),
        Topology::NodeLabel(name) => label(node.spec.labels.get(name)),
        Topology::EngineLabel(name) => label(node.description.engine_labels.get(name)),
    }
}
