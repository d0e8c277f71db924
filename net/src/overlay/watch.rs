//! Hearing of devices that come, go and change, so that a new bridge or a new
//! container's port is prepared at once and not at the next look.

use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoBridgePort, InfoPortData, LinkAttribute, LinkInfo};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::NetlinkError;

/// Tells that devices changed since it was last asked. Events are merged: only
/// the newest count is kept.
#[derive(Debug)]
pub(crate) struct LinkEvents {
    changes: watch::Receiver<u64>,
    _connection: AbortOnDropHandle<()>,
    _reader: AbortOnDropHandle<()>,
}

impl LinkEvents {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
        let opened = new_multicast_connection(&groups);
        let (connection, _, mut messages) = opened.map_err(NetlinkError::Socket)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let (count, changes) = watch::channel(0_u64);
        let reader = tokio::spawn(async move {
            use futures::StreamExt;
            while let Some((message, _)) = messages.next().await {
                if matters(&message) {
                    count.send_modify(|count| *count += 1);
                }
            }
        });
        Ok(Self {
            changes,
            _connection: connection,
            _reader: AbortOnDropHandle::new(reader),
        })
    }

    /// Returns once something changed since the last call. Never returns when
    /// the kernel's socket is gone.
    pub(crate) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes what changed until now as heard of.
    pub(crate) fn settle(&mut self) {
        self.changes.mark_unchanged();
    }
}

/// An address came or went, a link is gone, or is a bridge port that cannot
/// hairpin yet, or is no port: a bridge among others.
fn matters(message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
    let NetlinkPayload::InnerMessage(message) = &message.payload else {
        return false;
    };
    match message {
        RouteNetlinkMessage::DelLink(_)
        | RouteNetlinkMessage::NewAddress(_)
        | RouteNetlinkMessage::DelAddress(_) => true,
        RouteNetlinkMessage::NewLink(link) => {
            let port = link.attributes.iter().find_map(|it| match it {
                LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
                    LinkInfo::PortData(InfoPortData::BridgePort(port)) => Some(port),
                    _ => None,
                }),
                _ => None,
            });
            port.is_none_or(|port| !port.contains(&InfoBridgePort::HairpinMode(true)))
        }
        _ => false,
    }
}
