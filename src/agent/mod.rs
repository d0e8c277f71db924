//! The worker half of a node: runs the tasks that the managers assigned to it. Layer: shell.
//!
//! An agent cannot decide. It gets whole, stamped [`Assignment`]s and says what became of them in
//! [`TaskReport`]s. Without any manager it goes on with the last assignment it was given, also
//! after a restart. The daemon starts it; manager sessions feed it.
//!
//! Who does what: `core` gives each task a `worker`, which asks `step` (pure) what to do next and
//! does it through the [`Runtime`]; `keeper` makes networks and tables follow `wants` (pure)
//! through the [`NetworkDriver`], less what
//! `hearsay` takes out of the tables; `engine` watches the container engine; `board` collects what is
//! to be reported; `store` keeps it on disk.
//!
//! [`Assignment`]: crate::state::assignment::Assignment
//! [`TaskReport`]: crate::state::command::TaskReport

mod backoff;
mod board;
mod bounded;
mod carriers;
pub mod container;
mod core;
pub mod devices;
mod docker;
mod engine;
mod examine;
pub mod fake;
mod hearsay;
mod inventory;
mod keeper;
mod leave;
mod limit;
mod listening;
mod names;
pub mod net_driver;
pub mod network;
mod opening;
mod order;
mod progress;
pub mod runtime;
pub(crate) mod session;
mod start;
mod steer;
mod step;
mod store;
mod template;
mod tunnel;
mod tunnel_keys;
pub mod wants;
mod worker;

pub use bounded::Deadlines;
pub use docker::Docker;
pub use engine::EngineState;
pub use fake::FakeRuntime;
pub use hearsay::{Hearsay, Silence, to_be_told};
pub use inventory::Inventory;
pub use leave::remove_everything;
pub use net_driver::NetDriver;
pub use network::{FakeNetworkDriver, NetworkDriver, NetworkWants};
pub use order::{bridge_name, engine_name};
pub use runtime::{Runtime, RuntimeError};
pub use start::{Agent, AgentConfig, Taken};
pub use store::StoreError;
pub use wants::Underlay;
