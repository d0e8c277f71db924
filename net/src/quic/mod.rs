//! The one door: everything between nodes goes through one UDP port.
//!
//! [`Door`] owns the socket and is server and client on it. The ALPN names the
//! protocol, [`Router`] says who may speak it, and both sides know who the other
//! is before a byte of it passes. On top: [`call`] for one question and one answer,
//! [`FramedStream`] for sessions, datagrams for gossip, and [`Pool`] for standing
//! connections to many nodes.
//!
//! Whoever builds the daemon makes one `Door` and closes it last.

mod accept;
mod address;
mod connection;
mod credentials;
mod dial;
mod door;
mod framed;
mod gate;
mod hello;
mod limits;
mod pool;
mod refusal;
mod registry;
mod reset;
mod router;
mod rpc;
mod socket;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

pub use address::Address;
pub use connection::{Connection, ConnectionLost, DatagramError, Peer};
pub use credentials::Credentials;
pub use dial::DialError;
pub use door::{BindError, Door, DoorStats, ServeError};
pub use framed::{FrameError, FramedReceiver, FramedSender, FramedStream};
pub use limits::Limits;
pub use pool::{Pool, PoolOptions};
pub use quinn::{RecvStream, SendStream};
pub use refusal::{Refusal, RefusalCode};
pub use router::{Access, Router};
pub use rpc::{CallError, call, serve_calls};
