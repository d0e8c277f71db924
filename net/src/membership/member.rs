//! Who belongs to the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::gossip::{NodeId, Roster};

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    /// As its certificate says it.
    pub name: String,
    /// Where it is dialled; `None`: nowhere, it can only be met.
    pub address: Option<SocketAddr>,
}

/// All nodes of the cluster, this one too. Every node must have the same list.
#[derive(Debug)]
pub struct Members {
    pub(super) roster: Arc<Roster>,
    by_id: BTreeMap<NodeId, Member>,
    by_name: BTreeMap<String, NodeId>,
}

impl Members {
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let all = members.into_iter();
        let by_id: BTreeMap<_, _> = all.map(|member| (member.id, member)).collect();
        let by_name = by_id.values().map(|it| (it.name.clone(), it.id)).collect();
        Self {
            roster: Arc::new(Roster::new(by_id.keys().copied())),
            by_id,
            by_name,
        }
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Member> {
        self.by_id.get(&id)
    }

    pub(super) fn id(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }
}

impl Default for Members {
    fn default() -> Self {
        Self::new([])
    }
}
