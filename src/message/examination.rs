//! How a node's network compares with what is wanted of it.

use serde::{Deserialize, Serialize};

use crate::spec::Timestamp;

/// What a node found, and what is left of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Examination {
    /// What was not as wanted at first.
    pub found: Vec<Drift>,
    /// What is not as wanted in the end.
    pub remaining: Vec<Drift>,
    /// What the node has mended lately without being asked, oldest first.
    pub mended: Vec<Mended>,
    /// Why something could not be looked at.
    pub problems: Vec<String>,
}

/// One difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Drift {
    /// `overlay`, `tunnel`, `rules`, `firewall`, `data-plane`, `engine-network` or `container`.
    pub part: String,
    /// What has to be done about it.
    pub what: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mended {
    pub at: Timestamp,
    #[serde(flatten)]
    pub drift: Drift,
}
