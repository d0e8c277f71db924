//! The smallest change that would let a task run on a node. Nothing is proposed that was not tried:
//! a remedy is applied to copies of the spec and the node, and the filters are asked again.

use super::filters::Needs;
use super::neighbours::Neighbours;
use super::obstacles::{self, Obstacle, bytes, cpus, word};
use crate::spec::constraint::Constraint;
use crate::spec::extension::Strength;
use crate::spec::generic::GenericResource;
use crate::spec::service::{Platform, Protocol, Resources};
use crate::spec::validate::{MIN_MEMORY_BYTES, MIN_NANO_CPUS};
use crate::spec::{Availability, ServiceSpec};
use crate::state::claims::{Claims, Shortage};
use crate::state::node::NodeState;
use crate::state::{Node, State, Task, Usage};

/// One change of the service, of a node, or of what runs there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fix {
    Activate,
    SetLabel {
        key: String,
        value: String,
    },
    RaiseMaxReplicas {
        limit: u64,
    },
    /// So much less than is asked for.
    ReserveCpus {
        less: i64,
        nano: i64,
    },
    ReserveMemory {
        less: i64,
        bytes: i64,
    },
    ReserveGeneric {
        less: i64,
        kind: String,
        value: i64,
    },
    AskForDevices {
        kind: String,
        count: usize,
    },
    DropConstraint {
        text: String,
    },
    Prefer {
        rule: String,
    },
    FreePort {
        protocol: Protocol,
        port: u16,
        holder: String,
    },
    FreeCpus {
        nano: i64,
    },
    FreeMemory {
        bytes: i64,
    },
    /// A generic resource or a device; `what` is as it is asked for.
    Free {
        what: String,
        kind: String,
        holder: String,
    },
    Return,
    AddPlugin {
        kind: &'static str,
        name: String,
    },
    UseImageFor {
        os: String,
        architecture: String,
    },
}

/// Changes that together let a task run on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// The node's name.
    pub node: String,
    pub fixes: Vec<Fix>,
}

impl Remedy {
    /// What to do, in words.
    pub fn text(&self) -> String {
        let texts: Vec<String> = self.fixes.iter().map(|fix| fix.text(&self.node)).collect();
        texts.join(", and ")
    }

    /// The same advice, on whichever node it was found.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        self.fixes == other.fixes
            && (self.node == other.node || self.fixes.iter().all(Fix::is_of_service))
    }

    /// Fewer changes are smaller; among as many, those that take nothing away.
    pub(super) fn size(&self) -> (usize, Vec<Fix>) {
        (self.fixes.len(), self.fixes.clone())
    }
}

impl Fix {
    fn text(&self, node: &str) -> String {
        match self {
            Self::Activate => {
                format!("activate {node}: swarmr node update --availability active {node}")
            }
            Self::SetLabel { key, value } => {
                format!(
                    "add label {key}={value} to {node}: swarmr node update --label-add {key}={value} {node}"
                )
            }
            Self::RaiseMaxReplicas { limit } => {
                format!("raise --replicas-max-per-node to {limit}")
            }
            Self::ReserveCpus { less, nano } => format!(
                "reserve {} instead of {} (fits {node})",
                cpus(*nano),
                cpus(nano + less)
            ),
            Self::ReserveMemory { less, bytes: count } => format!(
                "reserve {} of memory instead of {} (fits {node})",
                bytes(*count),
                bytes(count + less)
            ),
            Self::ReserveGeneric { less, kind, value } => {
                format!(
                    "reserve {kind}={value} instead of {} (fits {node})",
                    value + less
                )
            }
            Self::AskForDevices { kind, count } => {
                format!("ask for {count} devices {kind} (fits {node})")
            }
            Self::DropConstraint { text } => {
                format!("remove the constraint {text} (fits {node})")
            }
            Self::Prefer { rule } => {
                format!("make the rule {rule} a preferred one (fits {node})")
            }
            Self::FreePort {
                protocol,
                port,
                holder,
            } => {
                format!(
                    "free port {port}/{} on {node}, which {holder} has",
                    word(*protocol)
                )
            }
            Self::FreeCpus { nano } => format!("free {} on {node}", cpus(*nano)),
            Self::FreeMemory { bytes: count } => {
                format!("free {} of memory on {node}", bytes(*count))
            }
            Self::Free { what, holder, .. } => {
                format!("free {what} on {node}, which {holder} has")
            }
            Self::Return => format!("bring {node} back: its daemon does not answer"),
            Self::AddPlugin { kind, name } => {
                format!(
                    "install the {} plugin {name} on {node}",
                    kind.to_lowercase()
                )
            }
            Self::UseImageFor { os, architecture } => {
                format!("use an image that is for {os}/{architecture} too (fits {node})")
            }
        }
    }

