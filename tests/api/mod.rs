//! The HTTP surface, asked over its own unix socket by a plain client and by the docker CLI.

mod bad_input;
mod conformance;
mod docker_cli;
mod events;
pub(crate) mod fake_control;
mod fake_engine;
pub(crate) mod harness;
mod pass_through;
mod requests;
mod status;
mod validation;
