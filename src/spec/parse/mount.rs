//! `--mount`: `type=bind,source=/a,target=/b,readonly`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{ParseError, fields, quantity, truth};
use crate::spec::container::Mount;

const KINDS: [&str; 6] = ["volume", "bind", "tmpfs", "npipe", "cluster", "image"];
const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// One mount, with the options of its kind in Docker's `BindOptions`, `VolumeOptions`, ….
pub fn mount(text: &str) -> Result<Mount, ParseError> {
    let wrong = |allowed: &str| ParseError::new("mount", text, allowed);
    let mut mount = Mount {
        kind: Some("volume".to_owned()),
        ..Mount::default()
    };
    let mut options = Options::default();
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let flag = |what| value.map_or(Ok(true), |value| truth(what, value));
        match (key.as_str(), value) {
            ("readonly" | "ro", _) => mount.read_only = flag("readonly")?,
            ("bind-nonrecursive", _) => {
                options.set("BindOptions", "NonRecursive", flag("bind-nonrecursive")?);
            }
            ("bind-create-src", _) => {
                options.set("BindOptions", "CreateMountpoint", flag("bind-create-src")?);
            }
            ("volume-nocopy", _) => {
                options.set("VolumeOptions", "NoCopy", flag("volume-nocopy")?);
            }
            (_, None) => return Err(wrong("key=value for every key but readonly")),
            ("type", Some(kind)) => {
                let kind = kind.to_ascii_lowercase();
                if !KINDS.contains(&kind.as_str()) {
                    return Err(wrong(
                        "a type of volume, bind, tmpfs, npipe, cluster or image",
                    ));
                }
                mount.kind = Some(kind);
            }
            ("source" | "src", Some(source)) => mount.source = source.to_owned(),
            ("target" | "dst" | "destination", Some(target)) => {
                target.clone_into(&mut mount.target)
            }
            (key, Some(value)) => options.read(text, key, value)?,
        }
    }
    check(text, &mount, &options)?;
    mount.options = options.0;
    Ok(mount)
}

fn check(text: &str, mount: &Mount, options: &Options) -> Result<(), ParseError> {
    let wrong = |allowed: &str| ParseError::new("mount", text, allowed);
    let kind = mount.kind.as_deref().unwrap_or("volume");
    if mount.target.is_empty() {
        return Err(wrong("a target"));
    }
    match kind {
        "bind" if mount.source.is_empty() => return Err(wrong("a source, for it is a bind mount")),
        "bind" if !mount.source.starts_with('/') => {
            return Err(wrong("an absolute path as the source of a bind mount"));
        }
        "tmpfs" if !mount.source.is_empty() => {
            return Err(wrong("no source, for a tmpfs mount has none"));
        }
        "image" if mount.source.is_empty() => return Err(wrong("an image as its source")),
        _ => {}
    }
    let own = match kind {
        "volume" => "VolumeOptions",
        "bind" => "BindOptions",
        "tmpfs" => "TmpfsOptions",
        "image" => "ImageOptions",
        _ => "",
    };
    for group in options.0.keys() {
        if group != own && group != "Consistency" {
            return Err(wrong(&format!("no {group} in a mount of type {kind}")));
        }
    }
    Ok(())
}

/// The options of a mount, as Docker's API groups them.
#[derive(Default)]
struct Options(BTreeMap<String, Value>);

