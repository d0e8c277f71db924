//! Identity, the one door, and packets.

pub mod balance;
pub mod datapath;
pub mod dns;
pub mod overlay;

mod command;
