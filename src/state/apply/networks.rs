//! Networks: making and removing them.

use std::sync::Arc;

use super::{Applied, not_found};
use crate::spec::{NetworkId, NetworkSpec, Timestamp};
use crate::state::State;
use crate::state::command::Reply;
use crate::state::network::Holder;
use crate::state::object::Meta;
use crate::state::rejected::{Kind, Rejected};

impl State {
    pub(super) fn create_network(
        &mut self,
        index: u64,
        at: Timestamp,
        id: NetworkId,
        spec: NetworkSpec,
    ) -> Applied {
        // Proposed again after its first answer was lost.
        if let Some(made) = self.networks.get(&id) {
            return Ok(Reply::Written {
                version: made.meta.version,
            });
        }
        if self.network_names.contains_key(&spec.name) {
            return Err(Rejected::NameTaken {
                kind: Kind::Network,
                name: spec.name,
            });
        }
        let network = self.new_network(id, spec, Meta::new(index, at))?;
        self.network_names.insert(network.spec.name.clone(), id);
        self.networks.insert(id, Arc::new(network));
        self.touched.everything(index);
        Ok(Reply::Written { version: index })
    }

    pub(super) fn remove_network(&mut self, id: NetworkId) -> Applied {
        let network = self
            .networks
            .get(&id)
            .ok_or_else(|| not_found(Kind::Network, &id))?;
        let user = self
            .services
            .values()
            .find(|service| self.networks_of(&service.spec).contains(&id))
            .map(|service| format!("service {}", service.name()))
            .or_else(|| {
                network.held.values().find_map(|holder| match holder {
                    Holder::Task(task) => Some(format!("task {task}")),
                    _ => None,
                })
            });
        if let Some(by) = user {
            return Err(Rejected::InUse {
                kind: Kind::Network,
                name: network.name().to_owned(),
                by,
            });
        }
        if let Some(network) = self.networks.remove(&id) {
            self.network_names.remove(&network.spec.name);
        }
        self.touched.everything(self.index);
        Ok(Reply::Done)
    }
}
