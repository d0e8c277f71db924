//! Which backend a connection goes to, decided by the kernel.
//!
//! One nftables table holds everything: a service address or a published port
//! leads to a chain that picks a backend and rewrites the destination. The
//! source stays as it is, so servers see who calls them. [`render`] turns wants
//! into a [`Ruleset`] (pure), [`Ruleset::change_from`] says what to tell the
//! kernel (pure), and [`Nft`] tells it in one transaction.
//!
//! How a published port keeps the client's address: the host that receives a
//! connection forwards it over the overlay as it is. The host that serves sees
//! which host's bridge MAC it came from, keeps that in the connection's mark,
//! and sends the replies to the same MAC, without routing them at all. The mark
//! is the gateway's address read as a number.

mod conntrack;
mod conntrack_message;
mod firewall;
mod hold;
mod holder;
mod nft;
mod render;
mod ruleset;
mod want;

pub use conntrack::{ConntrackError, Flows, Stale};
pub use firewall::{Firewall, FirewallError};
pub use hold::{HoldProblem, Holds};
pub use holder::Holder;
pub use nft::{Nft, NftError};
pub use render::render;
pub use ruleset::{Chain, Collection, Ruleset, TABLE};
pub use want::{BalanceWant, Protocol, PublishedWant, VipWant};
