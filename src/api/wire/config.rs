//! A config: `GET /configs`.

use serde::{Deserialize, Serialize};

use super::Meta;
use crate::spec::{ConfigId, ConfigSpec};
use crate::state;

/// One config with its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    #[serde(rename = "ID")]
    pub id: ConfigId,
    #[serde(flatten)]
    pub meta: Meta,
    pub spec: ConfigSpec,
}

pub fn render(config: &state::Config) -> Config {
    Config {
        id: config.id,
        meta: config.meta.into(),
        spec: config.spec.clone(),
    }
}
