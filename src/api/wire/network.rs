//! Networks: `GET /networks`, the body of `create`, and how a task shows the networks it is on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::host_of;
use crate::spec::nullable::{is_default, nullable};
use crate::spec::service::Labels;
use crate::spec::{NetworkId, NodeId, Timestamp};
use crate::state::{self, State};

/// The option that holds a network's VXLAN identifier.
pub const VNI_OPTION: &str = "com.docker.network.driver.overlay.vxlanid_list";

/// One network, of the cluster or of the local engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    pub name: String,
    pub id: String,
    pub created: Timestamp,
    /// `swarm` or `local`.
    pub scope: String,
    pub driver: String,
    #[serde(rename = "EnableIPv4", default = "yes")]
    pub enable_ipv4: bool,
    #[serde(rename = "EnableIPv6", default)]
    pub enable_ipv6: bool,
    #[serde(rename = "IPAM", default, deserialize_with = "nullable")]
    pub ipam: NetworkIpam,
    #[serde(default)]
    pub internal: bool,
    #[serde(default)]
    pub attachable: bool,
    #[serde(default)]
    pub ingress: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub config_from: ConfigFrom,
    #[serde(default)]
    pub config_only: bool,
    /// By container id; `null` in lists.
    #[serde(default)]
    pub containers: Option<BTreeMap<String, EndpointResource>>,
    #[serde(default, deserialize_with = "nullable")]
    pub options: Labels,
    /// Docker shows `null` where there are none.
    #[serde(default)]
    pub labels: Option<Labels>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<Peer>>,
    /// Only where the client asked for it with `verbose=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, ServiceInfo>>,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkIpam {
    #[serde(deserialize_with = "nullable")]
    pub driver: String,
    pub options: Option<Labels>,
    #[serde(deserialize_with = "nullable")]
    pub config: Vec<IpamConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfig {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub subnet: String,
    #[serde(
        rename = "IPRange",
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub ip_range: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub gateway: String,
    #[serde(
        rename = "AuxiliaryAddresses",
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub auxiliary_addresses: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigFrom {
    #[serde(deserialize_with = "nullable")]
    pub network: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointResource {
    pub name: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub mac_address: String,
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Peer {
    pub name: String,
    #[serde(rename = "IP")]
    pub ip: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceInfo {
    #[serde(rename = "VIP")]
    pub vip: String,
    pub ports: Vec<String>,
    #[serde(rename = "LocalLBIndex")]
    pub local_lb_index: u64,
    pub tasks: Vec<TaskInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskInfo {
    pub name: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    #[serde(rename = "EndpointIP")]
    pub endpoint_ip: String,
    pub info: Labels,
}

/// The body of `POST /networks/create`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkCreate {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub check_duplicate: bool,
    #[serde(deserialize_with = "nullable")]
    pub driver: String,
    #[serde(deserialize_with = "nullable")]
    pub scope: String,
    #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6", deserialize_with = "nullable")]
    pub enable_ipv6: bool,
    #[serde(rename = "IPAM", skip_serializing_if = "Option::is_none")]
    pub ipam: Option<NetworkIpam>,
    #[serde(deserialize_with = "nullable")]
    pub internal: bool,
    #[serde(deserialize_with = "nullable")]
    pub attachable: bool,
    #[serde(deserialize_with = "nullable")]
    pub ingress: bool,
    #[serde(deserialize_with = "nullable")]
    pub config_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_from: Option<ConfigFrom>,
    #[serde(deserialize_with = "nullable")]
    pub options: Labels,
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
}

/// What `create` answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkCreated {
    pub id: String,
    #[serde(deserialize_with = "nullable")]
    pub warning: String,
}

/// A network of the cluster as lists show it.
pub fn render(network: &state::Network) -> Network {
    let mut options = network.spec.options.clone();
    options.insert(VNI_OPTION.to_owned(), network.vni.to_string());
    Network {
        name: network.name().to_owned(),
        id: network.id.to_string(),
        created: network.meta.created_at,
        scope: "swarm".to_owned(),
        driver: "overlay".to_owned(),
        enable_ipv4: true,
        enable_ipv6: false,
        ipam: NetworkIpam {
            driver: "default".to_owned(),
            options: None,
            config: vec![ipam_config(network)],
        },
        internal: network.spec.internal,
        attachable: network.spec.attachable,
        ingress: network.spec.ingress,
        config_from: ConfigFrom::default(),
        config_only: false,
        containers: None,
        options,
        labels: (!network.spec.labels.is_empty()).then(|| network.spec.labels.clone()),
        peers: None,
        services: None,
    }
}

/// A network as `inspect` shows it on node `here`: with the containers that run there, the nodes
/// that take part and, if `verbose`, the services behind their addresses.
pub fn render_whole(
    network: &state::Network,
    state: &State,
    here: Option<NodeId>,
    verbose: bool,
) -> Network {
    Network {
        containers: Some(containers(network, state, here)),
        peers: Some(peers(network, state)),
        services: verbose.then(|| services(network, state)),
        ..render(network)
    }
}

pub(super) fn ipam_config(network: &state::Network) -> IpamConfig {
    IpamConfig {
        subnet: network.subnet.to_string(),
        gateway: network
            .subnet
            .host(1)
            .map(|gateway| gateway.to_string())
            .unwrap_or_default(),
        ..IpamConfig::default()
    }
}

fn containers(
    network: &state::Network,
    state: &State,
    here: Option<NodeId>,
) -> BTreeMap<String, EndpointResource> {
    here.into_iter()
        .flat_map(|node| state.tasks_on(node))
        .filter(|task| !task.has_ended())
        .filter_map(|task| {
            let container = task.status.container.as_ref()?;
            let address = address_on(task, network.id)?;
            let endpoint = EndpointResource {
                name: super::task::name(task, state),
                endpoint_id: task.id.to_string(),
                mac_address: String::new(),
                ipv4_address: format!("{address}/{}", network.subnet.prefix()),
                ipv6_address: String::new(),
            };
            Some((container.id.to_string(), endpoint))
        })
        .collect()
}

fn peers(network: &state::Network, state: &State) -> Vec<Peer> {
    network
        .gateways()
        .filter_map(|(node, _)| state.node(node))
        .map(|node| Peer {
            name: node.id.to_string(),
            ip: host_of(&node.addr).to_owned(),
        })
        .collect()
}

fn services(network: &state::Network, state: &State) -> BTreeMap<String, ServiceInfo> {
    state
        .services()
        .filter(|service| state.networks_of(&service.spec).contains(&network.id))
        .map(|service| {
            let tasks = state
                .tasks_of(service.id)
                .filter(|task| task.is_serving())
                .filter_map(|task| task_info(task, network.id, state))
                .collect();
            let info = ServiceInfo {
                vip: service
                    .endpoint
                    .virtual_addresses
                    .get(&network.id)
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                ports: Vec::new(),
                local_lb_index: u64::from(network.vni),
                tasks,
            };
            (service.name().to_owned(), info)
        })
        .collect()
}

fn task_info(task: &state::Task, network: NetworkId, state: &State) -> Option<TaskInfo> {
    let node = task.node.and_then(|node| state.node(node))?;
    Some(TaskInfo {
        name: super::task::name(task, state),
        endpoint_id: task.id.to_string(),
        endpoint_ip: address_on(task, network)?.to_string(),
        info: [("Host IP".to_owned(), host_of(&node.addr).to_owned())].into(),
    })
}

fn address_on(task: &state::Task, network: NetworkId) -> Option<std::net::Ipv4Addr> {
    task.attachments
        .iter()
        .find(|attachment| attachment.network == network)
        .map(|attachment| attachment.address)
}
