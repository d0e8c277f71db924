//! What a task waits for that starts after another service, and who depends on whom.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Service, State};
use crate::spec::extension::dependency::Condition;
use crate::spec::{ServiceId, ServiceSpec};

/// A dependency whose condition does not hold yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    pub service: String,
    pub condition: Condition,
    pub standing: Standing,
}

/// How far a service is that another waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// There is no such service yet.
    Missing,
    /// An update of it goes on; updates that follow it wait for the end.
    Updating,
    /// So many of so many tasks are as far as is asked.
    Tasks { reached: u64, wanted: u64 },
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service, condition, ..
        } = self;
        match self.standing {
            Standing::Missing => {
                write!(f, "waiting for service {service}, which does not exist yet")
            }
            Standing::Updating => write!(f, "waiting for the update of service {service}"),
            Standing::Tasks { reached, wanted } => write!(
                f,
                "waiting for service {service} to be {condition}: {reached} of {wanted} tasks are"
            ),
        }
    }
}

/// The names of the services that a spec depends on.
fn named(spec: &ServiceSpec) -> impl Iterator<Item = &str> {
    spec.swarmr
        .iter()
        .flat_map(|extension| &extension.depends_on)
        .map(|dependency| dependency.service.as_str())
}

impl State {
    /// The service of exactly that name.
    pub fn find_service_named(&self, name: &str) -> Option<&Service> {
        let id = self.service_names.get(name)?;
        self.services.get(id).map(AsRef::as_ref)
    }

    /// The services that depend on the one of that name.
    pub fn dependents_of(&self, name: &str) -> impl Iterator<Item = ServiceId> + '_ {
        let first = (name.to_owned(), ServiceId::from_bits(0));
        let last = (name.to_owned(), ServiceId::from_bits(u128::MAX));
        self.dependents.range(first..=last).map(|(_, id)| *id)
    }

    /// A circle that a spec would close, as names from the service back to itself.
    pub(super) fn dependency_circle(&self, spec: &ServiceSpec) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<Vec<String>> = vec![vec![spec.name.clone()]];
        while let Some(way) = ways.pop() {
            let last = way.last()?;
            let next: Vec<&str> = if way.len() == 1 {
                named(spec).collect()
            } else {
                let service = self.find_service_named(last);
                service.iter().flat_map(|it| named(&it.spec)).collect()
            };
            for name in next {
                let mut longer = way.clone();
                longer.push(name.to_owned());
                if name == spec.name {
                    return Some(longer);
                }
                if seen.insert(name.to_owned()) {
                    ways.push(longer);
                }
            }
        }
        None
    }

    /// Puts a service's dependencies into the index in place of its former ones.
    pub(super) fn index_dependencies(&mut self, id: ServiceId, former: Option<&ServiceSpec>) {
        for name in former.into_iter().flat_map(named) {
            self.dependents.remove(&(name.to_owned(), id));
        }
        let now = self.services.get(&id).cloned();
        for name in now.iter().flat_map(|service| named(&service.spec)) {
            self.dependents.insert((name.to_owned(), id));
        }
    }
}
