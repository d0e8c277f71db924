//! What a spec asks of a node's generic resources and devices, and what meets it.

use std::collections::BTreeSet;
use std::fmt;

use super::{ClaimedDevice, Claims, Taken};
use crate::spec::ServiceSpec;
use crate::spec::device::{Device, DeviceMapping, DeviceRequest};
use crate::spec::generic::GenericResource;
use crate::state::node::NodeDescription;

/// What a task of a spec needs one by one. Empty for most.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    generic: &'a [GenericResource],
    mappings: &'a [DeviceMapping],
    requests: &'a [DeviceRequest],
}

/// What a node lacks of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// Fewer are free than asked for.
    Generic { kind: String, asked: i64, free: i64 },
    /// The one that is asked for by name is taken, or not there.
    Named {
        kind: String,
        name: String,
        exists: bool,
    },
    /// Fewer devices are free than asked for; all of them are asked for where `asked` is `None`.
    Devices {
        kind: String,
        asked: Option<usize>,
        free: usize,
    },
    /// The device that is asked for is taken, or not there.
    Device { name: String, exists: bool },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |exists: bool| if exists { "is taken" } else { "is not there" };
        match self {
            Self::Generic { kind, asked, free } => {
                write!(f, "{kind}: {asked} asked for, {free} free")
            }
            Self::Named { kind, name, exists } => write!(f, "{kind}={name} {}", state(*exists)),
            Self::Devices {
                kind,
                asked: Some(asked),
                free,
            } => write!(f, "devices {kind}: {asked} asked for, {free} free"),
            Self::Devices {
                kind,
                asked: None,
                free,
            } => write!(f, "devices {kind}: all asked for, {free} free"),
            Self::Device { name, exists } => write!(f, "device {name} {}", state(*exists)),
        }
    }
}

impl<'a> Ask<'a> {
    pub fn of(spec: &'a ServiceSpec) -> Self {
        let reservations = spec
            .task_template
            .resources
            .as_ref()
            .and_then(|resources| resources.reservations.as_ref());
        let extension = spec.swarmr.as_ref();
        Self {
            generic: reservations.map_or(&[], |resources| &resources.generic_resources),
            mappings: extension.map_or(&[], |extension| &extension.devices),
            requests: extension.map_or(&[], |extension| &extension.device_requests),
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.generic.is_empty() && self.mappings.is_empty() && self.requests.is_empty()
    }

    /// Whether a node has enough left.
    pub fn fits(&self, node: &NodeDescription, taken: &Taken) -> bool {
        self.is_empty() || self.claim(node, taken).is_ok()
    }

    /// What a task would be given on a node: always the first that are free, in the node's own
    /// order. Else everything that is missing.
    pub fn claim(&self, node: &NodeDescription, taken: &Taken) -> Result<Claims, Vec<Shortage>> {
        if self.is_empty() {
            return Ok(Claims::default());
        }
        let mut giving = Giving {
            node,
            taken,
            claims: Claims::default(),
            given: BTreeSet::new(),
            short: Vec::new(),
        };
        // What is asked for by name goes first: what is merely counted can be any other.
        for resource in self.generic {
            if let GenericResource::Named(named) = resource {
                giving.name(&named.kind, &named.value, resource);
            }
        }
        for resource in self.generic {
            if let GenericResource::Discrete(discrete) = resource {
                giving.count(&discrete.kind, discrete.value);
            }
        }
        for mapping in self.mappings {
            giving.map(mapping);
        }
        let by_id = |request: &DeviceRequest| !request.device_ids.is_empty();
        for chosen in [true, false] {
            for (place, request) in self.requests.iter().enumerate() {
                if by_id(request) == chosen {
                    giving.request(place, request);
                }
            }
        }
        if giving.short.is_empty() {
            giving.claims.devices.sort_by_key(|device| device.request);
            Ok(giving.claims)
        } else {
            Err(giving.short)
        }
    }
}

struct Giving<'a> {
    node: &'a NodeDescription,
    taken: &'a Taken,
    claims: Claims,
    /// Devices of `claims`, by kind and id.
    given: BTreeSet<(&'a str, &'a str)>,
    short: Vec<Shortage>,
}

