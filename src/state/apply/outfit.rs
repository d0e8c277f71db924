//! Giving tasks their places: what they take up of a node, and their addresses.

use std::sync::Arc;

use crate::spec::{NetworkId, NodeId, ServiceId, TaskId, Timestamp};
use crate::state::claims::{Ask, Claims};
use crate::state::task::{Attachment, TaskState};
use crate::state::usage::Reserved;
use crate::state::{Service, State, Task};

/// What tasks of one spec of a service get: the same for all that a plan makes.
#[derive(Debug)]
pub(super) struct Outfit {
    pub(super) service: Arc<Service>,
    pub(super) spec_version: u64,
    reserved: Reserved,
    networks: Vec<NetworkId>,
    /// Whether they ask for generic resources or devices.
    asks: bool,
}

/// What one task got with its node.
#[derive(Debug)]
pub(super) struct Given {
    node: NodeId,
    attachments: Box<[Attachment]>,
    reserved: Reserved,
    claims: Option<Box<Claims>>,
}

/// Why a task is not put on a node.
#[derive(Debug)]
pub(super) enum Refused {
    /// The node takes no tasks, or has not what this one asks for.
    NoRoom,
    AddressesExhausted(NetworkId),
}

impl State {
    /// Works out what tasks of a service's spec get, unless that is known.
    pub(super) fn fit_out(
        &self,
        outfit: &mut Option<Outfit>,
        service: ServiceId,
        spec_version: u64,
    ) {
        let known = outfit.as_ref().is_some_and(|outfit| {
            (outfit.service.id, outfit.spec_version) == (service, spec_version)
        });
        if known {
            return;
        }
        *outfit = self.services.get(&service).and_then(|service| {
            let spec = service.specs.get(&spec_version)?;
            Some(Outfit {
                service: service.clone(),
                spec_version,
                reserved: Reserved::of(spec),
                networks: self.networks_of(spec),
                asks: !Ask::of(spec).is_empty(),
            })
        });
    }

    /// What a task gets on a node, which it holds from now on.
    pub(super) fn give(
        &mut self,
        id: TaskId,
        node: NodeId,
        outfit: &Outfit,
    ) -> Result<Given, Refused> {
        let on = self.nodes.get(&node).filter(|node| node.takes_tasks());
        let on = on.ok_or(Refused::NoRoom)?;
        let spec = outfit.service.specs.get(&outfit.spec_version);
        let claims = match spec.filter(|_| outfit.asks) {
            Some(spec) => {
                let claims = Ask::of(spec).claim(&on.description, &self.usage(node).taken);
                Some(Box::new(claims.map_err(|_| Refused::NoRoom)?))
            }
            None => None,
        };
        let attachments = self
            .allocate_task(id, node, &outfit.networks)
            .map_err(Refused::AddressesExhausted)?
            .into();
        Ok(Given {
            node,
            attachments,
            reserved: outfit.reserved.clone(),
            claims,
        })
    }
}

/// Puts a task on its node with what it got there.
pub(super) fn put_on(task: &mut Task, at: Timestamp, given: Given) {
    task.node = Some(given.node);
    task.attachments = given.attachments;
    task.reserved = given.reserved;
    task.claims = given.claims;
    task.waiting = None;
    task.status.state = TaskState::Assigned;
    task.status.at = at;
    task.status.applied_at = at;
    task.status.message = "scheduler assigned task to node".into();
}
