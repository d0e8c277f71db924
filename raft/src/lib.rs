//! Bytes in consensus: a durable replicated log behind two small traits.
//!
//! A program gives this crate a [`Machine`] (what the bytes mean) and a [`Transport`] (how bytes
//! reach another member) and gets a [`Raft`]: `propose` puts bytes through a quorum's disks and
//! returns what the machine answered, `read_barrier` makes a local read linearizable, and
//! `status` tells who leads. The consensus algorithm itself is openraft; none of its types
//! appears in a public signature, so that an upgrade of it touches this crate alone.
//!
//! In reading order:
//! - [`Machine`], [`Transport`], [`Config`], [`Status`] and the errors: the contract;
//! - `raft`: the handle, `runner`: its threads; `propose`, `read`, `members`: its three verbs;
//! - `serve` and `network`: the two ends of a call between members, `codec`: the bytes of it;
//! - `driver`: the machine on its own thread; `snapshot`: its state in files;
//! - `log`: the log on disk, and what is done about a torn or damaged one;
//! - `types`: the instantiation of openraft.
//!
//! openraft logs through `tracing`, under its own name: a line at `warn` for every heartbeat that
//! fails and several at `info` for every election tick. A program does well to show `openraft` at
//! `error` only; what matters is in [`Status`].
//!
//! Invariants: nothing is acknowledged before it is on a quorum's disks; votes are on disk before
//! they are given; a member whose disk lost what it promised does not start.

mod codec;
mod config;
mod driver;
mod error;
mod log;
mod machine;
mod member;
mod members;
mod network;
mod propose;
mod raft;
mod read;
mod runner;
mod serve;
mod snapshot;
mod status;
mod store_dir;
mod threads;
mod transport;
mod types;

pub use config::{Config, Timing};
pub use error::{InitializeError, MembershipError, ProposeError, ReadError, StartError, WaitError};
pub use log::LogStats;
pub use machine::Machine;
pub use member::{Member, MemberId};
pub use propose::{Applied, MAX_PROPOSAL_BYTES};
pub use raft::Raft;
pub use status::{Peer, Role, Status};
pub use transport::{CallKind, Transport, TransportError};

#[cfg(test)]
mod conformance;
