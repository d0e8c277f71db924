//! Which protocols this node speaks, and with whom.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::connection::Connection;
use super::refusal::{Refusal, RefusalCode};
use crate::identity::{PeerIdentity, Role};

/// Who may use a protocol. Each includes those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Anyone, also without a certificate. Who shows one shows a valid one.
    Anonymous,
    /// Nodes of this cluster.
    Node,
    /// Managers of this cluster.
    Manager,
}

/// Protocols by ALPN, each with its access and its handler.
#[derive(Clone, Default)]
pub struct Router {
    routes: BTreeMap<&'static str, Route>,
}

#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) access: Access,
    pub(crate) handler: Handler,
}

pub(crate) type Handler = Arc<dyn Fn(Connection) -> BoxFuture<'static, ()> + Send + Sync>;

/// Asked before a node is let in, and again at any time. The access tells as what
/// the node comes: a demoted manager is still a node.
pub(crate) type Admission = dyn Fn(&PeerIdentity, Access) -> Result<(), Refusal> + Send + Sync;

impl Router {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a protocol; one with the same name is replaced. The handler runs as a
    /// task of the door, once per connection, and is dropped when the door closes.
    /// It keeps its connection as long as the peer is to have it: dropping the
    /// last clone closes it, and what was not yet acknowledged is lost.
    #[must_use]
    pub fn route<H, F>(mut self, alpn: &'static str, access: Access, handler: H) -> Self
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |connection| handler(connection).boxed());
        self.routes.insert(alpn, Route { access, handler });
        self
    }

    pub(crate) fn alpns(&self) -> impl Iterator<Item = &'static str> {
        self.routes.keys().copied()
    }

    pub(crate) fn find(&self, alpn: &[u8]) -> Option<(&'static str, Route)> {
        let alpn = std::str::from_utf8(alpn).ok()?;
        self.routes
            .get_key_value(alpn)
            .map(|(name, route)| (*name, route.clone()))
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.routes.iter().map(|(alpn, route)| (alpn, route.access));
        f.debug_map().entries(routes).finish()
    }
}

/// Whether a peer with this certificate may come in at all; what has happened to
/// the node since it was signed is for the admission hook to say.
pub(crate) fn check_access(
    access: Access,
    peer: Option<&PeerIdentity>,
    cluster: &str,
) -> Result<(), Refusal> {
    let Some(peer) = peer else {
        if access == Access::Anonymous {
            return Ok(());
        }
        return Err(Refusal::new(
            RefusalCode::CertificateRequired,
            "this protocol is for nodes of the cluster; show a certificate",
        ));
    };
    if peer.cluster != cluster {
        return Err(Refusal::new(
            RefusalCode::OtherCluster,
            format!(
                "this is cluster {cluster}, the certificate is of {}",
                peer.cluster
            ),
        ));
    }
    if access == Access::Manager && peer.role != Role::Manager {
        return Err(Refusal::new(
            RefusalCode::ManagerRequired,
            format!(
                "this protocol is for managers, the certificate says {}",
                peer.role
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(role: Role, cluster: &str) -> PeerIdentity {
        PeerIdentity {
            node_id: "n".to_owned(),
            role,
            cluster: cluster.to_owned(),
        }
    }

    #[test]
    fn access_is_decided_by_certificate_for_every_pair() {
        use Access::{Anonymous, Manager, Node};
        let worker = peer(Role::Worker, "c");
        let manager = peer(Role::Manager, "c");
        let stranger = peer(Role::Manager, "d");
        let table = [
            (Anonymous, None, None),
            (Anonymous, Some(&worker), None),
            (Anonymous, Some(&manager), None),
            (Anonymous, Some(&stranger), Some(RefusalCode::OtherCluster)),
            (Node, None, Some(RefusalCode::CertificateRequired)),
            (Node, Some(&worker), None),
            (Node, Some(&manager), None),
            (Node, Some(&stranger), Some(RefusalCode::OtherCluster)),
            (Manager, None, Some(RefusalCode::CertificateRequired)),
            (Manager, Some(&worker), Some(RefusalCode::ManagerRequired)),
            (Manager, Some(&manager), None),
            (Manager, Some(&stranger), Some(RefusalCode::OtherCluster)),
        ];
        for (access, peer, expected) in table {
            let got = check_access(access, peer, "c").err().map(|r| r.code);
            assert_eq!(got, expected, "{access:?} {peer:?}");
        }
    }
}
