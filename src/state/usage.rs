//! What tasks take up of their nodes. Derived from the tasks with every change, so that placing a
//! task never has to count the tasks of a node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Task;
use super::claims::{Claims, Taken};
use crate::spec::service::{Protocol, PublishMode};
use crate::spec::{NodeId, ServiceSpec};

/// What one task takes up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reserved {
    /// CPUs in units of 10^-9.
    pub nano_cpus: i64,
    pub memory_bytes: i64,
    /// Ports published on the node itself.
    pub host_ports: Box<[(Protocol, u16)]>,
}

impl Reserved {
    /// What a task of that spec takes up.
    pub fn of(spec: &ServiceSpec) -> Self {
        let reservations = spec.task_template.reservations();
        Self {
            nano_cpus: reservations.nano_cpus.max(0),
            memory_bytes: reservations.memory_bytes.max(0),
            host_ports: spec
                .ports()
                .iter()
                .filter(|port| port.publish_mode == PublishMode::Host && port.published_port != 0)
                .map(|port| (port.protocol, port.published_port))
                .collect(),
        }
    }
}

/// What the tasks of one node take up together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tasks that have not ended and are wanted.
    pub active: u64,
    /// Tasks that have not ended, wanted or not.
    pub present: u64,
    pub nano_cpus: i64,
    pub memory_bytes: i64,
    /// Ports of the node that tasks have, and how many tasks have each.
    pub host_ports: BTreeMap<(Protocol, u16), u32>,
    /// Generic resources and devices.
    pub taken: Taken,
}

/// The usage of a node without tasks.
pub(super) static NONE: Usage = Usage {
    active: 0,
    present: 0,
    nano_cpus: 0,
    memory_bytes: 0,
    host_ports: BTreeMap::new(),
    taken: Taken::NONE,
};

impl Usage {
    /// One task more.
    pub fn add(&mut self, reserved: &Reserved, claims: Option<&Claims>, active: bool) {
        self.active += u64::from(active);
        self.present += 1;
        self.nano_cpus = self.nano_cpus.saturating_add(reserved.nano_cpus);
        self.memory_bytes = self.memory_bytes.saturating_add(reserved.memory_bytes);
        for port in &reserved.host_ports {
            *self.host_ports.entry(*port).or_default() += 1;
        }
        if let Some(claims) = claims {
            self.taken.add(claims);
        }
    }

    /// One task less.
    pub fn remove(&mut self, reserved: &Reserved, claims: Option<&Claims>, active: bool) {
        self.active = self.active.saturating_sub(u64::from(active));
        self.present = self.present.saturating_sub(1);
        self.nano_cpus = self.nano_cpus.saturating_sub(reserved.nano_cpus);
        self.memory_bytes = self.memory_bytes.saturating_sub(reserved.memory_bytes);
        for port in &reserved.host_ports {
            if let Some(count) = self.host_ports.get_mut(port) {
                *count = count.saturating_sub(1);
            }
        }
        self.host_ports.retain(|_, count| *count > 0);
        if let Some(claims) = claims {
            self.taken.remove(claims);
        }
    }
}

/// A task's part in the usage of its node; none for a task that has ended or has no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) node: NodeId,
    pub(super) active: bool,
}

impl Share {
    pub(super) fn of(task: &Task) -> Option<Self> {
        (!task.has_ended()).then_some(())?;
        Some(Self {
            node: task.node?,
            active: task.is_wanted(),
        })
    }
}
