//! The integration tests, in one binary.

mod agent;
mod api;
mod cli;
mod cluster;
mod dependencies;
mod real;
mod sim;
mod tidy;
