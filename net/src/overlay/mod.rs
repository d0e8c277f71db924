//! One layer-2 network over many hosts.
//!
//! The container engine makes a bridge on every host and plumbs containers
//! into it. This module joins those bridges by VXLAN: it adds a tunnel device to
//! each, says which address is behind which host, and gives the bridge the
//! addresses that the balancer answers on. The managers know every address
//! before a packet is sent, so nothing is learnt from traffic and nothing needs
//! flooding; flooding stays as the fallback for what the managers do not know.
//!
//! [`OverlayWant`] says what should be, [`Have`] what was observed, [`diff`]
//! what to do about it (pure), and [`Overlay`] does it through netlink.

mod address;
mod diff;
mod have;
mod kernel;
mod messages;
mod observe;
mod shell;
mod sysctl;
mod want;
mod watch;

pub use address::{Mac, Subnet, SubnetError, mac_of};
pub use diff::{Plan, Step, diff, tunnel_name};
pub use have::{BridgeHave, Have, TunnelHave};
pub use kernel::NetlinkError;
pub use shell::{Overlay, OverlayProblem};
pub(crate) use sysctl::quiet;
pub use want::{NetworkWant, OverlayWant, PeerWant, RemoteWant};
pub(crate) use watch::LinkEvents;
