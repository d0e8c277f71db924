//! The devices that a task was given, as its container gets them. Pure.

use super::order::Order;
use crate::spec::device::{Device, DeviceMapping, DeviceRequest};

const ALL_PERMISSIONS: &str = "rwm";

/// Device nodes, and what is asked of the engine's drivers.
pub(super) fn given(order: &Order) -> (Vec<DeviceMapping>, Vec<DeviceRequest>) {
    let extension = order.spec.extension();
    let mut mappings: Vec<DeviceMapping> = extension.devices.iter().map(complete).collect();
    let mut requests = Vec::new();
    for (place, request) in extension.device_requests.iter().enumerate() {
        let given = || {
            let of_request =
                |it: &&crate::state::assignment::AssignedDevice| it.request == Some(place);
            order.devices.iter().filter(of_request).map(|it| &it.device)
        };
        let driver = |device: &&Device| !device.driver.is_empty();
        mappings.extend(given().filter(|device| !driver(device)).map(node_of));
        let ids: Vec<String> = given().filter(driver).map(|it| it.id.clone()).collect();
        let Some(first) = given().find(driver) else {
            continue;
        };
        requests.push(DeviceRequest {
            driver: first.driver.clone(),
            count: 0,
            device_ids: ids,
            ..request.clone()
        });
    }
    (mappings, requests)
}

fn complete(mapping: &DeviceMapping) -> DeviceMapping {
    let or = |text: &str, usual: &str| if text.is_empty() { usual } else { text }.to_owned();
    DeviceMapping {
        path_on_host: mapping.path_on_host.clone(),
        path_in_container: or(&mapping.path_in_container, &mapping.path_on_host),
        cgroup_permissions: or(&mapping.cgroup_permissions, ALL_PERMISSIONS),
    }
}

fn node_of(device: &Device) -> DeviceMapping {
    complete(&DeviceMapping {
        path_on_host: device.path.clone(),
        ..DeviceMapping::default()
    })
}
