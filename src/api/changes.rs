//! What happened between two states, as Docker's events tell it. Pure; called by `events` for every
//! state that is published.

use std::cmp::Ordering;
use std::sync::Arc;

use super::wire::{Actor, Event};
use crate::spec::service::Labels;
use crate::spec::{ConfigId, NetworkId, NodeId, ServiceId, Timestamp};
use crate::state::{Config, Named, Network, Node, Service, State};

/// What changed between two states, objects of one kind in the order of their ids.
pub(super) fn differences(former: &State, state: &State, now: Timestamp) -> Vec<Event> {
    let cluster = |state: &State| state.cluster().map(|cluster| cluster.id);
    // Entering or leaving a cluster is no change of it.
    if cluster(former) != cluster(state) {
        return Vec::new();
    }
    let mut events = Vec::new();
    compare(former.nodes(), state.nodes(), now, &mut events);
    compare(former.networks(), state.networks(), now, &mut events);
    compare(former.configs(), state.configs(), now, &mut events);
    compare(former.services(), state.services(), now, &mut events);
    events
}

/// What events need of an object.
trait Observed: Named {
    type Id: Ord;
    fn id(&self) -> Self::Id;
    fn kind(&self) -> &'static str;
    fn written(&self) -> (u64, Timestamp);
    /// What an update changed, beside the name.
    fn changes(&self, former: &Self) -> Labels;
}

/// Walks two tables in the order of their ids. Objects that are the same allocation are unchanged,
/// so that a pass costs little more than the walk.
fn compare<'a, T: Observed + 'a>(
    former: impl Iterator<Item = &'a Arc<T>>,
    current: impl Iterator<Item = &'a Arc<T>>,
    now: Timestamp,
    events: &mut Vec<Event>,
) {
    let (mut former, mut current) = (former.peekable(), current.peekable());
    loop {
        let order = match (former.peek(), current.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.id().cmp(&new.id()),
        };
        let old = if order.is_le() { former.next() } else { None };
        let new = if order.is_ge() { current.next() } else { None };
        match (old, new) {
            (Some(old), None) => events.push(event(&**old, "remove", now, Labels::new())),
            (None, Some(new)) => {
                events.push(event(&**new, "create", new.written().1, Labels::new()));
            }
            (Some(old), Some(new))
                if !Arc::ptr_eq(old, new) && old.written().0 != new.written().0 =>
            {
                events.push(event(&**new, "update", new.written().1, new.changes(old)));
            }
            _ => {}
        }
    }
}

fn event<T: Observed>(object: &T, action: &str, at: Timestamp, mut attributes: Labels) -> Event {
    attributes.insert("name".to_owned(), object.name_text().to_owned());
    Event {
        kind: object.kind().to_owned(),
        action: action.to_owned(),
        actor: Actor {
            id: object.id_text(),
            attributes,
        },
        scope: "swarm".to_owned(),
        time: at.0.div_euclid(1_000_000_000),
        time_nano: at.0,
    }
}

/// Notes `key.old` and `key.new` where they differ; an empty side is left out.
fn note(changes: &mut Labels, key: &str, old: &str, new: &str) {
    if old == new {
        return;
    }
    for (side, value) in [("old", old), ("new", new)] {
        if !value.is_empty() {
            changes.insert(format!("{key}.{side}"), value.to_owned());
        }
    }
}

/// A value as the API spells it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

impl Observed for Node {
    type Id = NodeId;
    fn id(&self) -> Self::Id {
        self.id
    }
    fn kind(&self) -> &'static str {
        "node"
    }
    fn written(&self) -> (u64, Timestamp) {
        (self.meta.version, self.meta.updated_at)
    }
    fn changes(&self, former: &Self) -> Labels {
        let mut changes = Labels::new();
        note(
            &mut changes,
            "availability",
            &former.spec.availability.to_string(),
            &self.spec.availability.to_string(),
        );
        note(
            &mut changes,
            "role",
            &former.spec.role.to_string(),
            &self.spec.role.to_string(),
        );
        note(
            &mut changes,
            "state",
            &word(&former.status.state),
            &word(&self.status.state),
        );
        changes
    }
}

impl Observed for Service {
    type Id = ServiceId;
    fn id(&self) -> Self::Id {
        self.id
    }
    fn kind(&self) -> &'static str {
        "service"
    }
    fn written(&self) -> (u64, Timestamp) {
        (self.meta.version, self.meta.updated_at)
    }
    fn changes(&self, former: &Self) -> Labels {
        let mut changes = Labels::new();
        let replicas = |service: &Self| {
            service
                .spec
                .replicas()
                .map(|replicas| replicas.to_string())
                .unwrap_or_default()
        };
        note(&mut changes, "replicas", &replicas(former), &replicas(self));
        note(
            &mut changes,
            "image",
            &former.spec.task_template.container_spec.image,
            &self.spec.task_template.container_spec.image,
        );
        let update = |service: &Self| {
            service
                .rollout
                .as_ref()
                .map(|rollout| word(&rollout.shown_state()))
                .unwrap_or_default()
        };
        note(&mut changes, "updatestate", &update(former), &update(self));
        changes
    }
}

impl Observed for Network {
    type Id = NetworkId;
    fn id(&self) -> Self::Id {
        self.id
    }
    fn kind(&self) -> &'static str {
        "network"
    }
    fn written(&self) -> (u64, Timestamp) {
        (self.meta.version, self.meta.updated_at)
    }
    fn changes(&self, _: &Self) -> Labels {
        Labels::new()
    }
}

impl Observed for Config {
    type Id = ConfigId;
    fn id(&self) -> Self::Id {
        self.id
    }
    fn kind(&self) -> &'static str {
        "config"
    }
    fn written(&self) -> (u64, Timestamp) {
        (self.meta.version, self.meta.updated_at)
    }
    fn changes(&self, _: &Self) -> Labels {
        Labels::new()
    }
}
