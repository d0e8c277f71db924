//! Which nodes live and what they say of themselves, agreed upon by rumour: SWIM's membership with
//! Lifeguard's corrections.
//!
//! [`Gossip`] is plain data. It is given the time with every input, a seed instead of randomness, and
//! datagrams from nodes whose identity the connection has proved; [`Gossip::take`] gives what is to be
//! done. Who belongs to the cluster is Raft's to say ([`Roster`]): of anybody else nothing is believed.
//! And it only ever hints: what follows from a node's death, a manager proposes and Raft decides.
//!
//! How it goes:
//! - Everybody has eight neighbours ([`roster`]), whatever the size of the cluster, and sends each a
//!   heartbeat every half second over a standing connection (`probe.rs`).
//! - A neighbour that was silent for a second is looked at closely, for a third of a second: it is pinged
//!   eight times, its kernel is asked, and those who watch it too are asked to try. What was lost on the
//!   way is found out here, before anybody else hears of it.
//! - Who still hears nothing tells all. When three neighbours agree that process and kernel are silent,
//!   the node is dead at once; else it has five seconds, ten while nobody agrees (`suspicion.rs`). It is
//!   told too, and refutes by beginning a new [`Life`].
//! - News goes along both rings the moment it is written (`rumour.rs`). Heartbeats carry a hash of all
//!   beliefs; where it stays different for 50 ms, two nodes compare and mend (`compare.rs`).
//! - A process that was stopped does not count the time ([`time`]), and one that was late, or missed
//!   without reason, trusts itself less for a while (`health.rs`).

mod budget;
mod compare;
mod dice;
mod fact;
mod few;
mod health;
mod link;
mod message;
mod node;
mod output;
mod probe;
mod record;
mod roster;
mod rumour;
mod state;
mod suspicion;
mod table;
mod time;
mod timing;
mod wire;

pub use fact::{Change, Fact, FactKey, Phase, TaskId};
pub use message::Reason;
pub use node::{Life, NodeId};
pub use output::{Event, Output};
pub use record::MOST_FACTS;
pub use roster::Roster;
pub use state::{Gossip, Standing, TooManyFacts};
pub use time::Time;
pub use timing::Timing;
pub use wire::DATAGRAM_BYTES;
