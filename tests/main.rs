//! The integration tests, in one binary.

mod agent;
mod api;
mod cluster;
mod cli;
mod dependencies;
mod real;
mod sim;
mod tidy;
