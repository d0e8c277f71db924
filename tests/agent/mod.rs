//! The worker half of a node: on a pretended engine, and on a real one.

mod conformance;
mod engine;
mod fixture;
mod on_docker;
mod on_fake;
