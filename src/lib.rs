//! swarmr: a decentralized container orchestrator that speaks Docker's own API.
//!
//! Modules from the inside out, each using only those above it and the crates it names:
//! `spec` (what users write) → `state` (what is replicated) → `plan` (what should change now),
//! all pure; then the shells: `api` (HTTP), `agent` (containers of one node), `manager` (leader
//! loop, sessions, certificates), `daemon` (puts them together), `cli` (a client of `api`).

pub mod api;
pub mod cli;
pub mod daemon;
pub mod spec;
pub mod state;
