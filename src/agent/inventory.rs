//! What this machine has beyond what its engine tells: generic resources as its operator declared
//! them, and devices as they are found.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use crate::spec::device::{Device, DeviceKind};
use crate::spec::generic::GenericResource;
use crate::state::node::NodeDescription;

/// Devices that are looked for on every machine: kind, pattern, driver, whether tasks share them.
const USUAL: [(&str, &str, &str, bool); 11] = [
    ("gpu", "/dev/nvidia*", "nvidia", false),
    ("dri", "/dev/dri/*", "", true),
    ("kfd", "/dev/kfd", "", true),
    ("kvm", "/dev/kvm", "", true),
    ("fuse", "/dev/fuse", "", true),
    ("tun", "/dev/net/tun", "", true),
    ("snd", "/dev/snd/*", "", true),
    ("video", "/dev/video*", "", false),
    ("tty-usb", "/dev/ttyUSB*", "", false),
    ("tty-acm", "/dev/ttyACM*", "", false),
    ("vfio", "/dev/vfio/*", "", false),
];

/// The settings of one node, and what its machine has by them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    generic_resources: Vec<GenericResource>,
    /// Looked for before the usual ones; a device is of the first kind that it fits.
    kinds: Vec<DeviceKind>,
}

impl Inventory {
    pub const fn new(generic_resources: Vec<GenericResource>, kinds: Vec<DeviceKind>) -> Self {
        Self {
            generic_resources,
            kinds,
        }
    }

    /// An engine's description with what the machine has besides. What is declared for a kind
    /// stands in place of what the engine says of it.
    pub fn complete(&self, mut description: NodeDescription) -> NodeDescription {
        let declared = |kind: &str| self.generic_resources.iter().any(|it| it.kind() == kind);
        let resources = &mut description.generic_resources;
        resources.retain(|resource| !declared(resource.kind()));
        resources.extend(self.generic_resources.iter().cloned());
        resources.sort();
        resources.dedup();
        description.devices = self.devices();
        description
    }

    fn devices(&self) -> Vec<Device> {
        let usual = USUAL.map(|(kind, pattern, driver, shared)| DeviceKind {
            kind: kind.to_owned(),
            pattern: pattern.to_owned(),
            driver: driver.to_owned(),
            shared,
        });
        let mut devices: Vec<Device> = Vec::new();
        for kind in self.kinds.iter().chain(&usual) {
            let mut of_kind = found(kind);
            of_kind.retain(|device| devices.iter().all(|known| known.path != device.path));
            // 2 comes before 10.
            of_kind.sort_by_key(|device| (device.id.len(), device.id.clone()));
            devices.append(&mut of_kind);
        }
        devices
    }
}

/// The device nodes that fit a pattern.
fn found(kind: &DeviceKind) -> Vec<Device> {
    let path = Path::new(&kind.pattern);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let (start, end) = {
        let name = name.to_string_lossy().into_owned();
        match name.split_once('*') {
            Some((start, end)) => (start.to_owned(), Some(end.to_owned())),
            None => (name, None),
        }
    };
    let mut devices = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = id_of(&name, &start, end.as_deref()) else {
            continue;
        };
        // NVIDIA's control nodes stand beside its cards.
        if kind.driver == "nvidia" && !id.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let is_device = fs::metadata(entry.path()).is_ok_and(|metadata| {
            metadata.file_type().is_char_device() || metadata.file_type().is_block_device()
        });
        if is_device {
            devices.push(Device {
                kind: kind.kind.clone(),
                id,
                path: entry.path().to_string_lossy().into_owned(),
                driver: kind.driver.clone(),
                shared: kind.shared,
            });
        }
    }
    devices
}

/// What the `*` stands for; where it stands for all or there is none, the whole name.
fn id_of(name: &str, start: &str, end: Option<&str>) -> Option<String> {
    let Some(end) = end else {
        return (name == start).then(|| name.to_owned());
    };
    let id = name.strip_prefix(start)?.strip_suffix(end)?;
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};

    fn made_up(folder: &Path, names: &[&str]) {
        for name in names {
            // The numbers of /dev/null.
            let mode = Mode::from_bits_truncate(0o600);
            mknod(&folder.join(name), SFlag::S_IFCHR, mode, makedev(1, 3)).expect("a device node");
        }
    }

    #[test]
    fn devices_are_found_by_their_nodes() {
        let folder = tempfile::tempdir().expect("a folder");
        made_up(folder.path(), &["fake0", "fake10", "fake2", "other"]);
        fs::write(folder.path().join("fake3"), "no device").expect("a file");
        let kind = |kind: &str, pattern: &str, shared| DeviceKind {
            kind: kind.to_owned(),
            pattern: format!("{}/{pattern}", folder.path().display()),
            driver: String::new(),
            shared,
        };
        let inventory = Inventory::new(
            vec![GenericResource::discrete("ssd", 2)],
            vec![kind("gpu", "fake*", false), kind("all", "*", true)],
        );
        let described = inventory.complete(NodeDescription {
            generic_resources: vec![
                GenericResource::discrete("ssd", 9),
                GenericResource::named("card", "a"),
            ],
            ..NodeDescription::default()
        });
        assert_eq!(
            described.generic_resources,
            [
                GenericResource::named("card", "a"),
                GenericResource::discrete("ssd", 2)
            ]
        );
        let ours: Vec<_> = described
            .devices
            .iter()
            .filter(|device| {
                device
                    .path
                    .starts_with(folder.path().to_str().expect("a path"))
            })
            .map(|device| (device.kind.as_str(), device.id.as_str(), device.shared))
            .collect();
        assert_eq!(
            ours,
            [
                ("gpu", "0", false),
                ("gpu", "2", false),
                ("gpu", "10", false),
                ("all", "other", true),
            ]
        );
    }
}
