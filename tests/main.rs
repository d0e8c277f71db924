//! The integration tests, in one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod agent;
mod api;
mod cli;
mod cluster;
mod dependencies;
mod real;
mod sim;
mod tidy;
