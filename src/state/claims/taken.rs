//! What the tasks of one node have of its generic resources and devices together.

use std::collections::BTreeMap;

use super::Claims;
use crate::spec::device::Device;
use crate::spec::generic::GenericResource;
use crate::state::node::NodeDescription;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// Of each kind that is counted, how many.
    counts: BTreeMap<String, i64>,
    /// Kind and name, and how many tasks have it.
    names: BTreeMap<(String, String), u32>,
    /// Kind and id, and how many tasks have it.
    devices: BTreeMap<(String, String), u32>,
}

impl Taken {
    pub(in crate::state) const NONE: Self = Self {
        counts: BTreeMap::new(),
        names: BTreeMap::new(),
        devices: BTreeMap::new(),
    };

    pub fn add(&mut self, claims: &Claims) {
        for resource in &claims.generic {
            match resource {
                GenericResource::Named(named) => {
                    let key = (named.kind.clone(), named.value.clone());
                    *self.names.entry(key).or_default() += 1;
                }
                GenericResource::Discrete(discrete) => {
                    *self.counts.entry(discrete.kind.clone()).or_default() += discrete.value;
                }
            }
        }
        for device in &claims.devices {
            let key = (device.kind.clone(), device.id.clone());
            *self.devices.entry(key).or_default() += 1;
        }
    }

    pub fn remove(&mut self, claims: &Claims) {
        for resource in &claims.generic {
            match resource {
                GenericResource::Named(named) => {
                    lessen(&mut self.names, &(named.kind.clone(), named.value.clone()));
                }
                GenericResource::Discrete(discrete) => {
                    let left = self.count(&discrete.kind) - discrete.value;
                    if left > 0 {
                        self.counts.insert(discrete.kind.clone(), left);
                    } else {
                        self.counts.remove(&discrete.kind);
                    }
                }
            }
        }
        for device in &claims.devices {
            lessen(&mut self.devices, &(device.kind.clone(), device.id.clone()));
        }
    }

    /// As if no task had anything of that kind.
    pub fn forget(&mut self, kind: &str) {
        self.counts.remove(kind);
        self.names.retain(|(known, _), _| known != kind);
        self.devices.retain(|(known, _), _| known != kind);
    }

    /// How many of a counted kind are taken.
    pub fn count(&self, kind: &str) -> i64 {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    pub fn has_name(&self, kind: &str, name: &str) -> bool {
        self.names.contains_key(&(kind.to_owned(), name.to_owned()))
    }

    /// Whether a task may still be given that device.
    pub fn leaves(&self, device: &Device) -> bool {
        device.shared
            || !self
                .devices
                .contains_key(&(device.kind.clone(), device.id.clone()))
    }

    /// What a task has that its node does not, or that too many have.
    pub fn exceeds(&self, claims: &Claims, node: &NodeDescription) -> bool {
        claims.generic.iter().any(|resource| match resource {
            GenericResource::Named(named) => {
                let key = (named.kind.clone(), named.value.clone());
                !node.generic_resources.contains(resource)
                    || self.names.get(&key).is_some_and(|tasks| *tasks > 1)
            }
            GenericResource::Discrete(discrete) => {
                self.count(&discrete.kind) > node.count_of(&discrete.kind)
            }
        }) || claims.devices.iter().any(|claimed| {
            let device = node
                .devices
                .iter()
                .find(|device| device.kind == claimed.kind && device.id == claimed.id);
            let key = (claimed.kind.clone(), claimed.id.clone());
            let shared_by = self.devices.get(&key).copied().unwrap_or(0);
            device.is_none_or(|device| !device.shared && shared_by > 1)
        })
    }
}

fn lessen(counts: &mut BTreeMap<(String, String), u32>, key: &(String, String)) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
