//! The HTTP surface: Docker's Engine API, plus swarmr's own verbs under `/swarmr/v1/`. Layer: shell.
//!
//! A request comes in at `server`, gets its route from `route`, is read and checked by `admit`,
//! and is answered by the file of its subject (`services`, `nodes`, …) through the [`Control`]
//! trait, or handed to the local engine by `engine`. The shapes are in [`wire`].

mod admit;
mod changes;
pub mod client;
mod configs;
pub mod control;
mod doctor;
mod engine;
mod error;
mod events;
mod filters;
mod info;
mod lenient;
mod logs;
mod names;
mod networks;
mod nodes;
mod query;
mod reply;
mod route;
mod server;
mod services;
mod status;
mod steer;
mod swarm;
mod tasks;
mod warnings;
pub mod wire;

pub use control::Control;
pub use engine::{EngineAddress, ParseEngineAddressError};
pub use server::serve;
pub use status::status_report;

/// The body of every answer, ours or the engine's.
type Body = http_body_util::combinators::UnsyncBoxBody<
    bytes::Bytes,
    Box<dyn std::error::Error + Send + Sync>,
>;

/// What a handler comes to.
type Answer = Result<hyper::Response<Body>, error::ApiError>;
