//! Finding an object by what a user typed: its id, its name, or the start of its id.

use super::State;
use super::object::Config;
use super::rejected::Kind;
use super::{Network, Node, Service, Task};
use crate::spec::{ServiceId, TaskId};
use std::sync::Arc;

/// Why a text names no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    #[error("{kind} {text} not found")]
    NotFound { kind: Kind, text: String },
    #[error("{kind} {text} is ambiguous ({matches} matches found); give more of the id")]
    Ambiguous {
        kind: Kind,
        text: String,
        matches: usize,
    },
}

/// An object that a user can name.
pub trait Named {
    const KIND: Kind;
    fn id_text(&self) -> String;
    fn name_text(&self) -> &str;
}

impl Named for Node {
    const KIND: Kind = Kind::Node;
    fn id_text(&self) -> String {
        self.id.to_string()
    }
    fn name_text(&self) -> &str {
        if self.spec.name.is_empty() {
            &self.description.hostname
        } else {
            &self.spec.name
        }
    }
}

impl Named for Service {
    const KIND: Kind = Kind::Service;
    fn id_text(&self) -> String {
        self.id.to_string()
    }
    fn name_text(&self) -> &str {
        self.name()
    }
}

impl Named for Task {
    const KIND: Kind = Kind::Task;
    fn id_text(&self) -> String {
        self.id.to_string()
    }
    fn name_text(&self) -> &str {
        ""
    }
}

impl Named for Network {
    const KIND: Kind = Kind::Network;
    fn id_text(&self) -> String {
        self.id.to_string()
    }
    fn name_text(&self) -> &str {
        self.name()
    }
}

impl Named for Config {
    const KIND: Kind = Kind::Config;
    fn id_text(&self) -> String {
        self.id.to_string()
    }
    fn name_text(&self) -> &str {
        &self.spec.name
    }
}

/// The one object that `text` names: by whole id, then by name, then by a unique start of the id.
fn find<'a, T: Named + 'a, All: Iterator<Item = &'a Arc<T>>>(
    all: impl Fn() -> All,
    text: &str,
) -> Result<&'a Arc<T>, FindError> {
    let not_found = || FindError::NotFound {
        kind: T::KIND,
        text: text.to_owned(),
    };
    if text.is_empty() {
        return Err(not_found());
    }
    if let Some(found) = all().find(|object| object.id_text() == text) {
        return Ok(found);
    }
    let named: Vec<_> = all().filter(|object| object.name_text() == text).collect();
    let matches = if named.is_empty() {
        all()
            .filter(|object| object.id_text().starts_with(text))
            .collect()
    } else {
        named
    };
    match matches.as_slice() {
        [] => Err(not_found()),
        [found] => Ok(found),
        _ => Err(FindError::Ambiguous {
            kind: T::KIND,
            text: text.to_owned(),
            matches: matches.len(),
        }),
    }
}

impl State {
    pub fn find_node(&self, text: &str) -> Result<&Arc<Node>, FindError> {
        find(|| self.nodes.values(), text)
    }

    pub fn find_service(&self, text: &str) -> Result<&Arc<Service>, FindError> {
        if let Some(found) = self
            .service_names
            .get(text)
            .and_then(|id| self.services.get(id))
        {
            return Ok(found);
        }
        if let Some(found) = text
            .parse::<ServiceId>()
            .ok()
            .and_then(|id| self.services.get(&id))
        {
            return Ok(found);
        }
        find(|| self.services.values(), text)
    }

    pub fn find_task(&self, text: &str) -> Result<&Arc<Task>, FindError> {
        if let Some(found) = text
            .parse::<TaskId>()
            .ok()
            .and_then(|id| self.tasks.get(id))
        {
            return Ok(found);
        }
        find(|| self.tasks.iter(), text)
    }

    pub fn find_network(&self, text: &str) -> Result<&Arc<Network>, FindError> {
        if let Some(found) = self
            .network_names
            .get(text)
            .and_then(|id| self.networks.get(id))
        {
            return Ok(found);
        }
        find(|| self.networks.values(), text)
    }

    pub fn find_config(&self, text: &str) -> Result<&Arc<Config>, FindError> {
        if let Some(found) = self
            .config_names
            .get(text)
            .and_then(|id| self.configs.get(id))
        {
            return Ok(found);
        }
        find(|| self.configs.values(), text)
    }
}