    /// Whether it is about the service, whatever the node.
    const fn is_of_service(&self) -> bool {
        matches!(
            self,
            Self::RaiseMaxReplicas { .. }
                | Self::ReserveCpus { .. }
                | Self::ReserveMemory { .. }
                | Self::ReserveGeneric { .. }
                | Self::AskForDevices { .. }
                | Self::DropConstraint { .. }
                | Self::Prefer { .. }
                | Self::UseImageFor { .. }
        )
    }

    /// What takes an obstacle away; `None` where no change of one thing does.
    fn of(obstacle: &Obstacle, node: &Node, state: &State) -> Option<Self> {
        Some(match obstacle {
            Obstacle::State(_) => Self::Return,
            Obstacle::Availability(_) => Self::Activate,
            Obstacle::Cpus { asked, free } if *free >= MIN_NANO_CPUS => Self::ReserveCpus {
                less: asked - free,
                nano: *free,
            },
            Obstacle::Cpus { asked, free } => (node.description.nano_cpus >= *asked)
                .then_some(Self::FreeCpus { nano: asked - free })?,
            Obstacle::Memory { asked, free } if *free >= MIN_MEMORY_BYTES => Self::ReserveMemory {
                less: asked - free,
                bytes: *free,
            },
            Obstacle::Memory { asked, free } => (node.description.memory_bytes >= *asked)
                .then_some(Self::FreeMemory {
                    bytes: asked - free,
                })?,
            Obstacle::Short(Shortage::Generic { kind, asked, free }) if *free > 0 => {
                Self::ReserveGeneric {
                    less: asked - free,
                    kind: kind.clone(),
                    value: *free,
                }
            }
            Obstacle::Short(Shortage::Devices { kind, free, .. }) if *free > 0 => {
                Self::AskForDevices {
                    kind: kind.clone(),
                    count: *free,
                }
            }
            Obstacle::Short(shortage) => free(shortage, node, state)?,
            Obstacle::Plugin { kind, name } => Self::AddPlugin {
                kind,
                name: name.clone(),
            },
            Obstacle::Constraint(text) => match label_of(text) {
                Some((key, value)) => Self::SetLabel { key, value },
                None => Self::DropConstraint { text: text.clone() },
            },
            Obstacle::Platform { .. } => Self::UseImageFor {
                os: node.description.os.clone(),
                architecture: node.description.architecture.clone(),
            },
            Obstacle::HostPort(protocol, port) => Self::FreePort {
                protocol: *protocol,
                port: *port,
                holder: holder_of(state, node, (*protocol, *port))?,
            },
            Obstacle::MaxReplicas { has, .. } => Self::RaiseMaxReplicas { limit: has + 1 },
            Obstacle::Affinity { rule } | Obstacle::AntiAffinity { rule, .. } => {
                Self::Prefer { rule: rule.clone() }
            }
        })
    }

    fn apply(&self, spec: &mut ServiceSpec, node: &mut Node, usage: &mut Usage) {
        let placement =
            |spec: &'_ mut ServiceSpec, change: &dyn Fn(&mut crate::spec::service::Placement)| {
                change(spec.task_template.placement.get_or_insert_default());
            };
        match self {
            Self::Activate => node.spec.availability = Availability::Active,
            Self::Return => node.status.state = NodeState::Ready,
            Self::SetLabel { key, value } => {
                node.spec.labels.insert(key.clone(), value.clone());
            }
            Self::RaiseMaxReplicas { limit } => placement(spec, &|it| it.max_replicas = *limit),
            Self::ReserveCpus { nano, .. } => reservations(spec).nano_cpus = *nano,
            Self::ReserveMemory { bytes, .. } => reservations(spec).memory_bytes = *bytes,
            Self::ReserveGeneric { kind, value, .. } => {
                for resource in &mut reservations(spec).generic_resources {
                    if resource.kind() == kind {
                        *resource = GenericResource::discrete(kind, *value);
                    }
                }
            }
            Self::AskForDevices { kind, count } => {
                let requests = spec
                    .swarmr
                    .iter_mut()
                    .flat_map(|it| &mut it.device_requests);
                for request in requests.filter(|request| request.kind() == kind) {
                    request.device_ids.clear();
                    request.count = i64::try_from(*count).unwrap_or(i64::MAX);
                }
            }
            Self::DropConstraint { text } => {
                placement(spec, &|it| it.constraints.retain(|known| known != text));
            }
            Self::Prefer { rule } => {
                let rules = spec.swarmr.iter_mut().flat_map(|extension| {
                    extension
                        .affinities
                        .iter_mut()
                        .chain(&mut extension.anti_affinities)
                });
                for known in rules.filter(|known| known.to_string() == *rule) {
                    known.strength = Strength::Preferred;
                }
            }
            Self::FreePort { protocol, port, .. } => {
                usage.host_ports.remove(&(*protocol, *port));
            }
            Self::FreeCpus { nano } => usage.nano_cpus -= nano,
            Self::FreeMemory { bytes } => usage.memory_bytes -= bytes,
            Self::Free { kind, .. } => usage.taken.forget(kind),
            Self::AddPlugin { kind, name } => {
                let plugin = ((*kind).to_owned(), name.clone());
                node.description.plugins.push(plugin);
            }
            Self::UseImageFor { os, architecture } => placement(spec, &|it| {
                it.platforms.push(Platform {
                    architecture: architecture.clone(),
                    os: os.clone(),
                });
            }),
        }
    }
}

