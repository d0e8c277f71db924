//! swarmr: a decentralized container orchestrator that speaks Docker's own API.
//!
//! Modules from the inside out, each using only those above it and the crates it names:
//! `spec` (what users write) → `state` (what is replicated) → `plan` (what should change now) and
//! `message` (what nodes say to each other), all pure; then the shells: `api` (HTTP), `agent`
//! (containers of one node), `manager` (leader loop, sessions, certificates), `daemon` (puts them
//! together), `cli` (a client of `api`). ARCHITECTURE.md has the map and a journey through it.

pub mod spec;
pub mod state;

pub mod message;
pub mod plan;

pub mod agent;
pub mod api;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod manager;
