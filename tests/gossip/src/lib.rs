//! Thousands of nodes that gossip, in one process and in virtual time: swarmr's state machine and, as
//! the control arm, one that follows memberlist's published formulas.
//!
//! [`World`] is a discrete-event simulation: the same seed gives the same run. Packets take time, get
//! lost, meet partitions; nodes are stopped (their kernels go on answering and keep some packets for
//! them) or lose power. What every packet costs on the wire is counted, QUIC's share included.

mod cost;
mod dice;
mod machine;
mod memberlist;
mod scenario;
mod swarmr;
mod world;

pub use cost::Transport;
pub use dice::Dice;
pub use machine::{Act, Machine, Packet, Told};
pub use memberlist::Memberlist;
pub use scenario::{Detection, Kind, crashes, idle_bytes, quantile, spreads, watch};
pub use swarmr::Swarmr;
pub use world::{Network, World};