impl Options {
    fn read(&mut self, text: &str, key: &str, value: &str) -> Result<(), ParseError> {
        let wrong = |allowed: String| ParseError::new("mount", text, allowed);
        match key {
            "consistency" => {
                self.0.insert("Consistency".to_owned(), json!(value));
            }
            "bind-propagation" => {
                if !PROPAGATIONS.contains(&value) {
                    return Err(wrong(format!(
                        "a bind-propagation of {}",
                        PROPAGATIONS.join(", ")
                    )));
                }
                self.set("BindOptions", "Propagation", value);
            }
            "bind-recursive" => match value {
                "enabled" => {}
                "disabled" => self.set("BindOptions", "NonRecursive", true),
                "writable" => self.set("BindOptions", "ReadOnlyNonRecursive", true),
                "readonly" => self.set("BindOptions", "ReadOnlyForceRecursive", true),
                _ => {
                    return Err(wrong(
                        "a bind-recursive of enabled, disabled, writable or readonly".to_owned(),
                    ));
                }
            },
            "volume-driver" => {
                self.driver_config().insert("Name".to_owned(), json!(value));
            }
            "volume-opt" => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                object(self.driver_config(), "Options").insert(name.to_owned(), json!(value));
            }
            "volume-label" => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                let labels = object(self.group("VolumeOptions"), "Labels");
                labels.insert(name.to_owned(), json!(value));
            }
            "volume-subpath" => self.set("VolumeOptions", "Subpath", value),
            "image-subpath" => self.set("ImageOptions", "Subpath", value),
            "tmpfs-size" => self.set("TmpfsOptions", "SizeBytes", quantity::bytes(value)?),
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8)
                    .map_err(|_| wrong("a tmpfs-mode in octal digits, such as 1777".to_owned()))?;
                self.set("TmpfsOptions", "Mode", mode);
            }
            _ => {
                return Err(wrong(format!(
                    "one of the keys type, source, target, readonly, consistency, bind-*, \
                     volume-*, tmpfs-*, image-subpath; {key} is none of them"
                )));
            }
        }
        Ok(())
    }

    fn group(&mut self, name: &str) -> &mut Map<String, Value> {
        let group = self.0.entry(name.to_owned()).or_insert_with(|| json!({}));
        as_object(group)
    }

    fn driver_config(&mut self) -> &mut Map<String, Value> {
        object(self.group("VolumeOptions"), "DriverConfig")
    }

    fn set(&mut self, group: &str, key: &str, value: impl Into<Value>) {
        self.group(group).insert(key.to_owned(), value.into());
    }
}

fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    as_object(parent.entry(key).or_insert_with(|| json!({})))
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made an object above")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_written_as_dockers_client_writes_them() {
        let table = [
            (
                "source=data,target=/data",
                json!({"Type": "volume", "Source": "data", "Target": "/data"}),
            ),
            (
                "type=bind,src=/a,dst=/b,ro",
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true}),
            ),
            (
                "type=bind,src=/a,dst=/b,readonly=false,bind-propagation=rshared,bind-recursive=disabled",
                json!({"Type": "bind", "Source": "/a", "Target": "/b",
                    "BindOptions": {"Propagation": "rshared", "NonRecursive": true}}),
            ),
            (
                "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1770",
                json!({"Type": "tmpfs", "Target": "/t",
                    "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 0o1770}}),
            ),
            (
                r#"source=n,target=/n,volume-driver=local,volume-opt=type=nfs,"volume-opt=o=addr=1,rw",volume-label=a=b,volume-nocopy"#,
                json!({"Type": "volume", "Source": "n", "Target": "/n",
                    "VolumeOptions": {"NoCopy": true, "Labels": {"a": "b"},
                        "DriverConfig": {"Name": "local",
                            "Options": {"type": "nfs", "o": "addr=1,rw"}}}}),
            ),
        ];
        for (text, want) in table {
            let got = serde_json::to_value(mount(text).unwrap()).unwrap();
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn mounts_that_make_no_sense_are_refused() {
        for text in [
            "",
            "type=bind,target=/b",
            "type=bind,source=a,target=/b",
            "type=floppy,target=/b",
            "source=a",
            "type=tmpfs,source=/a,target=/b",
            "type=bind,source=/a,target=/b,volume-nocopy",
            "type=bind,source=/a,target=/b,bind-propagation=loud",
            "target=/a,tmpfs-mode=9",
            "target=/a,sauce=x",
            "target=/a,readonly=maybe",
            "target",
        ] {
            assert!(mount(text).is_err(), "{text}");
        }
    }
}