impl<'a> Giving<'a> {
    fn name(&mut self, kind: &str, name: &str, resource: &GenericResource) {
        let exists = self.node.generic_resources.contains(resource);
        if exists && self.is_free(kind, name, resource) {
            self.claims.generic.push(resource.clone());
        } else {
            self.short.push(Shortage::Named {
                kind: kind.to_owned(),
                name: name.to_owned(),
                exists,
            });
        }
    }

    fn is_free(&self, kind: &str, name: &str, resource: &GenericResource) -> bool {
        !self.taken.has_name(kind, name) && !self.claims.generic.contains(resource)
    }

    /// A node has a kind by names or by number.
    fn count(&mut self, kind: &str, asked: i64) {
        let named: Vec<GenericResource> = self
            .node
            .generic_resources
            .iter()
            .filter(|resource| match resource {
                GenericResource::Named(named) => {
                    named.kind == kind && self.is_free(kind, &named.value, resource)
                }
                GenericResource::Discrete(_) => false,
            })
            .cloned()
            .collect();
        let counted = self.node.count_of(kind) - self.taken.count(kind) - self.counted(kind);
        let names = i64::try_from(named.len()).unwrap_or(i64::MAX);
        if counted >= asked {
            let given = GenericResource::discrete(kind, asked);
            self.claims.generic.push(given);
        } else if names >= asked {
            let wanted = usize::try_from(asked).unwrap_or(0);
            self.claims.generic.extend(named.into_iter().take(wanted));
        } else {
            self.short.push(Shortage::Generic {
                kind: kind.to_owned(),
                asked,
                free: counted.max(names).max(0),
            });
        }
    }

    /// What was given of a counted kind so far.
    fn counted(&self, kind: &str) -> i64 {
        let of_kind = self.claims.generic.iter().map(|given| match given {
            GenericResource::Discrete(discrete) if discrete.kind == kind => discrete.value,
            _ => 0,
        });
        of_kind.sum()
    }

    fn map(&mut self, mapping: &DeviceMapping) {
        let node = self.node;
        let covered = || node.devices.iter().filter(|device| mapping.covers(device));
        let exists = covered().next().is_some();
        if !exists || !covered().all(|device| self.leaves(device)) {
            self.short.push(Shortage::Device {
                name: mapping.path_on_host.clone(),
                exists,
            });
            return;
        }
        for device in covered() {
            self.give(device, None);
        }
    }

    fn request(&mut self, place: usize, request: &DeviceRequest) {
        let node = self.node;
        let fitting = || {
            node.devices
                .iter()
                .filter(|device| request.may_take(device))
        };
        for id in &request.device_ids {
            match fitting().find(|device| device.id == *id) {
                Some(device) if self.leaves(device) => self.give(device, Some(place)),
                found => self.short.push(Shortage::Device {
                    name: format!("{}={id}", request.kind()),
                    exists: found.is_some(),
                }),
            }
        }
        if !request.device_ids.is_empty() {
            return;
        }
        let free: Vec<&'a Device> = fitting().filter(|device| self.leaves(device)).collect();
        let all = fitting().count();
        // All of none would be nothing, which nobody asks for.
        let asked = usize::try_from(request.count).ok();
        let wanted = asked.unwrap_or_else(|| all.max(1));
        if free.len() < wanted {
            self.short.push(Shortage::Devices {
                kind: request.kind().to_owned(),
                asked,
                free: free.len(),
            });
            return;
        }
        for device in free.into_iter().take(wanted) {
            self.give(device, Some(place));
        }
    }

    fn leaves(&self, device: &Device) -> bool {
        self.taken.leaves(device)
            && (device.shared
                || !self
                    .given
                    .contains(&(device.kind.as_str(), device.id.as_str())))
    }

    fn give(&mut self, device: &'a Device, request: Option<usize>) {
        self.given.insert((&device.kind, &device.id));
        self.claims.devices.push(ClaimedDevice {
            kind: device.kind.clone(),
            id: device.id.clone(),
            request,
        });
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
