//! What nodes say to each other over the one door: plain data, one file per protocol. Layer: pure.
//!
//! | ALPN                | who may open it        | what it carries                                  |
//! |---------------------|------------------------|--------------------------------------------------|
//! | `swarmr/join/1`     | anybody, with a token  | a certificate request, answered once             |
//! | `swarmr/admit/1`    | a fresh certificate    | "dial me back and take me in"                    |
//! | `swarmr/control/1`  | nodes                  | calls: proposals, renewals, goodbyes             |
//! | `swarmr/session/1`  | nodes                  | the agent's long-lived stream with the leader    |
//! | `swarmr/gossip/1`   | nodes                  | datagrams of `net/gossip`, no streams            |
//! | `swarmr/raft/1`     | managers               | Raft, in the bytes of the `raft` crate           |

pub mod control;
pub mod examination;
pub mod join;
pub mod session;

pub const JOIN: &str = "swarmr/join/1";
pub const ADMIT: &str = "swarmr/admit/1";
pub const CONTROL: &str = "swarmr/control/1";
pub const SESSION: &str = "swarmr/session/1";
pub const GOSSIP: &str = "swarmr/gossip/1";
pub const RAFT: &str = "swarmr/raft/1";

/// The largest frame of a session: an assignment of a few thousand tasks with their specs.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// The largest answer to a control call.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
