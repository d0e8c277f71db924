//! `swarmr node inspect --pretty`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::api::wire::Node;
use crate::api::wire::node::Drain;
use crate::cli::output::{age, capitalised, size, text, word};

pub(super) fn node(node: &Node) -> String {
    text(|text| write_node(text, node))
}

fn write_node(text: &mut String, node: &Node) -> std::fmt::Result {
    let description = &node.description;
    writeln!(text, "ID:\t\t\t{}", node.id)?;
    if !node.spec.name.is_empty() {
        writeln!(text, "Name:\t\t\t{}", node.spec.name)?;
    }
    if !node.spec.labels.is_empty() {
        writeln!(text, "Labels:")?;
        for (key, value) in &node.spec.labels {
            writeln!(text, " - {key}={value}")?;
        }
    }
    writeln!(text, "Hostname:              \t{}", description.hostname)?;
    writeln!(
        text,
        "Joined at:             \t{}",
        age::go_instant(node.meta.created_at)
    )?;
    writeln!(text, "Status:")?;
    writeln!(
        text,
        " State:\t\t\t{}",
        capitalised(&word(&node.status.state))
    )?;
    if !node.status.message.is_empty() {
        writeln!(text, " Message:\t\t{}", capitalised(&node.status.message))?;
    }
    writeln!(
        text,
        " Availability:         \t{}",
        capitalised(&word(&node.spec.availability))
    )?;
    if let Some(drain) = node.swarmr.as_ref().and_then(|it| it.drain.as_ref()) {
        write_drain(text, drain)?;
    }
    if !node.status.addr.is_empty() {
        writeln!(text, " Address:\t\t{}", node.status.addr)?;
    }
    if let Some(manager) = &node.manager_status {
        writeln!(text, "Manager Status:")?;
        writeln!(text, " Address:\t\t{}", manager.addr)?;
        writeln!(
            text,
            " Raft Status:\t\t{}",
            capitalised(&word(&manager.reachability))
        )?;
        let leads = if manager.leader { "Yes" } else { "No" };
        writeln!(text, " Leader:\t\t{leads}")?;
    }
    write_machine(text, node)
}

fn write_drain(text: &mut String, drain: &Drain) -> std::fmt::Result {
    if drain.tasks.is_empty() {
        return writeln!(text, " Drain:\t\t\tdone");
    }
    writeln!(text, " Drain:\t\t\t{} tasks left", drain.tasks.len())?;
    if let Some(deadline) = drain.deadline {
        writeln!(text, " Drain deadline:\t{}", age::go_instant(deadline))?;
    }
    for task in &drain.tasks {
        writeln!(text, "  {}: {}", task.name, task.reason)?;
    }
    Ok(())
}

fn write_machine(text: &mut String, node: &Node) -> std::fmt::Result {
    let description = &node.description;
    writeln!(text, "Platform:")?;
    writeln!(text, " Operating System:\t{}", description.platform.os)?;
    writeln!(
        text,
        " Architecture:\t\t{}",
        description.platform.architecture
    )?;
    writeln!(text, "Resources:")?;
    writeln!(
        text,
        " CPUs:\t\t\t{}",
        description.resources.nano_cpus / 1_000_000_000
    )?;
    writeln!(
        text,
        " Memory:\t\t{}",
        size(description.resources.memory_bytes)
    )?;
    if !description.resources.generic_resources.is_empty() {
        let texts = description.resources.generic_resources.iter();
        let texts: Vec<String> = texts.map(ToString::to_string).collect();
        writeln!(text, " Generic:\t\t{}", texts.join(", "))?;
    }
    if !description.resources.devices.is_empty() {
        writeln!(text, "Devices:")?;
        for device in &description.resources.devices {
            let shared = if device.shared { ", shared" } else { "" };
            writeln!(
                text,
                " {}={}:\t\t{}{shared}",
                device.kind, device.id, device.path
            )?;
        }
    }
    let mut plugins: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for plugin in &description.engine.plugins {
        plugins.entry(&plugin.kind).or_default().push(&plugin.name);
    }
    if !plugins.is_empty() {
        writeln!(text, "Plugins:")?;
        for (kind, names) in plugins {
            writeln!(text, " {kind}:\t\t{}", names.join(", "))?;
        }
    }
    writeln!(
        text,
        "Engine Version:\t\t{}",
        description.engine.engine_version
    )?;
    if !description.engine.labels.is_empty() {
        writeln!(text, "Engine Labels:")?;
        for (key, value) in &description.engine.labels {
            writeln!(text, " - {key}={value}")?;
        }
    }
    let tls = &description.tls_info;
    if !tls.trust_root.is_empty() {
        writeln!(text, "TLS Info:")?;
        writeln!(text, " TrustRoot:\n{}", tls.trust_root)?;
        writeln!(text, " Issuer Subject:\t{}", tls.cert_issuer_subject)?;
        writeln!(text, " Issuer Public Key:\t{}", tls.cert_issuer_public_key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_shown_for_people() {
        let shown = node(
            &serde_json::from_value(json!({
                "ID": "d84zq49y3q1bkq6fne00uydd8",
                "Version": {"Index": 37},
                "CreatedAt": "2026-11-23T02:29:23.103920027Z",
                "UpdatedAt": "2026-11-23T02:29:50.338570951Z",
                "Spec": {"Labels": {"zone": "a"}, "Role": "manager", "Availability": "active"},
                "Description": {
                    "Hostname": "h1",
                    "Platform": {"Architecture": "x86_64", "OS": "linux"},
                    "Resources": {"NanoCPUs": 2_000_000_000_i64, "MemoryBytes": 25_276_510_208_i64,
                        "GenericResources": [{"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}}],
                        "Devices": [
                            {"Kind": "gpu", "ID": "0", "Path": "/dev/fake0"},
                            {"Kind": "dri", "ID": "card0", "Path": "/dev/dri/card0", "Shared": true}
                        ]},
                    "Engine": {"EngineVersion": "20.10.24", "Plugins": [
                        {"Type": "Log", "Name": "json-file"},
                        {"Type": "Log", "Name": "local"},
                        {"Type": "Network", "Name": "bridge"}
                    ]}
                },
                "Status": {"State": "ready", "Addr": "10.0.0.1"},
                "ManagerStatus":
                    {"Leader": true, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}
            }))
            .unwrap(),
        );
        let want = "ID:\t\t\td84zq49y3q1bkq6fne00uydd8\n\
            Labels:\n - zone=a\n\
            Hostname:              \th1\n\
            Joined at:             \t2026-11-23 02:29:23.103920027 +0000 utc\n\
            Status:\n State:\t\t\tReady\n Availability:         \tActive\n Address:\t\t10.0.0.1\n\
            Manager Status:\n Address:\t\t10.0.0.1:2377\n Raft Status:\t\tReachable\n Leader:\t\tYes\n\
            Platform:\n Operating System:\tlinux\n Architecture:\t\tx86_64\n\
            Resources:\n CPUs:\t\t\t2\n Memory:\t\t23.54GiB\n Generic:\t\tssd=3\n\
            Devices:\n gpu=0:\t\t/dev/fake0\n dri=card0:\t\t/dev/dri/card0, shared\n\
            Plugins:\n Log:\t\tjson-file, local\n Network:\t\tbridge\n\
            Engine Version:\t\t20.10.24\n";
        assert_eq!(shown, want);
    }
}
