//! What must hold of every state. Used by tests and simulations after every command, and by the
//! daemon to tell a broken state from a healthy one before it goes on with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::network::Holder;
use super::task::{DesiredState, Slot};
use super::{Network, Service, State, Task};
use crate::spec::service::PublishMode;
use crate::spec::{NetworkId, ServiceId};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The object, as a person finds it.
    pub object: String,
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.problem)
    }
}

/// What `apply` must keep true whatever commands it is given. Empty for a sound state.
pub fn check(state: &State) -> Vec<Violation> {
    let mut found = Found::default();
    indexes(state, &mut found);
    for service in state.services.values() {
        specs(service, &mut found);
    }
    for (id, service) in &state.departed {
        let leaving = !state.services.contains_key(id) && state.tasks_of(*id).next().is_some();
        found.unless(leaving, format!("service {}", service.name()), || {
            "is kept for tasks that are gone".to_owned()
        });
    }
    for task in state.tasks.iter() {
        task_is_sound(state, task, &mut found);
    }
    ports(state, &mut found);
    let networks: Vec<_> = state.networks.values().collect();
    for (place, network) in networks.iter().enumerate() {
        addresses(state, network, &mut found);
        for other in &networks[..place] {
            let apart = !network.subnet.overlaps(&other.subnet) && network.vni != other.vni;
            found.unless(apart, named(network), || {
                format!("shares its subnet or VNI with {}", other.name())
            });
        }
    }
    members(state, &mut found);
    found.violations
}

/// What the planner must keep true besides: once it has come to rest, each slot has one task that
/// is wanted running, or two while one takes the other's place: of different specs, or in a move.
pub fn check_slots(state: &State) -> Vec<Violation> {
    let mut found = Found::default();
    let mut slots: BTreeMap<(ServiceId, Slot), Vec<&Task>> = BTreeMap::new();
    for task in state.tasks.iter() {
        if task.desired == DesiredState::Running && !task.has_ended() {
            slots
                .entry((task.service, task.slot))
                .or_default()
                .push(task);
        }
        if let Some(node) = task.node {
            let known = state.nodes.contains_key(&node) || task.has_ended();
            found.unless(known, Object("task", task.id), || {
                format!("is on node {node}, which does not exist")
            });
        }
    }
    for ((service, slot), tasks) in slots {
        let versions: BTreeSet<u64> = tasks.iter().map(|task| task.spec_version).collect();
        let moves = tasks.iter().any(|task| task.in_move);
        let sound = tasks.len() <= 2 && (moves || versions.len() == tasks.len());
        found.unless(sound, Object("service", service), || {
            format!("slot {slot} has {} running tasks", tasks.len())
        });
    }
    found.violations
}

#[derive(Debug, Default)]
struct Found {
    violations: Vec<Violation>,
}

impl Found {
    fn unless(&mut self, holds: bool, object: impl fmt::Display, problem: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation {
                object: object.to_string(),
                problem: problem(),
            });
        }
    }
}

