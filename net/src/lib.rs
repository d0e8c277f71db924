//! Identity, the one door, and packets.
