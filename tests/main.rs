//! The integration tests, in one binary.

mod dependencies;
mod real;
mod sim;
mod tidy;
