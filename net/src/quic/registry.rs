//! The connections that are up, by the node at the other end.
//!
//! It holds them weakly: a connection that nobody uses closes, registered or not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::connection::{Connection, Inner};

/// Connections without a certificate are under `None`.
type ByNode = HashMap<Option<String>, HashMap<u64, Weak<Inner>>>;

#[derive(Debug, Default)]
pub(crate) struct Registry {
    live: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    by_node: ByNode,
}

/// Takes the connection out of the registry on drop.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    node: Option<String>,
    number: u64,
}

impl Registry {
    /// A number for a connection that is about to be made and then `insert`ed.
    pub(crate) fn reserve(self: &Arc<Self>, node: Option<&str>) -> Registration {
        let mut state = self.lock();
        state.next += 1;
        Registration {
            registry: Arc::clone(self),
            node: node.map(str::to_owned),
            number: state.next,
        }
    }

    pub(crate) fn insert(&self, registration: &Registration, connection: Weak<Inner>) {
        self.lock()
            .by_node
            .entry(registration.node.clone())
            .or_default()
            .insert(registration.number, connection);
    }

    pub(crate) fn count(&self, node: &str) -> usize {
        let key = Some(node.to_owned());
        self.lock().by_node.get(&key).map_or(0, HashMap::len)
    }

    pub(crate) fn total(&self) -> usize {
        self.lock().by_node.values().map(HashMap::len).sum()
    }

    pub(crate) fn of_node(&self, node: &str) -> Vec<Connection> {
        let key = Some(node.to_owned());
        let weak: Vec<Weak<Inner>> = self
            .lock()
            .by_node
            .get(&key)
            .map(|connections| connections.values().cloned().collect())
            .unwrap_or_default();
        upgrade(weak)
    }

    pub(crate) fn all(&self) -> Vec<Connection> {
        let weak: Vec<Weak<Inner>> = self
            .lock()
            .by_node
            .values()
            .flat_map(|connections| connections.values().cloned())
            .collect();
        upgrade(weak)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if let Some(connections) = state.by_node.get_mut(&self.node) {
            connections.remove(&self.number);
            if connections.is_empty() {
                state.by_node.remove(&self.node);
            }
        }
    }
}

/// Outside the lock: dropping the last handle of a connection locks again.
fn upgrade(weak: Vec<Weak<Inner>>) -> Vec<Connection> {
    weak.iter()
        .filter_map(Weak::upgrade)
        .map(Connection::from_inner)
        .collect()
}
