//! What changed lately: so that a look costs what changed and not what exists.

use imbl::{OrdMap, OrdSet};

use crate::spec::ServiceId;

/// Log indexes of the last change to each service, its tasks included, and to everything that
/// assignments are made of. Derived while applying; the same on every manager that applied the
/// same entries since its start.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    services: OrdMap<ServiceId, u64>,
    order: OrdSet<(u64, ServiceId)>,
    assignments: u64,
}

impl Touched {
    /// Services changed after that log index, each once.
    pub fn services_since(&self, index: u64) -> impl Iterator<Item = ServiceId> {
        let first = (index.saturating_add(1), ServiceId::from_bits(0));
        self.order.range(first..).map(|(_, service)| *service)
    }

    /// The log index of the last change that can show in any node's assignment.
    pub const fn assignments(&self) -> u64 {
        self.assignments
    }

    pub(super) fn service(&mut self, service: ServiceId, index: u64) {
        if self.services.get(&service) == Some(&index) {
            return;
        }
        if let Some(before) = self.services.insert(service, index) {
            self.order.remove(&(before, service));
        }
        self.order.insert((index, service));
        self.assignments = index;
    }

    pub(super) const fn everything(&mut self, index: u64) {
        self.assignments = index;
    }

    pub(super) fn forget(&mut self, service: ServiceId, index: u64) {
        if let Some(before) = self.services.remove(&service) {
            self.order.remove(&(before, service));
        }
        self.assignments = index;
    }
}
