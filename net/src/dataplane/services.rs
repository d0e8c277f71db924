//! The data plane as the data path uses it: in this process or in its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{Plane, Remote, RemoteError};
use crate::balance::{HoldProblem, Protocol};
use crate::dns::{ListenProblem, Table};
use crate::in_words;
use crate::tunnel::TunnelWant;

/// Where names, ports and the tunnel are served.
#[derive(Debug)]
pub(crate) enum Services {
    Here {
        plane: Plane,
        upstreams: Vec<SocketAddr>,
    },
    There(Remote),
}

impl Services {
    /// Holds the ports of `wanted` too. Returns all that are held.
    pub(crate) async fn hold(
        &mut self,
        wanted: &BTreeSet<(Protocol, u16)>,
    ) -> Result<(BTreeSet<(Protocol, u16)>, Vec<HoldProblem>), RemoteError> {
        match self {
            Self::Here { plane, .. } => {
                let problems = plane.hold(wanted);
                Ok((plane.held(), problems))
            }
            Self::There(remote) => remote.hold(wanted).await,
        }
    }

    /// Lets go of all ports but these.
    pub(crate) async fn release(
        &mut self,
        wanted: &BTreeSet<(Protocol, u16)>,
    ) -> Result<(), RemoteError> {
        match self {
            Self::Here { plane, .. } => {
                plane.release(wanted);
                Ok(())
            }
            Self::There(remote) => remote.release(wanted).await,
        }
    }

    /// Answers from `table`.
    pub(crate) async fn name(&mut self, table: &Table) -> Result<Vec<ListenProblem>, RemoteError> {
        match self {
            Self::Here { plane, upstreams } => plane
                .name(upstreams, table)
                .map_err(|error| RemoteError::Refused(error.to_string())),
            Self::There(remote) => remote.name(table).await,
        }
    }

    /// Makes the encrypting tunnel `want`.
    pub(crate) async fn tunnel(&mut self, want: Option<&TunnelWant>) -> Result<(), RemoteError> {
        match self {
            Self::Here { plane, .. } => plane
                .tunnel(want)
                .await
                .map_err(|error| RemoteError::Tunnel(in_words(&error))),
            Self::There(remote) => remote.tunnel(want).await,
        }
    }

    /// Makes the next [`tunnel`](Self::tunnel) look whether it is there still.
    pub(crate) fn doubt_tunnel(&mut self) {
        if let Self::There(remote) = self {
            remote.doubt_tunnel();
        }
    }

    /// Looks whether all of it is there still.
    pub(crate) async fn reconcile(&mut self) -> Result<(), RemoteError> {
        match self {
            Self::Here { .. } => Ok(()),
            Self::There(remote) => remote.reconcile().await,
        }
    }

    /// Whether the process answers, if one is needed.
    pub(crate) async fn are_there(&mut self) -> bool {
        match self {
            Self::Here { .. } => true,
            Self::There(remote) => remote.is_there().await,
        }
    }

    /// Returns when the process has died.
    pub(crate) async fn gone(&self) {
        match self {
            Self::Here { .. } => std::future::pending().await,
            Self::There(remote) => remote.gone().await,
        }
    }

    /// Stops using it. A process of its own goes on.
    pub(crate) async fn close(&mut self) {
        if let Self::Here { plane, .. } = self {
            plane.close_names().await;
        }
    }
}
