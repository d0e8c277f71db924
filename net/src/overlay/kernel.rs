//! Doing one step through rtnetlink, in the network namespace of the thread
//! that opened the connection.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVxlan,
};
use thiserror::Error;
use tokio_util::task::AbortOnDropHandle;

use super::{Step, TunnelHave, messages, sysctl};

/// What the kernel may take for one request.
const DEADLINE: Duration = Duration::from_secs(5);

/// The kernel did not do what it was asked over netlink.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// It refused.
    #[error("{}", .0.desc())]
    Refused(Errno),
    /// A device that the step names does not exist.
    #[error("no device {0}")]
    NoDevice(String),
    /// It did not answer.
    #[error("the kernel gave no answer within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// The netlink socket cannot be opened.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// Talking to it failed.
    #[error("netlink: {0}")]
    Broken(String),
}

impl From<rtnetlink::Error> for NetlinkError {
    fn from(error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::from_code(message.raw_code()),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl NetlinkError {
    fn from_code(code: i32) -> Self {
        Self::Refused(Errno::from_raw(code.saturating_abs()))
    }
}

/// A connection to the kernel's routing tables, with the device indexes that
/// were last seen.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) handle: Handle,
    pub(super) indexes: BTreeMap<String, u32>,
    _connection: AbortOnDropHandle<()>,
}

impl Kernel {
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Socket)?;
        Ok(Self {
            handle,
            indexes: BTreeMap::new(),
            _connection: AbortOnDropHandle::new(tokio::spawn(connection)),
        })
    }

    /// Does `step`. What is there already, or gone already, is no error.
    pub(super) async fn execute(&mut self, step: &Step) -> Result<(), NetlinkError> {
        let result = tokio::time::timeout(DEADLINE, self.dispatch(step)).await;
        match result.map_err(|_| NetlinkError::TimedOut)? {
            Err(NetlinkError::Refused(errno)) if is_settled(step, errno) => Ok(()),
            Err(NetlinkError::NoDevice(_)) if is_removal(step) => Ok(()),
            other => other,
        }
    }

    async fn dispatch(&mut self, step: &Step) -> Result<(), NetlinkError> {
        match step {
            Step::AddTunnel {
                name,
                bridge,
                tunnel,
            } => self.add_tunnel(name, bridge, tunnel).await,
            Step::DeleteTunnel { name } => {
                self.handle.link().del(self.index(name)?).execute().await?;
                self.indexes.remove(name);
                Ok(())
            }
            Step::SetBridge { bridge, mac, mtu } => {
                let change = LinkUnspec::new_with_index(self.index(bridge)?)
                    .address(mac.0.to_vec())
                    .mtu(*mtu)
                    .up();
                Ok(self.handle.link().change(change.build()).execute().await?)
            }
            Step::SetHairpin { bridge, port, on } => self.set_hairpin(bridge, port, *on).await,
            Step::AddAddress {
                bridge,
                address,
                prefix,
            } => {
                let index = self.index(bridge)?;
                let request = self
                    .handle
                    .address()
                    .add(index, IpAddr::V4(*address), *prefix);
                Ok(request.execute().await?)
            }
            Step::DeleteAddress {
                bridge,
                address,
                prefix,
            } => {
                let message = AddressMessageBuilder::<std::net::Ipv4Addr>::new()
                    .index(self.index(bridge)?)
                    .address(*address, *prefix)
                    .build();
                Ok(self.handle.address().del(message).execute().await?)
            }
            _ => self.change_entry(step).await,
        }
    }

    async fn change_entry(&mut self, step: &Step) -> Result<(), NetlinkError> {
        use RouteNetlinkMessage::{DelNeighbour, NewNeighbour};
        let replace = NLM_F_CREATE | NLM_F_REPLACE;
        let (message, flags) = match step {
            Step::SetNeighbour { bridge, ip, mac } => {
                let index = self.index(bridge)?;
                (NewNeighbour(messages::neighbour(index, *ip, *mac)), replace)
            }
            Step::DeleteNeighbour { bridge, ip } => {
                let index = self.index(bridge)?;
                (DelNeighbour(messages::neighbour_key(index, *ip)), 0)
            }
            Step::AddFlood { tunnel, vtep } => {
                let index = self.index(tunnel)?;
                let entry = messages::forward(index, super::Mac::UNKNOWN, *vtep);
                // One entry with many ends: replacing would keep the last only.
                (NewNeighbour(entry), NLM_F_CREATE | NLM_F_APPEND)
            }
            Step::DeleteFlood { tunnel, vtep } => {
                let index = self.index(tunnel)?;
                let entry = messages::forward(index, super::Mac::UNKNOWN, *vtep);
                (DelNeighbour(entry), 0)
            }
            Step::SetForward { tunnel, mac, vtep } => {
                let index = self.index(tunnel)?;
                (NewNeighbour(messages::forward(index, *mac, *vtep)), replace)
            }
            Step::DeleteForward { tunnel, mac, vtep } => {
                let index = self.index(tunnel)?;
                (DelNeighbour(messages::forward(index, *mac, *vtep)), 0)
            }
            Step::AddEntry { tunnel, mac } => {
                let index = self.index(tunnel)?;
                (NewNeighbour(messages::entry(index, *mac)), replace)
            }
            Step::DeleteEntry { tunnel, mac } => {
                let index = self.index(tunnel)?;
                (DelNeighbour(messages::entry(index, *mac)), 0)
            }
            _ => return Ok(()),
        };
        self.request(message, flags).await
    }

    async fn add_tunnel(
        &mut self,
        name: &str,
        bridge: &str,
        tunnel: &TunnelHave,
    ) -> Result<(), NetlinkError> {
        let mut link = LinkVxlan::new(name, tunnel.vni)
            .port(tunnel.port)
            .learning(tunnel.learning)
            .controller(self.index(bridge)?)
            .mtu(tunnel.mtu)
            .alias(format!("overlay {bridge}"));
        if let Some(local) = tunnel.local_vtep {
            link = link.local(local);
        }
        self.handle.link().add(link.build()).execute().await?;
        let index = self.find(name).await?;
        self.indexes.insert(name.to_owned(), index);
        // Only the host's bridge speaks IPv6, if anyone: a tunnel device with
        // an address of its own would announce itself to every host.
        sysctl::quiet(name);
        let port = LinkBridgePort::new(index).neigh_suppress(tunnel.suppresses);
        self.handle.link().change(port.build()).execute().await?;
        let up = LinkUnspec::new_with_index(index).up();
        Ok(self.handle.link().change(up.build()).execute().await?)
    }

    async fn set_hairpin(&self, bridge: &str, port: &str, on: bool) -> Result<(), NetlinkError> {
        // The bridge is in the message so that a port that has left it
        // meanwhile is refused and not changed elsewhere.
        let message = LinkMessageBuilder::<LinkBridgePort>::default()
            .index(self.index(port)?)
            .set_port_kind(rtnetlink::packet_route::link::InfoPortKind::Bridge)
            .controller(self.index(bridge)?)
            .hairpin(on);
        Ok(self.handle.link().change(message.build()).execute().await?)
    }

    async fn find(&self, name: &str) -> Result<u32, NetlinkError> {
        let mut links = Box::pin(self.handle.link().get().match_name(name).execute());
        match links.next().await {
            Some(link) => Ok(link?.header.index),
            None => Err(NetlinkError::NoDevice(name.to_owned())),
        }
    }

    fn index(&self, name: &str) -> Result<u32, NetlinkError> {
        let index = self.indexes.get(name).copied();
        index.ok_or_else(|| NetlinkError::NoDevice(name.to_owned()))
    }

    async fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.request(message)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.raw_code() != 0
            {
                return Err(NetlinkError::from_code(error.raw_code()));
            }
        }
        Ok(())
    }
}

fn is_removal(step: &Step) -> bool {
    matches!(
        step,
        Step::DeleteTunnel { .. }
            | Step::DeleteAddress { .. }
            | Step::DeleteNeighbour { .. }
            | Step::DeleteFlood { .. }
            | Step::DeleteForward { .. }
            | Step::DeleteEntry { .. }
            | Step::SetHairpin { on: false, .. }
    )
}

/// Whether the refusal says that the step was done before.
fn is_settled(step: &Step, errno: Errno) -> bool {
    match errno {
        Errno::ENOENT | Errno::ENODEV | Errno::EADDRNOTAVAIL => is_removal(step),
        Errno::EEXIST => !matches!(step, Step::AddTunnel { .. }),
        _ => false,
    }
}
