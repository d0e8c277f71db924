//! The HTTP surface: Docker's Engine API, plus swarmr's own verbs under `/swarmr/v1/`. Layer: shell.

pub mod client;
pub mod control;
pub mod wire;
