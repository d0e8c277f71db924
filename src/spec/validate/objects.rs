//! What can be wrong with networks, configs and nodes.

use std::net::Ipv4Addr;

use super::{
    Findings, MAX_CONFIG_BYTES, MAX_CONFIG_NAME_LENGTH, MAX_LABEL_LENGTH, Problem, is_name_char,
};
use crate::spec::network::{IpamConfig, Subnet};
use crate::spec::{ConfigSpec, NetworkSpec, NodeSpec};

/// Everything that is wrong with a network.
pub fn validate_network(spec: &NetworkSpec) -> Vec<Problem> {
    let mut found = Findings::default();
    let name_fits = spec
        .name
        .starts_with(|first: char| first.is_ascii_alphanumeric())
        && spec.name.len() <= MAX_LABEL_LENGTH
        && spec.name.chars().all(is_name_char);
    if !name_fits {
        found.add(
            "Name",
            format!("{:?}", spec.name),
            "a network name is 1 to 63 letters, digits, '_', '.' and '-' and begins with a letter or digit",
            "choose another name",
        );
    }
    if let Some(said) = spec.options.get(NetworkSpec::ENCRYPTED)
        && !matches!(said.as_str(), "" | "true" | "1" | "false" | "0")
    {
        found.add(
            "Options.encrypted",
            format!("{said:?}"),
            "a network is encrypted between nodes or, with \"false\", plain",
            "leave --opt encrypted away, or give --opt encrypted=false",
        );
    }
    if !matches!(spec.ipam.driver.as_str(), "" | "default") {
        found.add(
            "IPAM.Driver",
            format!("{:?}", spec.ipam.driver),
            "only the driver default is known",
            "leave --ipam-driver away",
        );
    }
    if spec.ipam.config.len() > 1 {
        found.add(
            "IPAM.Config",
            format!("{} subnets", spec.ipam.config.len()),
            "a network has one IPv4 subnet",
            "give one --subnet",
        );
    }
    for config in &spec.ipam.config {
        check_ipam(config, &mut found);
    }
    found.problems
}

/// Everything that is wrong with a config.
pub fn validate_config(spec: &ConfigSpec) -> Vec<Problem> {
    let mut found = Findings::default();
    let name = spec.name.as_str();
    let edges_fit = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.ends_with(|last: char| last.is_ascii_alphanumeric());
    if !edges_fit || name.len() > MAX_CONFIG_NAME_LENGTH || !name.chars().all(is_name_char) {
        found.add(
            "Name",
            format!("{name:?}"),
            "invalid config name: only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
            "choose another name",
        );
    }
    let length = spec.data.0.len();
    if length == 0 || length > MAX_CONFIG_BYTES {
        found.add(
            "Data",
            format!("{length} bytes"),
            "config data must be larger than 0 and at most 1024000 bytes",
            "put larger files into an image or a volume",
        );
    }
    found.problems
}

/// Everything that is wrong with a node's settings.
pub fn validate_node(spec: &NodeSpec) -> Vec<Problem> {
    let mut found = Findings::default();
    if spec.labels.keys().any(|name| name.is_empty()) {
        found.add(
            "Labels",
            "an empty name".to_owned(),
            "a label is name=value",
            "give the label a name",
        );
    }
    found.problems
}

fn check_ipam(config: &IpamConfig, found: &mut Findings) {
    let subnet = match config.subnet.parse::<Subnet>() {
        Ok(subnet) => Some(subnet),
        Err(_) if config.subnet.is_empty() => None,
        Err(error) => {
            found.add(
                "IPAM.Config.Subnet",
                format!("{:?}", config.subnet),
                &format!("invalid subnet: {error}"),
                "",
            );
            return;
        }
    };
    if !config.gateway.is_empty() {
        let fits = config
            .gateway
            .parse::<Ipv4Addr>()
            .is_ok_and(|gateway| subnet.is_some_and(|subnet| subnet.contains(gateway)));
        if !fits {
            found.add(
                "IPAM.Config.Gateway",
                format!("{:?}", config.gateway),
                "an IPv4 address inside the subnet",
                "",
            );
        }
    }
    if !config.ip_range.is_empty() {
        let fits = config
            .ip_range
            .parse::<Subnet>()
            .is_ok_and(|range| subnet.is_some_and(|subnet| subnet.overlaps(&range)));
        if !fits {
            found.add(
                "IPAM.Config.IPRange",
                format!("{:?}", config.ip_range),
                "an IPv4 subnet inside the network's",
                "",
            );
        }
    }
}
