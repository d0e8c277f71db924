//! Names of services and tasks, for the containers of this host.
//!
//! A resolver answers on each overlay's gateway address. It knows which
//! container asks by the source address and answers only for the networks that
//! this container is on; other names it passes on to the host's resolvers.
//! [`Table`] is what it knows, [`Index::lookup`] what it answers (pure), and
//! [`DnsServer`] the sockets around that.

mod forward;
mod handler;
mod index;
mod server;
mod table;

pub use index::{Answer, Index, Kind};
pub use server::{DnsError, DnsServer, ListenProblem};
pub use table::{DnsNetwork, Table};
