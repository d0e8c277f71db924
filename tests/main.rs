//! The integration tests, in one binary.

mod agent;
mod api;
mod dependencies;
mod real;
mod sim;
mod tidy;
