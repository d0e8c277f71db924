//! Devices: what nodes have of them, and what tasks ask for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::nullable::{is_default, nullable};

/// The kind of a request that names none.
const GPU: &str = "gpu";

/// One device of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Device {
    /// What requests ask for: `gpu`, `dri`, …
    pub kind: String,
    /// Names it among those of its kind.
    #[serde(rename = "ID")]
    pub id: String,
    /// The device node.
    pub path: String,
    /// The engine's driver that puts it into a container; empty where the device node is all.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// Any number of tasks may use it at once.
    #[serde(skip_serializing_if = "is_default")]
    pub shared: bool,
}

/// Which device nodes of a machine are devices, and of what kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKind {
    pub kind: String,
    /// An absolute path whose last part may have one `*`, which stands for the device's id.
    pub pattern: String,
    pub driver: String,
    pub shared: bool,
}

impl fmt::Display for DeviceKind {
    /// As it is written on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.pattern)?;
        if !self.driver.is_empty() {
            write!(f, ",driver={}", self.driver)?;
        }
        f.write_str(if self.shared { ",shared" } else { "" })
    }
}

/// A device node that a task is given: Docker's `Devices` of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceMapping {
    #[serde(deserialize_with = "nullable")]
    pub path_on_host: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub path_in_container: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub cgroup_permissions: String,
}

impl DeviceMapping {
    /// Whether a device is what is mapped, or lies in the directory that is.
    pub fn covers(&self, device: &Device) -> bool {
        let path = self.path_on_host.trim_end_matches('/');
        device
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Devices that a task asks for by what they can: Docker's `DeviceRequests` of a container,
/// Compose's `reservations.devices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub driver: String,
    /// How many; -1 is all that the node has.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub count: i64,
    /// Which ones, instead of how many.
    #[serde(
        rename = "DeviceIDs",
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub device_ids: Vec<String>,
    /// Sets of capabilities, of which one must be met.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub capabilities: Vec<Vec<String>>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
}

impl DeviceRequest {
    /// A number of GPUs; -1 is all of a node's.
    pub fn gpus(count: i64) -> Self {
        Self {
            count,
            capabilities: vec![vec![GPU.to_owned()]],
            ..Self::default()
        }
    }

    /// The kind of device that meets it: `gpu` where that is among the capabilities, else the
    /// first one.
    pub fn kind(&self) -> &str {
        let mut capabilities = self.capabilities.iter().flatten();
        if capabilities.clone().any(|capability| capability == GPU) {
            return GPU;
        }
        capabilities.next().map_or(GPU, String::as_str)
    }

    /// Whether a device is one of those that can meet it.
    pub fn may_take(&self, device: &Device) -> bool {
        device.kind == self.kind()
            && (self.driver.is_empty() || device.driver.is_empty() || device.driver == self.driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_covers_the_devices_in_it() {
        let mapping = |path: &str| DeviceMapping {
            path_on_host: path.to_owned(),
            ..DeviceMapping::default()
        };
        let device = Device {
            path: "/dev/dri/card0".to_owned(),
            ..Device::default()
        };
        for covers in ["/dev/dri/card0", "/dev/dri", "/dev/dri/"] {
            assert!(mapping(covers).covers(&device), "{covers}");
        }
        for other in ["/dev/dri/card", "/dev/dr", "/dev/dri/card0/x"] {
            assert!(!mapping(other).covers(&device), "{other}");
        }
    }

    #[test]
    fn a_request_reads_as_docker_writes_it() {
        let text =
            r#"{"Driver":"nvidia","DeviceIDs":["0","3"],"Capabilities":[["gpu","utility"]]}"#;
        let request: DeviceRequest = serde_json::from_str(text).unwrap();
        assert_eq!(request.kind(), "gpu");
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }
}
