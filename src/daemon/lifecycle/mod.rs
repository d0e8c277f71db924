//! Into a cluster, back into it after a restart, and out of it.

mod init;
mod join;
mod leave;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use swarmr_net::identity::NodeIdentity;
use swarmr_net::in_words;
use swarmr_net::quic::{BindError, Credentials, Door};
use tokio::time::Instant;

use super::Daemon;
use super::address::{self, AddressError};
use super::disk::Settings;
use super::node::{Node, NodeParts};
use crate::api::control::LifecycleError;

/// How long the port of a cluster that was just left may take to be free again.
const RELEASE_DEADLINE: Duration = Duration::from_secs(1);
const RELEASE_POLL: Duration = Duration::from_millis(20);

/// 128 fresh bits.
pub(super) fn fresh_id() -> u128 {
    rand::random()
}

/// Where a node will be.
struct Addresses {
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
}

impl Daemon {
    /// After a restart: takes up the place that the state directory tells of.
    pub(super) async fn resume(&self) -> anyhow::Result<()> {
        let (Some(settings), Some(identity)) = (
            self.disk.load_settings()?,
            NodeIdentity::load(&self.disk.tls()).context("cannot read the certificate")?,
        ) else {
            return Ok(());
        };
        let door = Door::bind(
            settings.listen,
            Credentials::new(identity.clone()).context("unusable certificate")?,
        )
        .map_err(|error| anyhow::anyhow!(port_busy(&error)))?;
        let node = self.start_node(door, Arc::new(identity), settings).await?;
        self.node.send_replace(Some(node));
        Ok(())
    }

    async fn start_node(
        &self,
        door: Door,
        identity: Arc<NodeIdentity>,
        settings: Settings,
    ) -> anyhow::Result<Arc<Node>> {
        Node::start(NodeParts {
            door,
            identity,
            settings,
            disk: &self.disk,
            engine: &self.engine,
            clock: self.clock.clone(),
            states: self.states.clone(),
        })
        .await
    }

    fn must_be_free(&self) -> Result<(), LifecycleError> {
        if self.node.borrow().is_some() {
            Err(LifecycleError::AlreadyMember)
        } else {
            Ok(())
        }
    }

    /// What an attempt that a crash ended has left must not become part of another cluster.
    fn begin_anew(&self) -> Result<(), LifecycleError> {
        self.disk
            .clear_all()
            .map_err(|error| failed(format!("{error:#}")))
    }

    /// After an attempt that failed: nothing of it may be taken up by the next start.
    fn forget(&self) {
        if let Err(error) = self.disk.clear_all() {
            tracing::error!(
                error = format!("{error:#}"),
                "what a failed attempt left behind cannot be cleared"
            );
        }
    }
}

fn addresses(listen: &str, advertise: &str) -> Result<Addresses, LifecycleError> {
    let interfaces = address::interfaces();
    let listen = address::listen(listen, &interfaces).map_err(invalid)?;
    let advertise = if advertise.is_empty() {
        None
    } else {
        Some(address::advertise(advertise, listen, &interfaces).map_err(invalid)?)
    };
    Ok(Addresses { listen, advertise })
}

/// Binds the port, which connections of a cluster that was just left may hold for a moment more.
async fn bind(open: impl Fn() -> Result<Door, BindError>) -> Result<Door, LifecycleError> {
    let until = Instant::now() + RELEASE_DEADLINE;
    loop {
        match open() {
            Err(error)
                if error.source.kind() == io::ErrorKind::AddrInUse && Instant::now() < until =>
            {
                tokio::time::sleep(RELEASE_POLL).await;
            }
            result => {
                return result.map_err(|error| LifecycleError::Failed(port_busy(&error)));
            }
        }
    }
}

fn port_busy(error: &BindError) -> String {
    format!(
        "{}. Another process may hold that UDP port (ss -ulpn tells which): stop it, or give --listen-addr another",
        in_words(error)
    )
}

fn invalid(error: AddressError) -> LifecycleError {
    LifecycleError::Invalid(error.to_string())
}

fn failed(why: impl Into<String>) -> LifecycleError {
    LifecycleError::Failed(why.into())
}
