//! Names of services and tasks, for the containers of this host.
//!
//! A resolver answers on each overlay's gateway address. It knows which
//! container asks by the source address and answers only for the networks that
//! this container is on; other names it passes on to the host's resolvers.
//! [`Table`] is what it knows, [`Index::lookup`] what it answers (pure), and
//! [`DnsServer`] the sockets around that.
//!
//! There are two ways to an answer. Plain questions over UDP for names of ours,
//! which are nearly all, are read and answered in place, many with one call of
//! the kernel ([`question`], [`wire`], [`datagrams`]). Everything else takes
//! the long way through hickory ([`handler`]), and gives the same answers.

mod datagrams;
mod forward;
mod handler;
mod index;
mod question;
mod reverse;
mod server;
mod slots;
mod streams;
mod table;
mod wire;

pub use index::{Answer, Index, Kind};
pub use server::{DnsError, DnsServer, ListenProblem};
pub use table::{DnsNetwork, Served, Table};

/// How long our own names may be kept, in seconds.
const TTL_S: u32 = 1;
/// The largest answer over UDP, in bytes: fits an unfragmented packet on any
/// overlay.
const LARGEST_UDP: u16 = 1232;

/// The longest answer over UDP to somebody whose EDNS says `asked`, in bytes.
fn largest_payload(asked: u16) -> u16 {
    asked.clamp(512, LARGEST_UDP)
}

#[cfg(test)]
mod tests;
