//! What can be wrong with the generic resources and devices that a service asks for.

use std::collections::BTreeSet;

use super::Findings;
use crate::spec::device::{DeviceMapping, DeviceRequest};
use crate::spec::generic::GenericResource;
use crate::spec::parse::is_permissions;

pub(super) fn check_generic(kind: &str, resources: &[GenericResource], found: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (place, resource) in resources.iter().enumerate() {
        let field = format!("TaskTemplate.Resources.{kind}.GenericResources[{place}]");
        if kind == "Limits" {
            found.add(
                field,
                resource.to_string(),
                "generic resources are reserved, not limited",
                "move it to Reservations",
            );
            continue;
        }
        let (fits, key) = match resource {
            GenericResource::Named(named) => (
                !named.value.is_empty(),
                (named.kind.as_str(), named.value.as_str()),
            ),
            GenericResource::Discrete(discrete) => {
                (discrete.value > 0, (discrete.kind.as_str(), ""))
            }
        };
        if key.0.is_empty() || !fits {
            found.add(
                field,
                resource.to_string(),
                "a generic resource has a kind, and a number above 0 or a name",
                "write it as ssd=1 or gpu=UUID1",
            );
        } else if !seen.insert(key) {
            found.add(
                field,
                resource.to_string(),
                "each kind, and each name of a kind, can be reserved once",
                "add the numbers up",
            );
        }
    }
}

pub(super) fn check_devices(devices: &[DeviceMapping], found: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (place, device) in devices.iter().enumerate() {
        let at = format!("Swarmr.Devices[{place}]");
        if !device.path_on_host.starts_with('/') {
            found.add(
                format!("{at}.PathOnHost"),
                format!("{:?}", device.path_on_host),
                "an absolute path on the node, or a directory of device nodes",
                "write it as /dev/NAME",
            );
        }
        if !device.cgroup_permissions.is_empty() && !is_permissions(&device.cgroup_permissions) {
            found.add(
                format!("{at}.CgroupPermissions"),
                format!("{:?}", device.cgroup_permissions),
                "some of r (read), w (write) and m (make device nodes), each once",
                "leave it out for all of them",
            );
        }
        if !seen.insert(&device.path_on_host) {
            found.add(
                format!("{at}.PathOnHost"),
                format!("{:?}", device.path_on_host),
                "each device can be given once",
                "remove one of them",
            );
        }
    }
}

pub(super) fn check_device_requests(requests: &[DeviceRequest], found: &mut Findings) {
    for (place, request) in requests.iter().enumerate() {
        let at = format!("Swarmr.DeviceRequests[{place}]");
        let ids: BTreeSet<&String> = request.device_ids.iter().collect();
        if request.device_ids.is_empty() && (request.count < -1 || request.count == 0) {
            found.add(
                format!("{at}.Count"),
                request.count.to_string(),
                "1 or more devices, or -1 for all that the node has",
                "give Count or DeviceIDs",
            );
        }
        if !request.device_ids.is_empty() && request.count != 0 {
            found.add(
                format!("{at}.Count"),
                request.count.to_string(),
                "cannot set both Count and DeviceIDs on device request",
                "remove one of them",
            );
        }
        if ids.len() != request.device_ids.len() {
            found.add(
                format!("{at}.DeviceIDs"),
                request.device_ids.join(", "),
                "each device can be asked for once",
                "remove one of them",
            );
        }
    }
}
