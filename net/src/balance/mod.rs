//! Which backend a connection goes to, decided by the kernel.
//!
//! One nftables table holds everything: for a service address or a published
//! port a place is drawn by a number, and the place's container becomes the
//! destination. The source stays as it is, so servers see who calls them.
//! `render` makes the rules (pure), which belong to no service; [`places`] says
//! which elements of its maps change when a service does (pure); [`Nft`] tells
//! the kernel, in one transaction: rules in the words of `nft`, elements by a
//! message of their own that costs the same however many services there are.
//!
//! How a published port keeps the client's address: the host that receives a
//! connection forwards it over the overlay as it is. The host that serves sees
//! which host's bridge MAC it came from, keeps that in the connection's mark,
//! and sends the replies to the same MAC, without routing them at all. The mark
//! is the gateway's address read as a number.

mod addresses;
mod batch;
mod conntrack;
mod conntrack_message;
mod edits;
mod element;
mod firewall;
mod hold;
mod holder;
mod listing;
mod nft;
mod places;
mod render;
mod ruleset;
mod subnets;
mod want;

pub use addresses::Addresses;
pub use conntrack::{Balanced, ConntrackError, Flows};
pub use firewall::{Firewall, FirewallError};
pub use hold::{HeldSocket, HoldProblem, Holds};
pub use holder::Holder;
pub use nft::{Nft, NftError, Outcome};
use ruleset::{Chain, Collection, Ruleset, TABLE};
pub use want::{BalanceWant, Protocol, PublishedWant, VipWant};
