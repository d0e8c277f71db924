//! Encryption below the overlays: WireGuard between hosts.
//!
//! Each host has an address inside the tunnels; the overlays' VXLAN ends are
//! there, so that layer 2 does not know how it is carried. This is the protocol
//! in user space, for kernels that do not have it: a TUN device, a UDP socket
//! and a thread each way. `key`, `want`, `train` and `peers` are data; `pair` is
//! one session by `boringtun`; `bundle` and `pump` move packets; [`Tunnel`] owns
//! all of it.

mod bundle;
mod device;
mod key;
mod pair;
mod peers;
mod pump;
mod shell;
mod train;
mod want;

#[cfg(test)]
mod tests;

pub use device::DEVICE;
pub use key::{KeyError, PrivateKey, PublicKey};
pub use shell::{Tunnel, TunnelError};
pub use want::{TunnelPeer, TunnelWant};
