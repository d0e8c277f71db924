//! What users write: specs, ids, durations. Layer: pure.
//!
//! The structs serialise to the JSON of Docker's Engine API, field for field, so that one type
//! travels from a client's request through the replicated state and back, and what a client sent
//! is what it reads again. Meaning that Docker leaves to defaults is given by accessor methods
//! (`ServiceSpec::update_policy`, …), never by writing defaults into the stored spec.

pub mod by_id;
pub mod cluster;
pub mod config;
pub mod constraint;
pub mod container;
pub mod device;
pub mod difference;
pub mod extension;
pub mod generic;
pub mod id;
pub mod image;
pub mod network;
pub mod node;
pub mod nullable;
pub mod parse;
pub mod policy;
pub mod schedule;
pub mod service;
pub mod time;
pub mod topology;
pub mod validate;

pub use cluster::ClusterSpec;
pub use config::ConfigSpec;
pub use constraint::Constraint;
pub use container::ContainerSpec;
pub use id::{ClusterId, ConfigId, NetworkId, NodeId, RequestId, ServiceId, TaskId};
pub use network::NetworkSpec;
pub use node::{Availability, NodeSpec, Role};
pub use policy::{FailureAction, RestartPolicy, UpdateOrder, UpdatePolicy};
pub use schedule::Schedule;
pub use service::{Mode, ServiceSpec, TaskSpec};
pub use time::{Nanos, Timestamp};
