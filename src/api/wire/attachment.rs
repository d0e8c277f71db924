//! A network as the tasks on it show it: another shape than the network's own.

use serde::{Deserialize, Serialize};

use super::Meta;
use super::network::{IpamConfig, VNI_OPTION, ipam_config};
use crate::spec::NetworkId;
use crate::spec::nullable::{is_default, nullable};
use crate::spec::service::Labels;
use crate::state;

/// A network as a task shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachedNetwork {
    #[serde(rename = "ID")]
    pub id: NetworkId,
    #[serde(flatten)]
    pub meta: Meta,
    pub spec: AttachedSpec,
    #[serde(default, deserialize_with = "nullable")]
    pub driver_state: Driver,
    #[serde(rename = "IPAMOptions", default, deserialize_with = "nullable")]
    pub ipam_options: IpamOptions,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AttachedSpec {
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    pub driver_configuration: Driver,
    #[serde(skip_serializing_if = "is_default")]
    pub internal: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub attachable: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub ingress: bool,
    #[serde(rename = "IPAMOptions")]
    pub ipam_options: IpamOptions,
    pub scope: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Driver {
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub options: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamOptions {
    pub driver: Driver,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub configs: Vec<IpamConfig>,
}

/// A network as its tasks show it.
pub fn render(network: &state::Network) -> AttachedNetwork {
    let named = |name: &str| Driver {
        name: name.to_owned(),
        options: Labels::new(),
    };
    // The mesh's own network was never asked for, so its spec names no drivers.
    let (driver, ipam) = if network.spec.ingress {
        (Driver::default(), Driver::default())
    } else {
        (named("overlay"), named("default"))
    };
    AttachedNetwork {
        id: network.id,
        meta: network.meta.into(),
        spec: AttachedSpec {
            name: network.name().to_owned(),
            labels: network.spec.labels.clone(),
            driver_configuration: Driver {
                options: network.spec.options.clone(),
                ..driver
            },
            internal: network.spec.internal,
            attachable: network.spec.attachable,
            ingress: network.spec.ingress,
            ipam_options: IpamOptions {
                driver: ipam,
                configs: Vec::new(),
            },
            scope: "swarm".to_owned(),
        },
        driver_state: Driver {
            name: "overlay".to_owned(),
            options: [(VNI_OPTION.to_owned(), network.vni.to_string())].into(),
        },
        ipam_options: IpamOptions {
            driver: named("default"),
            configs: vec![ipam_config(network)],
        },
    }
}
