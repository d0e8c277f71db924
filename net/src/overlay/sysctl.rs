//! The kernel switches that the data path stands on. They belong to the network
//! namespace of the thread that writes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::OverlayProblem;
use crate::command;

const BRIDGED_FRAMES: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Switches of the host as a whole: bridged frames pass the packet filter, and
/// packets are forwarded.
pub(super) async fn prepare_host() -> Vec<OverlayProblem> {
    if !Path::new(BRIDGED_FRAMES).exists() {
        // Engines from 27.3 on no longer load it. Where it cannot be loaded
        // the write below fails and says so.
        let deadline = Duration::from_secs(10);
        if let Err(error) = command::run("modprobe", &["br_netfilter"], "", deadline).await {
            tracing::debug!(%error, "br_netfilter was not loaded");
        }
    }
    [(BRIDGED_FRAMES, "1"), (FORWARDING, "1")]
        .into_iter()
        .filter_map(|(path, value)| ensure(Path::new(path), value).err())
        .collect()
}

/// Switches of one bridge of ours.
///
/// `route_localnet` lets the host's own `127.0.0.1:PORT` reach a container (and
/// is why the balancer drops loopback addresses that come in by the bridge). A
/// loose `rp_filter` on the bridge wins over a strict one for all devices.
pub(super) fn prepare_bridge(bridge: &str) -> Vec<OverlayProblem> {
    [("route_localnet", "1"), ("rp_filter", "2")]
        .into_iter()
        .filter_map(|(name, value)| ensure(&of_device(bridge, name), value).err())
        .collect()
}

/// Takes back what is dangerous to leave on a bridge that is no longer ours.
pub(super) fn release_bridge(bridge: &str) {
    let path = of_device(bridge, "route_localnet");
    if path.exists()
        && let Err(error) = ensure(&path, "0")
    {
        tracing::warn!(%error, "a switch was not taken back");
    }
}

/// Keeps a device from speaking IPv6 by itself. Absent where IPv6 is.
pub(crate) fn quiet(device: &str) {
    let path = PathBuf::from(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"));
    if path.exists()
        && let Err(error) = ensure(&path, "1")
    {
        tracing::debug!(%error, "IPv6 stays on");
    }
}

fn of_device(device: &str, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/ipv4/conf/{device}/{name}"))
}

fn ensure(path: &Path, value: &str) -> Result<(), OverlayProblem> {
    let attempt = || -> io::Result<()> {
        if fs::read_to_string(path)?.trim() == value {
            return Ok(());
        }
        fs::write(path, value)
    };
    attempt().map_err(|source| OverlayProblem::Switch {
        path: path.to_owned(),
        value: value.to_owned(),
        source,
    })
}
