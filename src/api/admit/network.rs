//! Networks of the cluster.

use crate::api::error::ApiError;
use crate::api::wire::NetworkCreate;
use crate::spec::NetworkSpec;
use crate::spec::network::{Ipam, IpamConfig};
use crate::spec::nullable::is_default;
use crate::spec::validate::validate_network;

/// A network of the cluster.
pub(in crate::api) fn network(create: NetworkCreate) -> Result<NetworkSpec, ApiError> {
    refuse_unbuilt_network(&create)?;
    let mut options = create.options;
    // Listings say it of every network.
    let said = options.entry(NetworkSpec::ENCRYPTED.to_owned());
    said.or_insert_with(|| "true".to_owned());
    let ipam = create.ipam.unwrap_or_default();
    let spec = NetworkSpec {
        name: create.name,
        labels: create.labels,
        internal: create.internal,
        attachable: create.attachable,
        ingress: false,
        ipam: Ipam {
            driver: ipam.driver,
            config: ipam
                .config
                .into_iter()
                .map(|config| IpamConfig {
                    subnet: config.subnet,
                    gateway: config.gateway,
                    ip_range: config.ip_range,
                })
                .collect(),
        },
        options,
    };
    let problems = validate_network(&spec);
    if !problems.is_empty() {
        return Err(ApiError::invalid("network", problems));
    }
    Ok(spec)
}

fn refuse_unbuilt_network(create: &NetworkCreate) -> Result<(), ApiError> {
    let ipam = create.ipam.as_ref();
    let auxiliary = ipam.is_some_and(|ipam| {
        ipam.config
            .iter()
            .any(|config| !config.auxiliary_addresses.is_empty())
    });
    let ipam_options =
        ipam.is_some_and(|ipam| ipam.options.as_ref().is_some_and(|o| !o.is_empty()));
    for (asked, name) in [
        (
            !matches!(create.driver.as_str(), "" | "overlay"),
            format!("the driver {} for networks of the cluster", create.driver),
        ),
        (
            create.ingress,
            "a second routing-mesh network (Ingress)".to_owned(),
        ),
        (
            create.config_only
                || create
                    .config_from
                    .as_ref()
                    .is_some_and(|from| !is_default(from)),
            "networks from configurations (ConfigOnly, ConfigFrom)".to_owned(),
        ),
        (create.enable_ipv6, "IPv6 in overlay networks".to_owned()),
        (
            create.enable_ipv4 == Some(false),
            "overlay networks without IPv4".to_owned(),
        ),
        (
            auxiliary,
            "auxiliary addresses (AuxiliaryAddresses)".to_owned(),
        ),
        (
            ipam_options,
            "options of address management (IPAM.Options)".to_owned(),
        ),
    ] {
        if asked {
            return Err(ApiError::not_built(&name));
        }
    }
    Ok(())
}
