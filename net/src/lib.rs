//! Identity, the one door, and packets.

pub mod identity;
pub mod quic;
