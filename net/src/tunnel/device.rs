//! The device by which packets enter the tunnel.

use std::io;
use std::net::IpAddr;

use futures::StreamExt;
use nix::errno::Errno;
use rtnetlink::{Handle, LinkUnspec};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::TunnelWant;
use crate::overlay::NetlinkError;

/// What it is called on every host.
pub const DEVICE: &str = "swr-tunnel";

/// Makes the device. It goes when it is dropped.
pub(super) fn make(mtu: u16) -> io::Result<SyncDevice> {
    let device = DeviceBuilder::new()
        .name(DEVICE)
        .mtu(mtu)
        .offload(true)
        .build_sync()?;
    device.set_nonblocking(true)?;
    Ok(device)
}

/// Gives the device its address, and brings it up.
pub(super) async fn set_up(want: &TunnelWant) -> Result<(), NetlinkError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Socket)?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let index = find(&handle).await?;
    crate::overlay::quiet(DEVICE);
    let up = LinkUnspec::new_with_index(index).mtu(want.mtu.into()).up();
    handle.link().change(up.build()).execute().await?;
    let address = IpAddr::V4(want.address);
    let added = handle.address().add(index, address, want.prefix);
    let result = match added.execute().await.map_err(NetlinkError::from) {
        Err(NetlinkError::Refused(Errno::EEXIST)) => Ok(()),
        other => other,
    };
    drop(connection);
    result
}

async fn find(handle: &Handle) -> Result<u32, NetlinkError> {
    let named = handle.link().get().match_name(DEVICE.to_owned());
    match Box::pin(named.execute()).next().await {
        Some(link) => Ok(link?.header.index),
        None => Err(NetlinkError::NoDevice(DEVICE.to_owned())),
    }
}
