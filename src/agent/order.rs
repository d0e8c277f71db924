//! What one task's worker is told: its part of the assignment, complete in itself. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::spec::ContainerSpec;
use crate::spec::extension::init::InitContainer;
use crate::spec::generic::GenericResource;
use crate::spec::service::{PortConfig, Protocol, PublishMode};
use crate::spec::{ClusterId, NetworkId, NodeId, ServiceSpec, TaskId};
use crate::state::assignment::{
    AssignedDevice, AssignedNetwork, AssignedSpec, Assignment, Stamp, Want,
};
use crate::state::task::Slot;

/// Between a task's name and the number of its init container, in that one's name.
const INIT: &str = ".init-";

/// How many init containers had completed when a container of that name was made; the greatest
/// number for a task's own container.
pub(super) fn stage_of(name: &str) -> u32 {
    name.rsplit_once(INIT)
        .and_then(|(_, place)| place.parse::<u32>().ok())
        .and_then(|place| place.checked_sub(1))
        .unwrap_or(u32::MAX)
}

/// What is wanted of a task's container.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    Assigned(Arc<Order>),
    /// The managers have forgotten the task: nothing of it may stay.
    Gone,
}

impl Wanted {
    pub(super) fn want(&self) -> Option<Want> {
        match self {
            Self::Assigned(order) => Some(order.want),
            Self::Gone => None,
        }
    }
}

/// One task as this node is to run it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) hostname: String,
    pub(super) task: TaskId,
    pub(super) service: crate::spec::ServiceId,
    pub(super) slot: Slot,
    pub(super) want: Want,
    pub(super) spec: Arc<ServiceSpec>,
    pub(super) host_ports: Vec<PortConfig>,
    pub(super) networks: Vec<OrderNetwork>,
    pub(super) resources: Vec<GenericResource>,
    pub(super) devices: Vec<AssignedDevice>,
    /// The assignment that brought the task: it does not start before the node's tables are as
    /// new as this.
    pub(super) since: Stamp,
}

/// A task's place on one network of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderNetwork {
    pub(super) id: NetworkId,
    pub(super) engine_name: String,
    pub(super) address: Ipv4Addr,
    pub(super) gateway: Ipv4Addr,
    pub(super) internal: bool,
}

impl Order {
    /// Docker's name for a task, and the name of its container.
    pub(super) fn task_name(&self) -> String {
        format!("{}.{}.{}", self.spec.name, self.slot, self.task)
    }

    /// What runs before the task's container.
    pub(super) fn inits(&self) -> &[InitContainer] {
        let extension = self.spec.swarmr.as_ref();
        extension.map_or(&[], |extension| &extension.init_containers)
    }

    /// The init container whose turn it is after so many; none when it is the task's own container's.
    pub(super) fn init_at(&self, stage: u32) -> Option<&InitContainer> {
        self.inits().get(usize::try_from(stage).ok()?)
    }

    /// The container that runs after so many init containers, before placeholders are replaced.
    pub(super) fn container_at(&self, stage: u32) -> ContainerSpec {
        let own = &self.spec.task_template.container_spec;
        self.init_at(stage)
            .map_or_else(|| own.clone(), |init| init.container(own))
    }

    /// Its name.
    pub(super) fn container_name(&self, stage: u32) -> String {
        let name = self.task_name();
        match self.init_at(stage) {
            None => name,
            Some(_) => format!("{name}{INIT}{}", stage + 1),
        }
    }

    /// The container's TCP ports that every node publishes.
    pub(super) fn published_ports(&self) -> impl Iterator<Item = u16> + '_ {
        let ports = self.spec.ports().iter().filter(|port| {
            port.protocol == Protocol::Tcp && port.publish_mode == PublishMode::Ingress
        });
        ports.map(|port| port.target_port)
    }
}

/// The orders of an assignment, by task. A task whose spec is missing from it is left out.
pub(super) fn orders(
    assignment: &Assignment,
    since: impl Fn(TaskId) -> Stamp,
) -> BTreeMap<TaskId, Order> {
    let specs: BTreeMap<_, &AssignedSpec> = assignment
        .specs
        .iter()
        .map(|spec| ((spec.service, spec.spec_version), spec))
        .collect();
    let networks: BTreeMap<NetworkId, &AssignedNetwork> = assignment
        .networks
        .iter()
        .map(|network| (network.id, network))
        .collect();
    assignment
        .tasks
        .iter()
        .filter_map(|task| {
            let spec = specs.get(&(task.service, task.spec_version))?;
            let networks = task
                .attachments
                .iter()
                .map(|attachment| {
                    let network = networks.get(&attachment.network);
                    OrderNetwork {
                        id: attachment.network,
                        engine_name: network.map_or_else(String::new, |network| {
                            engine_name(&network.name, network.id, network.internal)
                        }),
                        address: attachment.address,
                        gateway: network.map_or(Ipv4Addr::UNSPECIFIED, |network| network.gateway),
                        internal: network.is_some_and(|network| network.internal),
                    }
                })
                .collect();
            let order = Order {
                cluster: assignment.cluster,
                node: assignment.node,
                hostname: assignment.hostname.clone(),
                task: task.id,
                service: task.service,
                slot: task.slot,
                want: task.want,
                spec: spec.spec.clone(),
                host_ports: spec.host_ports.clone(),
                networks,
                resources: task.resources.clone(),
                devices: task.devices.clone(),
                since: since(task.id),
            };
            Some((task.id, order))
        })
        .collect()
}

/// Characters of a network's id that name its bridge and its engine network.
const ID_PREFIX: usize = 10;

/// The engine's name for the network that carries an overlay on this node.
///
/// The overlay's name is in it for whoever reads `docker network ls`, a part of its id keeps it
/// from clashing with a local network or with a former overlay of that name. Engines before API
/// 1.48 take a container's default route from the network whose name sorts first: `_` sorts after
/// `-`, so a network without a way out never gets it while there is another.
pub fn engine_name(name: &str, id: NetworkId, internal: bool) -> String {
    let mark = if internal { '_' } else { '-' };
    format!("swarmr{mark}{name}-{}", id_prefix(id))
}

/// The interface name of the bridge that carries an overlay: 14 characters of the 15 allowed.
pub fn bridge_name(id: NetworkId) -> String {
    format!("swr-{}", id_prefix(id))
}

fn id_prefix(id: NetworkId) -> String {
    let mut text = id.to_string();
    text.truncate(ID_PREFIX);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_name_tells_how_far_its_task_is() {
        assert_eq!(stage_of("web.1.abc"), u32::MAX);
        assert_eq!(stage_of("web.1.abc.init-1"), 0);
        assert_eq!(stage_of("web.1.abc.init-12"), 11);
    }

    #[test]
    fn names_of_engine_networks_fit_and_sort() {
        let id = NetworkId::from_bits(u128::MAX / 7);
        assert_eq!(bridge_name(id).len(), 14);
        assert!(engine_name("zeta", id, false) < engine_name("alpha", id, true));
    }
}
