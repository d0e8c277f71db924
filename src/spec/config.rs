//! A config: a small file that services may mount, and labels.

use base64::Engine as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::nullable::{is_default, nullable};
use super::service::Labels;

/// `ConfigSpec` of the Engine API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigSpec {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub data: Payload,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templating: Option<Templating>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Templating {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
}

/// Bytes: base 64 in JSON, as they are elsewhere.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payload(pub bytes::Bytes);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text.as_bytes())
                .or_else(|_| base64::engine::general_purpose::URL_SAFE.decode(text.as_bytes()))
                .map_err(de::Error::custom)?;
            Ok(Self(bytes.into()))
        } else {
            bytes::Bytes::deserialize(deserializer).map(Self)
        }
    }
}
