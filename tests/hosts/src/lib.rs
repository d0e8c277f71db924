//! Test hosts: several machines inside one, each with an engine of its own.
//!
//! A [`Host`] is a set of namespaces (network, mounts, host name, processes)
//! with a private `/run`, `/etc`, `/var/lib` and `/var/log`, joined to its
//! siblings by a bridge in a network namespace that holds nothing else. So the
//! machine underneath keeps its firewall, its engine and its files, and
//! [`Host::power_off`] is what it says: every process of the host dies at once
//! and its link is cut. [`Hosts`] owns them and leaves nothing behind, not even
//! when a test panics or is killed: each host ends with the pipe to its owner.
//!
//! [`Local`] is the lighter kind: swarmr daemons as plain processes on
//! 127.0.0.1 with the fake engine.
//!
//! Used by the integration tests of `swarmr`, by `scripts/demo` and by
//! `scripts/bench-vs-swarm` and `scripts/bench-failover`. Everything here blocks; none of it is for async
//! code. It knows swarmr only by its command line and its socket.

mod apps;
mod bridge;
mod daemon;
mod engine;
mod host;
mod hosts;
pub mod http;
mod images;
mod leftovers;
mod local;
mod namespace;
mod output;
mod probe;
mod process;
mod wait;

pub use apps::Apps;
pub use bridge::Client;
pub use daemon::WEB_PORT;
pub use host::Host;
pub use hosts::{Hosts, Setup};
pub use images::{IMAGE_BROKEN, IMAGE_TOOLS, IMAGE_WEB_1, IMAGE_WEB_2, image_archive};
pub use leftovers::sweep;
pub use local::{Local, LocalNode};
pub use namespace::inside;
pub use output::Output;
pub use probe::{Probe, Window};
pub use process::Process;
pub use wait::eventually;