/// A kind and a name, written only when there is something to say.
#[derive(Debug, Clone, Copy)]
struct Object<T>(&'static str, T);

impl<T: fmt::Display> fmt::Display for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

fn named(network: &Network) -> Object<&str> {
    Object("network", network.name())
}

/// The indexes say what the tables say.
fn indexes(state: &State, found: &mut Found) {
    let mut fresh = state.clone();
    fresh.rebuild_indexes();
    let mut same = |holds: bool, index: &str| {
        found.unless(holds, "the state", || format!("index {index} is wrong"));
    };
    same(fresh.tasks == state.tasks, "tasks");
    same(fresh.drained == state.drained, "drained");
    same(fresh.down == state.down, "down");
    same(fresh.keeping_near == state.keeping_near, "keeping_near");
    same(fresh.keeping_apart == state.keeping_apart, "keeping_apart");
    same(fresh.service_names == state.service_names, "service_names");
    same(fresh.balanced == state.balanced, "balanced");
    same(fresh.dependents == state.dependents, "dependents");
    same(fresh.network_names == state.network_names, "network_names");
    same(fresh.config_names == state.config_names, "config_names");
}

fn specs(service: &Service, found: &mut Found) {
    let current = service.spec_at(service.spec_version);
    found.unless(
        current == Some(&service.spec),
        Object("service", service.name()),
        || "its current spec is not among its specs".to_owned(),
    );
}

fn task_is_sound(state: &State, task: &Task, found: &mut Found) {
    let object = Object("task", task.id);
    let is_family = task.id.family() == task.service.family();
    found.unless(is_family, object, || {
        format!("has an id as no task of service {} has", task.service)
    });
    match state.service(task.service) {
        Some(service) => found.unless(service.spec_at(task.spec_version).is_some(), object, || {
            format!("runs version {}, which is forgotten", task.spec_version)
        }),
        None => found.unless(task.desired == DesiredState::Remove, object, || {
            "is wanted, but its service is gone".to_owned()
        }),
    }
    found.unless(
        task.node.is_some() || task.attachments.is_empty(),
        object,
        || "has addresses but no node".to_owned(),
    );
    if task.has_ended() {
        return;
    }
    for attachment in &task.attachments {
        let network = state.network(attachment.network);
        let holder = network.and_then(|network| {
            let offset = network.subnet.offset(attachment.address)?;
            network.held.get(&offset).copied()
        });
        found.unless(holder == Some(Holder::Task(task.id)), object, || {
            format!("has address {}, which is not its own", attachment.address)
        });
        let reached = task.node.is_some_and(|node| {
            !state.nodes.contains_key(&node)
                || network.is_some_and(|network| network.gateway(node).is_some())
        });
        found.unless(reached, object, || {
            format!("its node takes no part in network {}", attachment.network)
        });
    }
}

/// Whoever holds an address exists and knows of it.
fn addresses(state: &State, network: &Network, found: &mut Found) {
    for (offset, holder) in &network.held {
        let Some(address) = network.subnet.host(*offset) else {
            found.unless(false, named(network), || {
                format!("offset {offset} is outside of {}", network.subnet)
            });
            continue;
        };
        let known = match holder {
            Holder::Gateway(node) => state.nodes.contains_key(node),
            Holder::Service(service) => state.service(*service).is_some_and(|service| {
                service.endpoint.virtual_addresses.get(&network.id) == Some(&address)
            }),
            Holder::Task(task) => state.task(*task).is_some_and(|task| {
                !task.has_ended() && attached(task, network.id) == Some(address)
            }),
            Holder::Reserved => true,
        };
        found.unless(known, named(network), || {
            format!("{address} is held by {holder:?}, which does not know of it")
        });
    }
    for service in state.services.values() {
        let Some(address) = service.endpoint.virtual_addresses.get(&network.id) else {
            continue;
        };
        let holder = network
            .subnet
            .offset(*address)
            .and_then(|offset| network.held.get(&offset));
        found.unless(
            holder == Some(&Holder::Service(service.id)),
            Object("service", service.name()),
            || format!("has virtual address {address}, which is not its own"),
        );
    }
}

fn attached(task: &Task, network: NetworkId) -> Option<std::net::Ipv4Addr> {
    task.attachments
        .iter()
        .find(|attachment| attachment.network == network)
        .map(|attachment| attachment.address)
}

/// No port of the routing mesh is published twice, in whatever mode.
fn ports(state: &State, found: &mut Found) {
    let mut meshed = BTreeMap::new();
    let mut on_hosts = BTreeSet::new();
    for service in state.services.values() {
        for port in &service.endpoint.ports {
            let key = (port.protocol, port.published_port);
            if port.publish_mode == PublishMode::Host {
                on_hosts.insert(key);
                continue;
            }
            let former = meshed.insert(key, service.id);
            found.unless(
                former.is_none() && port.published_port != 0,
                Object("service", service.name()),
                || format!("published port {} is not its own", port.published_port),
            );
        }
    }
    for (protocol, port) in on_hosts {
        let clash = port != 0 && meshed.contains_key(&(protocol, port));
        found.unless(!clash, "the state", || {
            format!("port {port} is published on hosts and in the mesh")
        });
    }
}

fn members(state: &State, found: &mut Found) {
    let mut raft_ids = BTreeSet::new();
    for node in state.nodes.values() {
        if let Some(member) = node.member {
            found.unless(
                raft_ids.insert(member.raft_id),
                Object("node", node.id),
                || format!("shares Raft id {}", member.raft_id),
            );
        }
    }
}
