//! What swarmr's services have beyond Docker's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `Swarmr` of a service spec: settings that Docker's API has no field for. Clients that do not
/// know of them leave them as they are: an update without the key keeps what was there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Extension {
    /// What this version does not know. Refused when it is sent; kept when it is read, for a newer
    /// manager may have written it.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}
