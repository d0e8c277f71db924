//! Which nodes may run a task of a spec, and why the others may not.

use super::plugins::Plugins;
use crate::spec::ServiceSpec;
use crate::spec::constraint::Constraint;
use crate::spec::service::Platform;
use crate::state::claims::{Ask, Shortage};
use crate::state::task::NodeRejection;
use crate::state::usage::Reserved;
use crate::state::{Node, Usage};

/// What a spec asks of a node, made ready for many nodes.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    pub(super) reserved: Reserved,
    /// Generic resources and devices.
    pub(super) ask: Ask<'a>,
    pub(super) plugins: Plugins<'a>,
    /// As written, and `None` for one that cannot be read: no node meets it.
    constraints: Vec<(&'a str, Option<Constraint>)>,
    pub(super) platforms: &'a [Platform],
    /// Tasks of the service on one node at most; 0 is no limit.
    pub(super) max_replicas: u64,
}

impl<'a> Needs<'a> {
    pub(super) fn of(spec: &'a ServiceSpec) -> Self {
        let template = &spec.task_template;
        let placement = template.placement.as_ref();
        Self {
            reserved: Reserved::of(spec),
            ask: Ask::of(spec),
            plugins: Plugins::of(spec),
            constraints: placement
                .iter()
                .flat_map(|placement| &placement.constraints)
                .map(|text| (text.as_str(), text.parse().ok()))
                .collect(),
            platforms: placement.map_or(&[], |placement| &placement.platforms),
            max_replicas: placement.map_or(0, |placement| placement.max_replicas),
        }
    }

    /// Why a node is not taken, `None` when it is. `own` is the number of the service's wanted
    /// tasks there.
    pub(super) fn reject(&self, node: &Node, usage: &Usage, own: u64) -> Option<NodeRejection> {
        self.reject_if(node, usage, own, || self.meets_constraints(node))
    }

    /// The same for a node that is known to suit.
    pub(super) fn reject_suitable(
        &self,
        node: &Node,
        usage: &Usage,
        own: u64,
    ) -> Option<NodeRejection> {
        self.reject_if(node, usage, own, || true)
    }

    fn reject_if(
        &self,
        node: &Node,
        usage: &Usage,
        own: u64,
        meets_constraints: impl FnOnce() -> bool,
    ) -> Option<NodeRejection> {
        if !node.takes_tasks() {
            Some(NodeRejection::NotAvailable)
        } else if !fits(&self.reserved, node, usage) {
            Some(NodeRejection::InsufficientResources)
        } else if let Some(rejection) = self.lacks(node, usage) {
            Some(rejection)
        } else if !self.plugins.are_on(node) {
            Some(NodeRejection::MissingPlugin)
        } else if !meets_constraints() {
            Some(NodeRejection::ConstraintNotSatisfied)
        } else if !self.runs_on(node) {
            Some(NodeRejection::UnsupportedPlatform)
        } else if ports_taken(&self.reserved, usage) {
            Some(NodeRejection::HostPortInUse)
        } else if self.max_replicas > 0 && own >= self.max_replicas {
            Some(NodeRejection::MaxReplicasPerNode)
        } else {
            None
        }
    }

    /// Whether a node that suits and has room takes a task of a service that has none there: the
    /// spec asks for nothing besides.
    pub(super) fn are_plain(&self) -> bool {
        self.ask.is_empty() && self.plugins.is_empty()
    }

    /// Whether a node is of the kind that the spec asks for, whatever runs there.
    pub(super) fn suits(&self, node: &Node) -> bool {
        self.meets_constraints(node) && self.runs_on(node)
    }

    /// What of generic resources and devices a node has too few left of.
    fn lacks(&self, node: &Node, usage: &Usage) -> Option<NodeRejection> {
        if self.ask.is_empty() {
            return None;
        }
        let short = self.ask.claim(&node.description, &usage.taken).err()?;
        Some(rejection_of(short.first()?))
    }

    fn meets_constraints(&self, node: &Node) -> bool {
        self.constraints.is_empty() || self.unmet_constraints(node).next().is_none()
    }

    /// The constraints that a node does not meet, as they were written.
    pub(super) fn unmet_constraints<'b>(
        &'b self,
        node: &'b Node,
    ) -> impl Iterator<Item = &'a str> + 'b {
        let facts = node.facts();
        let unmet = self.constraints.iter().filter(move |(_, constraint)| {
            constraint
                .as_ref()
                .is_none_or(|constraint| !constraint.holds(&facts))
        });
        unmet.map(|(text, _)| *text)
    }

    pub(super) fn runs_on(&self, node: &Node) -> bool {
        let description = &node.description;
        self.platforms.is_empty()
            || self
                .platforms
                .iter()
                .any(|platform| platform.runs_on(&description.architecture, &description.os))
    }
}

/// Whether a node has CPUs, memory and ports left for one more task that takes up this much.
pub(super) fn has_room(reserved: &Reserved, node: &Node, usage: &Usage) -> bool {
    fits(reserved, node, usage) && !ports_taken(reserved, usage)
}

fn fits(reserved: &Reserved, node: &Node, usage: &Usage) -> bool {
    let room = |has: i64, used: i64, asked: i64| asked == 0 || has.saturating_sub(used) >= asked;
    let has = &node.description;
    room(has.nano_cpus, usage.nano_cpus, reserved.nano_cpus)
        && room(has.memory_bytes, usage.memory_bytes, reserved.memory_bytes)
}

fn ports_taken(reserved: &Reserved, usage: &Usage) -> bool {
    let mut ports = reserved.host_ports.iter();
    ports.any(|port| usage.host_ports.contains_key(port))
}

/// Generic resources are resources, as Docker sees it.
const fn rejection_of(shortage: &Shortage) -> NodeRejection {
    match shortage {
        Shortage::Generic { .. } | Shortage::Named { .. } => NodeRejection::InsufficientResources,
        Shortage::Devices { .. } | Shortage::Device { .. } => NodeRejection::DeviceUnavailable,
    }
}
