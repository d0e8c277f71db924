//! What the network's doctor says of a node.

use serde::{Deserialize, Serialize};

pub use crate::message::examination::Examination;

/// One node. `error` says why it was not examined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeReport {
    pub node: String,
    pub hostname: String,
    #[serde(flatten)]
    pub examination: Examination,
    pub error: String,
}
