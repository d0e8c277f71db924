//! What the data plane holds, in whichever process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::balance::{HeldSocket, HoldProblem, Holds, Protocol};
use crate::dns::{DnsError, DnsServer, ListenProblem, Table};
use crate::tunnel::{Tunnel, TunnelError, TunnelWant};

/// Names, ports and the encrypting tunnel. Dropping it closes its sockets.
#[derive(Debug, Default)]
pub struct Plane {
    holds: Holds,
    names: Option<Names>,
    tunnel: Option<Tunnel>,
}

#[derive(Debug)]
struct Names {
    server: DnsServer,
    upstreams: Vec<SocketAddr>,
}

impl Plane {
    /// Takes the ports of `wanted` that are not held yet. Lets go of none.
    pub(super) fn hold(&mut self, wanted: &BTreeSet<(Protocol, u16)>) -> Vec<HoldProblem> {
        self.holds.take(wanted)
    }

    pub(super) fn held(&self) -> BTreeSet<(Protocol, u16)> {
        self.holds.held()
    }

    pub(super) fn release(&mut self, wanted: &BTreeSet<(Protocol, u16)>) {
        self.holds.release(wanted);
    }

    /// Answers from `table`, on its gateways; what it does not know is asked
    /// of `upstreams`.
    pub(super) fn name(
        &mut self,
        upstreams: &[SocketAddr],
        table: &Table,
    ) -> Result<Vec<ListenProblem>, DnsError> {
        let asks_the_same = |names: &Names| names.upstreams == upstreams;
        // Another one listens beside the former before that is dropped.
        let mut former = None;
        if !self.names.as_ref().is_some_and(asks_the_same) {
            former = self.names.replace(Names {
                server: DnsServer::start(upstreams)?,
                upstreams: upstreams.to_vec(),
            });
        }
        let Some(names) = &mut self.names else {
            return Ok(Vec::new());
        };
        names.server.set_table(table);
        let gateways = table.networks.iter().map(|network| network.gateway);
        let problems = names.server.set_listeners(&gateways.collect());
        drop(former);
        Ok(problems)
    }

    /// Makes the tunnel `want`. Sessions with peers that stay go on, unless the
    /// tunnel has to be made anew.
    pub(super) async fn tunnel(&mut self, want: Option<&TunnelWant>) -> Result<(), TunnelError> {
        let Some(want) = want else {
            self.tunnel = None;
            return Ok(());
        };
        if let Some(tunnel) = &mut self.tunnel
            && tunnel.can_become(want)
        {
            match tunnel.change(want).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "the tunnel is made anew"),
            }
        }
        // Its device and its port are needed by the next one.
        self.tunnel = None;
        self.tunnel = Some(Tunnel::start(want).await?);
        Ok(())
    }

    /// Copies of the held sockets, for a successor.
    pub(super) fn share(&self) -> Vec<(HeldSocket, OwnedFd)> {
        self.holds.share()
    }

    /// Holds what a predecessor held.
    pub(super) fn adopt(&mut self, sockets: Vec<(HeldSocket, OwnedFd)>) {
        self.holds.adopt(sockets);
    }

    /// Lets running answers finish, for a while, and stops answering.
    pub(super) async fn close_names(&mut self) {
        if let Some(names) = self.names.take() {
            names.server.close().await;
        }
    }

    /// Serves nothing new. Returns when nobody is served any more.
    pub(super) async fn retire(&mut self) {
        self.tunnel = None;
        self.close_names().await;
        self.holds.release(&BTreeSet::new());
        self.holds.idle().await;
    }
}
