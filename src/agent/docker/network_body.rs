//! The engine network that carries an overlay, as the engine's API wants it. Pure.
//!
//! A plain bridge: the engine plumbs containers into it, the data path joins the bridges of all
//! nodes. Internal networks are not `--internal` to the engine: its isolation drops what the data
//! path forwards, and newer engines do not forward names on such networks. They get no source NAT
//! here, and the data path lets nothing in or out of them.
//!
//! Addresses are the managers' to give. All that the engine may choose from is the gateway's, which
//! is taken: who asks it for any address gets none, instead of one that a task will have.

use std::collections::HashMap;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};

use crate::agent::runtime::{EngineNetworkWant, LABEL_CLUSTER, LABEL_NETWORK};

const BRIDGE: &str = "com.docker.network.bridge.name";
const MTU: &str = "com.docker.network.driver.mtu";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

pub(super) fn network_request(want: &EngineNetworkWant) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: want.name.clone(),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam {
            driver: Some("default".to_owned()),
            config: Some(vec![IpamConfig {
                subnet: Some(want.subnet.to_string()),
                gateway: Some(want.gateway.to_string()),
                ip_range: Some(format!("{}/32", want.gateway)),
                ..IpamConfig::default()
            }]),
            options: None,
        }),
        options: Some(options(want)),
        labels: Some(HashMap::from([
            (LABEL_CLUSTER.to_owned(), want.cluster.to_string()),
            (LABEL_NETWORK.to_owned(), want.network.to_string()),
        ])),
        ..NetworkCreateRequest::default()
    }
}

fn options(want: &EngineNetworkWant) -> HashMap<String, String> {
    HashMap::from([
        (BRIDGE.to_owned(), want.bridge.clone()),
        (MTU.to_owned(), want.mtu.to_string()),
        (MASQUERADE.to_owned(), (!want.internal).to_string()),
    ])
}

/// How a network that the engine has stands to the one that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    Same,
    /// Ours, but made for other settings.
    Outdated,
    /// Somebody else's network of that name.
    Foreign,
}

pub(super) fn likeness(found: &NetworkInspect, want: &EngineNetworkWant) -> Likeness {
    let label = |name: &str| found.labels.as_ref().and_then(|labels| labels.get(name));
    if label(LABEL_CLUSTER) != Some(&want.cluster.to_string()) {
        return Likeness::Foreign;
    }
    let request = network_request(want);
    let address = |ipam: &Option<Ipam>| {
        let config = ipam.as_ref()?.config.as_ref()?.first()?.clone();
        Some((config.subnet, config.gateway, config.ip_range))
    };
    let same_options = options(want).iter().all(|(name, value)| {
        let options = found.options.as_ref();
        options.and_then(|options| options.get(name)) == Some(value)
    });
    if same_options && address(&found.ipam) == address(&request.ipam) {
        Likeness::Same
    } else {
        Likeness::Outdated
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;
    use crate::spec::{ClusterId, NetworkId};

    fn want() -> EngineNetworkWant {
        EngineNetworkWant {
            name: "swarmr-app-0".to_owned(),
            bridge: "swr-0".to_owned(),
            cluster: ClusterId::from_bits(1),
            network: NetworkId::from_bits(2),
            subnet: "10.0.1.0/24".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 0, 1, 3),
            mtu: 1450,
            internal: false,
        }
    }

    fn found(want: &EngineNetworkWant) -> NetworkInspect {
        let mut body = serde_json::to_value(network_request(want)).unwrap();
        body["Id"] = json!("0123");
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_network_is_a_bridge_with_our_gateway() {
        assert_eq!(
            serde_json::to_value(network_request(&want())).unwrap(),
            json!({
                "Name": "swarmr-app-0",
                "Driver": "bridge",
                "IPAM": {
                    "Driver": "default",
                    "Config": [{
                        "Subnet": "10.0.1.0/24",
                        "Gateway": "10.0.1.3",
                        "IPRange": "10.0.1.3/32",
                    }],
                },
                "Options": {
                    "com.docker.network.bridge.name": "swr-0",
                    "com.docker.network.driver.mtu": "1450",
                    "com.docker.network.bridge.enable_ip_masquerade": "true",
                },
                "Labels": {
                    "io.swarmr.cluster": ClusterId::from_bits(1).to_string(),
                    "io.swarmr.network": NetworkId::from_bits(2).to_string(),
                },
            })
        );
    }

    #[test]
    fn a_network_made_for_other_settings_is_told_from_a_foreign_one() {
        assert_eq!(likeness(&found(&want()), &want()), Likeness::Same);
        for other in [
            EngineNetworkWant {
                gateway: Ipv4Addr::new(10, 0, 1, 4),
                ..want()
            },
            EngineNetworkWant {
                mtu: 1400,
                ..want()
            },
            EngineNetworkWant {
                internal: true,
                ..want()
            },
        ] {
            assert_eq!(likeness(&found(&want()), &other), Likeness::Outdated);
        }
        let other = EngineNetworkWant {
            cluster: ClusterId::from_bits(9),
            ..want()
        };
        assert_eq!(likeness(&found(&want()), &other), Likeness::Foreign);
    }
}
