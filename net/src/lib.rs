//! Who is at the other end, one door per node, and the packets between containers.
//!
//! Two halves that know nothing of each other, and nothing of what a cluster runs: `identity` and
//! `quic` carry what nodes say to each other, `gossip` (driven by `membership`) is who of them lives; `overlay`, `balance` and `dns`, driven through
//! `datapath`, carry what containers say to each other.

pub mod balance;
pub mod datapath;
pub mod dataplane;
pub mod dns;
pub mod gossip;
pub mod identity;
pub mod membership;
pub mod overlay;
pub mod quic;
pub mod tunnel;

mod causes;
mod command;

pub use causes::in_words;
