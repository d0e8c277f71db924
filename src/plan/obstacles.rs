//! Everything that keeps a node from taking a task, with how much is missing: for people, who want
//! to know more than the first filter that said no.

use std::fmt;

use super::filters::Needs;
use super::neighbours::{Kind, Neighbours};
use crate::spec::service::Protocol;
use crate::spec::{Availability, NodeId};
use crate::state::claims::Shortage;
use crate::state::node::NodeState;
use crate::state::task::NodeRejection;
use crate::state::{Node, Usage};

/// One thing that keeps a node from taking a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    State(NodeState),
    Availability(Availability),
    Cpus {
        asked: i64,
        free: i64,
    },
    Memory {
        asked: i64,
        free: i64,
    },
    Short(Shortage),
    Plugin {
        kind: &'static str,
        name: String,
    },
    /// The constraint, as it was written.
    Constraint(String),
    /// What the image is for, and what the node is.
    Platform {
        wanted: Vec<String>,
        has: String,
    },
    HostPort(Protocol, u16),
    MaxReplicas {
        limit: u64,
        has: u64,
    },
    /// A rule, as it is written on a command line, and whose it is.
    Affinity {
        rule: String,
    },
    AntiAffinity {
        rule: String,
        owner: String,
    },
}

impl Obstacle {
    /// The filter that rejects the node for it.
    pub const fn rejection(&self) -> NodeRejection {
        match self {
            Self::State(_) | Self::Availability(_) => NodeRejection::NotAvailable,
            Self::Cpus { .. }
            | Self::Memory { .. }
            | Self::Short(Shortage::Generic { .. } | Shortage::Named { .. }) => {
                NodeRejection::InsufficientResources
            }
            Self::Short(Shortage::Devices { .. } | Shortage::Device { .. }) => {
                NodeRejection::DeviceUnavailable
            }
            Self::Plugin { .. } => NodeRejection::MissingPlugin,
            Self::Constraint(_) => NodeRejection::ConstraintNotSatisfied,
            Self::Platform { .. } => NodeRejection::UnsupportedPlatform,
            Self::HostPort(..) => NodeRejection::HostPortInUse,
            Self::MaxReplicas { .. } => NodeRejection::MaxReplicasPerNode,
            Self::Affinity { .. } => NodeRejection::AffinityNotSatisfied,
            Self::AntiAffinity { .. } => NodeRejection::AntiAffinity,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(NodeState::Down) => f.write_str("the node is down"),
            Self::State(_) => f.write_str("the node is not ready"),
            Self::Availability(availability) => write!(f, "its availability is {availability}"),
            Self::Cpus { asked, free } => {
                write!(f, "{} asked for, {} free", cpus(*asked), cpus(*free))
            }
            Self::Memory { asked, free } => {
                write!(
                    f,
                    "{} of memory asked for, {} free",
                    bytes(*asked),
                    bytes(*free)
                )
            }
            Self::Short(shortage) => write!(f, "{shortage}"),
            Self::Plugin { kind, name } => {
                write!(f, "it has no {} plugin {name}", kind.to_lowercase())
            }
            Self::Constraint(text) => write!(f, "constraint {text} is not met"),
            Self::Platform { wanted, has } => {
                write!(f, "it is {has}, the image is for {}", wanted.join(", "))
            }
            Self::HostPort(protocol, port) => {
                write!(f, "port {port}/{} is in use", word(*protocol))
            }
            Self::MaxReplicas { limit, has } => {
                write!(f, "it has {has} tasks of the service, {limit} are allowed")
            }
            Self::Affinity { rule } => write!(f, "no task there is near by affinity {rule}"),
            Self::AntiAffinity { rule, owner } => {
                write!(
                    f,
                    "a task there keeps it away by anti-affinity {rule} of {owner}"
                )
            }
        }
    }
}

pub(super) const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// CPUs with as many digits as it takes: `1.5 CPUs`.
pub(super) fn cpus(nano: i64) -> String {
    let text = format!(
        "{}.{:09}",
        nano / 1_000_000_000,
        (nano % 1_000_000_000).abs()
    );
    let unit = if nano == 1_000_000_000 { "CPU" } else { "CPUs" };
    format!(
        "{} {unit}",
        text.trim_end_matches('0').trim_end_matches('.')
    )
}

/// Bytes in the largest unit that they are whole in, as `--reserve-memory` reads them.
pub(super) fn bytes(count: i64) -> String {
    for (unit, size) in [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)] {
        if count != 0 && count % size == 0 {
            return format!("{}{unit}", count / size);
        }
    }
    format!("{count}b")
}

/// All that keeps a node from taking a task: empty exactly where the filters let it pass.
pub(super) fn of(
    needs: &Needs<'_>,
    neighbours: &Neighbours<'_>,
    node: &Node,
    usage: &Usage,
    own: u64,
) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if node.status.state != NodeState::Ready {
        found.push(Obstacle::State(node.status.state));
    }
    if node.spec.availability != Availability::Active {
        found.push(Obstacle::Availability(node.spec.availability));
    }
    amounts(needs, node, usage, &mut found);
    if let Err(short) = needs.ask.claim(&node.description, &usage.taken) {
        found.extend(short.into_iter().map(Obstacle::Short));
    }
    for (kind, name) in needs.plugins.missing_on(node) {
        found.push(Obstacle::Plugin {
            kind,
            name: name.to_owned(),
        });
    }
    for text in needs.unmet_constraints(node) {
        found.push(Obstacle::Constraint(text.to_owned()));
    }
    if !needs.runs_on(node) {
        let wanted = needs.platforms.iter();
        found.push(Obstacle::Platform {
            wanted: wanted
                .map(|platform| format!("{}/{}", platform.os, platform.architecture))
                .collect(),
            has: format!("{}/{}", node.description.os, node.description.architecture),
        });
    }
    for (protocol, port) in &needs.reserved.host_ports {
        if usage.host_ports.contains_key(&(*protocol, *port)) {
            found.push(Obstacle::HostPort(*protocol, *port));
        }
    }
    if needs.max_replicas > 0 && own >= needs.max_replicas {
        found.push(Obstacle::MaxReplicas {
            limit: needs.max_replicas,
            has: own,
        });
    }
    for broken in neighbours.broken_on(node) {
        let rule = broken.rule.to_string();
        found.push(match broken.kind {
            Kind::Together(_) => Obstacle::Affinity { rule },
            Kind::Apart(_) => Obstacle::AntiAffinity {
                rule,
                owner: broken.owner.to_owned(),
            },
        });
    }
    found
}

fn amounts(needs: &Needs<'_>, node: &Node, usage: &Usage, found: &mut Vec<Obstacle>) {
    let (asked, has) = (&needs.reserved, &node.description);
    let free = |has: i64, used: i64| has.saturating_sub(used).max(0);
    let cpus = free(has.nano_cpus, usage.nano_cpus);
    if asked.nano_cpus > cpus {
        found.push(Obstacle::Cpus {
            asked: asked.nano_cpus,
            free: cpus,
        });
    }
    let memory = free(has.memory_bytes, usage.memory_bytes);
    if asked.memory_bytes > memory {
        found.push(Obstacle::Memory {
            asked: asked.memory_bytes,
            free: memory,
        });
    }
}

/// What one node says to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub node: NodeId,
    /// Empty where it takes the task.
    pub obstacles: Vec<Obstacle>,
}
