//! `GET /version`.

use serde::{Deserialize, Serialize};

use crate::spec::nullable::nullable;
use crate::spec::service::Labels;

/// The versions of everything behind the API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EngineVersion {
    #[serde(deserialize_with = "nullable")]
    pub platform: Platform,
    #[serde(deserialize_with = "nullable")]
    pub components: Vec<Component>,
    pub version: String,
    pub api_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    pub git_commit: String,
    pub go_version: String,
    pub os: String,
    pub arch: String,
    pub kernel_version: String,
    pub build_time: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Platform {
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Component {
    pub name: String,
    pub version: String,
    #[serde(deserialize_with = "nullable")]
    pub details: Labels,
}