/// The changes that clear a node's obstacles; `None` where they do not.
pub(super) fn of(
    state: &State,
    spec: &ServiceSpec,
    node: &Node,
    usage: &Usage,
    own: u64,
    found: &[Obstacle],
    neighbours: &dyn Fn(&ServiceSpec, &Node) -> bool,
) -> Option<Remedy> {
    let mut fixes = found
        .iter()
        .map(|obstacle| Fix::of(obstacle, node, state))
        .collect::<Option<Vec<Fix>>>()?;
    fixes.sort();
    fixes.dedup();
    let (mut spec, mut changed, mut usage) = (spec.clone(), node.clone(), usage.clone());
    for fix in &fixes {
        fix.apply(&mut spec, &mut changed, &mut usage);
    }
    let none = Neighbours::default();
    let left = obstacles::of(&Needs::of(&spec), &none, &changed, &usage, own);
    (left.is_empty() && neighbours(&spec, &changed)).then(|| Remedy {
        node: node.description.hostname.clone(),
        fixes,
    })
}

fn reservations(spec: &mut ServiceSpec) -> &mut Resources {
    let resources = spec.task_template.resources.get_or_insert_default();
    resources.reservations.get_or_insert_default()
}

/// The label that meets `node.labels.KEY==VALUE`.
fn label_of(text: &str) -> Option<(String, String)> {
    let constraint: Constraint = text.parse().ok()?;
    let text = constraint.to_string();
    let (key, value) = text.strip_prefix("node.labels.")?.split_once("==")?;
    Some((key.to_owned(), value.to_owned()))
}

/// The task that has a port of a node.
fn holder_of(state: &State, node: &Node, port: (Protocol, u16)) -> Option<String> {
    let holder = state
        .tasks_on(node.id)
        .find(|task| task.occupies_node() && task.reserved.host_ports.contains(&port))?;
    Some(name_of(state, holder))
}

/// What a node has, but has given to another task.
fn free(shortage: &Shortage, node: &Node, state: &State) -> Option<Fix> {
    let (what, kind) = match shortage {
        Shortage::Generic { kind, .. } | Shortage::Devices { kind, .. } => {
            (kind.clone(), kind.clone())
        }
        Shortage::Named { kind, name, .. } => (format!("{kind}={name}"), kind.clone()),
        Shortage::Device { name, .. } => {
            let mut devices = node.description.devices.iter();
            let device = devices.find(|device| {
                device.path == *name || format!("{}={}", device.kind, device.id) == *name
            })?;
            (name.clone(), device.kind.clone())
        }
    };
    let holder = state.tasks_on(node.id).find(|task| {
        let has = |claims: &Claims| {
            claims
                .generic
                .iter()
                .any(|resource| resource.kind() == kind)
                || claims.devices.iter().any(|device| device.kind == kind)
        };
        task.occupies_node() && task.claims.as_deref().is_some_and(has)
    })?;
    Some(Fix::Free {
        what,
        kind,
        holder: name_of(state, holder),
    })
}

fn name_of(state: &State, task: &Task) -> String {
    let service = state.service(task.service);
    let name = service.map_or("a service that is being removed", |service| service.name());
    format!("{name}.{}", task.slot)
}
