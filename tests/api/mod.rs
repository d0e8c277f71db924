//! The HTTP surface, asked over its own unix socket by a plain client and by the docker CLI.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests end the test where they cannot go on, as the tests do"
)]

mod bad_input;
mod conformance;
mod docker_cli;
mod events;
pub(crate) mod fake_control;
mod fake_engine;
pub(crate) mod harness;
mod jobs;
mod pass_through;
pub(crate) mod planning;
mod requests;
mod status;
mod steer;
mod validation;
