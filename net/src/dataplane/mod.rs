//! What must not stop when the daemon does: names, held ports with their relay
//! over IPv6, and the encrypting tunnel.
//!
//! Bridges, forwarding entries and nft rules live in the kernel and need
//! nobody. The rest needs a process: a small one of its own, which the daemon
//! starts, finds again by a unix socket, and tells whole wants. It keeps what
//! it was told last. [`Plane`] is what it holds, [`serve`] the process around
//! it, [`Remote`] the daemon's end; [`Services`] is either, for a data path
//! that may as well hold all of it itself.

mod handover;
mod message;
mod plane;
mod remote;
mod server;
mod services;

pub use plane::Plane;
pub use remote::{Launch, Remote, RemoteError};
pub use server::{ServeError, serve};
pub(crate) use services::Services;

#[cfg(test)]
mod tests;
