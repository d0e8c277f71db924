//! From an order to the container it wants, with placeholders replaced and labels set. Pure, and
//! in no engine's terms: `docker/create_body.rs` renders it for an engine.

use std::net::Ipv4Addr;

use super::devices;
use super::order::Order;
use super::runtime::{LABEL_CLUSTER, LABEL_TASK};
use super::template::{TemplateError, TemplateFields, expand};
use crate::spec::ContainerSpec;
use crate::spec::device::{DeviceMapping, DeviceRequest};
use crate::spec::generic::environment;
use crate::spec::service::{Labels, LogDriver, PortConfig, Resources};
use crate::state::node::NodeDescription;

/// A container as it is to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerWant {
    pub name: String,
    /// The spec's own and ours.
    pub labels: Labels,
    /// With placeholders replaced. Its labels are not used.
    pub spec: ContainerSpec,
    pub limits: Resources,
    pub reservations: Resources,
    pub log_driver: Option<LogDriver>,
    pub networking: Networking,
    /// Who answers names, first choice first.
    pub name_servers: Vec<String>,
    /// Ports of this node that lead to the container.
    pub host_ports: Vec<PortConfig>,
    /// Device nodes of this machine for it.
    pub devices: Vec<DeviceMapping>,
    /// Devices that a driver of the engine puts into it.
    pub device_requests: Vec<DeviceRequest>,
}

/// What a container is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Networking {
    /// One engine network per overlay, in the service's order.
    Overlays(Vec<ContainerNetwork>),
    /// The engine's default bridge.
    EngineDefault,
    /// The node's own interfaces.
    Host,
    /// Loopback only.
    None,
}

/// A container's place on one engine network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerNetwork {
    pub engine_name: String,
    pub address: Ipv4Addr,
    /// There is no way out through it.
    pub internal: bool,
}

/// Why no container can be made of an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("the service uses {what}, which this version of swarmr does not support")]
    Unsupported { what: &'static str },
}

/// The container of an order on a machine of that description, after so many init containers.
pub(super) fn container_want(
    order: &Order,
    machine: &NodeDescription,
    stage: u32,
) -> Result<ContainerWant, ContainerError> {
    let template = &order.spec.task_template;
    let name = order.container_name(stage);
    let mut spec = expanded(&order.container_at(stage), &fields(order, machine))?;
    spec.env.extend(environment(&order.resources));
    let (devices, device_requests) = devices::given(order);
    refuse_unsupported(&spec, template.runtime.as_deref())?;
    let resources = template.resources.clone().unwrap_or_default();
    Ok(ContainerWant {
        labels: labels(order, &spec, &name),
        name,
        limits: resources.limits.unwrap_or_default(),
        reservations: resources.reservations.unwrap_or_default(),
        log_driver: template.log_driver.clone(),
        networking: networking(order),
        name_servers: name_servers(order, &spec),
        // Nobody is to be sent to what only prepares.
        host_ports: match order.init_at(stage) {
            Some(_) => Vec::new(),
            None => order.host_ports.clone(),
        },
        devices,
        device_requests,
        spec,
    })
}

fn refuse_unsupported(spec: &ContainerSpec, runtime: Option<&str>) -> Result<(), ContainerError> {
    let unsupported = |what| Err(ContainerError::Unsupported { what });
    if !spec.secrets.is_empty() {
        return unsupported("secrets");
    }
    if !spec.configs.is_empty() {
        return unsupported("configs");
    }
    if matches!(runtime, Some(kind) if !kind.is_empty() && kind != "container") {
        return unsupported("a runtime other than containers");
    }
    Ok(())
}

fn fields(order: &Order, machine: &NodeDescription) -> TemplateFields {
    TemplateFields {
        service_id: order.service.to_string(),
        service_name: order.spec.name.clone(),
        service_labels: order.spec.labels.clone(),
        node_id: order.node.to_string(),
        node_hostname: order.hostname.clone(),
        node_os: machine.os.clone(),
        node_architecture: machine.architecture.clone(),
        task_id: order.task.to_string(),
        task_name: order.task_name(),
        task_slot: order.slot.to_string(),
    }
}

fn expanded(spec: &ContainerSpec, fields: &TemplateFields) -> Result<ContainerSpec, TemplateError> {
    let mut spec = spec.clone();
    spec.hostname = expand(&spec.hostname, fields)?;
    for variable in &mut spec.env {
        *variable = expand(variable, fields)?;
    }
    for mount in &mut spec.mounts {
        mount.source = expand(&mount.source, fields)?;
        mount.target = expand(&mount.target, fields)?;
    }
    Ok(spec)
}

fn labels(order: &Order, spec: &ContainerSpec, name: &str) -> Labels {
    let mut labels = spec.labels.clone();
    // A user cannot forge ours: a container is found again, stopped and removed by them.
    labels.retain(|name, _| {
        !name.starts_with("com.docker.swarm.") && !name.starts_with("io.swarmr.")
    });
    labels.extend(
        [
            ("com.docker.swarm.node.id", order.node.to_string()),
            ("com.docker.swarm.service.id", order.service.to_string()),
            ("com.docker.swarm.service.name", order.spec.name.clone()),
            ("com.docker.swarm.task", String::new()),
            (LABEL_TASK, order.task.to_string()),
            ("com.docker.swarm.task.name", name.to_owned()),
            (LABEL_CLUSTER, order.cluster.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    labels
}

fn networking(order: &Order) -> Networking {
    if !order.networks.is_empty() {
        return Networking::Overlays(
            order
                .networks
                .iter()
                .map(|network| ContainerNetwork {
                    engine_name: network.engine_name.clone(),
                    address: network.address,
                    internal: network.internal,
                })
                .collect(),
        );
    }
    match order.spec.networks().first().map(|n| n.target.as_str()) {
        Some("host") => Networking::Host,
        Some("none") => Networking::None,
        _ => Networking::EngineDefault,
    }
}

/// The node's resolver on each of the task's networks, then the user's own. Engines ask no more
/// than three, and the next only when one does not answer.
fn name_servers(order: &Order, spec: &ContainerSpec) -> Vec<String> {
    let ours = order
        .networks
        .iter()
        .map(|network| network.gateway.to_string());
    let users = spec
        .dns_config
        .iter()
        .flat_map(|dns| dns.nameservers.iter().cloned());
    let mut servers: Vec<String> = Vec::new();
    for server in ours.chain(users) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers.truncate(3);
    servers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::agent::order::OrderNetwork;
    use crate::spec::service::{NetworkAttachmentConfig, ServiceSpec};
    use crate::spec::{ClusterId, NetworkId, NodeId, ServiceId, TaskId};
    use crate::state::assignment::{Stamp, Want};
    use crate::state::task::Slot;

    fn order(spec: ContainerSpec) -> Order {
        let mut service = ServiceSpec {
            name: "web".to_owned(),
            ..ServiceSpec::default()
        };
        service.task_template.container_spec = spec;
        Order {
            cluster: ClusterId::from_bits(1),
            node: NodeId::from_bits(2),
            hostname: "h1".to_owned(),
            task: TaskId::from_bits(3),
            service: ServiceId::from_bits(4),
            slot: Slot::Replica(5),
            want: Want::Running,
            spec: Arc::new(service),
            host_ports: Vec::new(),
            networks: Vec::new(),
            resources: Vec::new(),
            devices: Vec::new(),
            since: Stamp::default(),
        }
    }

    fn network(third: u8) -> OrderNetwork {
        OrderNetwork {
            id: NetworkId::from_bits(u128::from(third)),
            engine_name: format!("swarmr-{third}"),
            address: Ipv4Addr::new(10, 0, third, 9),
            gateway: Ipv4Addr::new(10, 0, third, 3),
            internal: false,
        }
    }

    fn made(order: &Order) -> ContainerWant {
        container_want(order, &NodeDescription::default(), u32::MAX).unwrap()
    }

    #[test]
    fn placeholders_are_replaced_in_hostname_environment_and_mounts() {
        let spec: ContainerSpec = serde_json::from_value(serde_json::json!({
            "Hostname": "{{.Service.Name}}-{{.Task.Slot}}",
            "Env": ["NODE={{.Node.Hostname}}"],
            "Mounts": [{"Source": "data-{{.Task.Slot}}", "Target": "/{{.Service.Name}}"}],
        }))
        .unwrap();
        let want = made(&order(spec));
        assert_eq!(want.spec.hostname, "web-5");
        assert_eq!(want.spec.env, ["NODE=h1"]);
        assert_eq!(want.spec.mounts[0].source, "data-5");
        assert_eq!(want.spec.mounts[0].target, "/web");
    }

    #[test]
    fn our_labels_cannot_be_forged() {
        let mut spec = ContainerSpec::default();
        for (name, value) in [
            ("tier", "front"),
            ("io.swarmr.cluster", "another"),
            ("io.swarmr.extra", "x"),
            ("com.docker.swarm.task.id", "another"),
        ] {
            spec.labels.insert(name.to_owned(), value.to_owned());
        }
        let order = order(spec);
        let labels = made(&order).labels;
        assert_eq!(labels["tier"], "front");
        assert_eq!(labels[LABEL_CLUSTER], order.cluster.to_string());
        assert_eq!(labels[LABEL_TASK], order.task.to_string());
        assert_eq!(
            labels["com.docker.swarm.task.name"],
            format!("web.5.{}", order.task)
        );
        assert!(!labels.contains_key("io.swarmr.extra"));
    }

    #[test]
    fn names_are_asked_for_on_each_network_first() {
        let mut order = order(
            serde_json::from_value(serde_json::json!({
                "DNSConfig": {"Nameservers": ["192.0.2.53", "192.0.2.54"]},
            }))
            .unwrap(),
        );
        assert_eq!(made(&order).name_servers, ["192.0.2.53", "192.0.2.54"]);
        order.networks = vec![network(1), network(2)];
        assert_eq!(
            made(&order).name_servers,
            ["10.0.1.3", "10.0.2.3", "192.0.2.53"]
        );
    }

    #[test]
    fn a_task_without_an_overlay_is_on_the_engines_bridge_or_where_it_asks_to_be() {
        let mut order = order(ContainerSpec::default());
        assert_eq!(made(&order).networking, Networking::EngineDefault);
        for (target, networking) in [("host", Networking::Host), ("none", Networking::None)] {
            Arc::make_mut(&mut order.spec).task_template.networks = vec![NetworkAttachmentConfig {
                target: target.to_owned(),
                ..NetworkAttachmentConfig::default()
            }];
            assert_eq!(made(&order).networking, networking);
        }
    }

    #[test]
    fn what_cannot_be_given_is_refused_and_named() {
        let spec = ContainerSpec {
            secrets: vec![serde_json::json!({})],
            ..ContainerSpec::default()
        };
        let refused =
            container_want(&order(spec), &NodeDescription::default(), u32::MAX).unwrap_err();
        assert!(refused.to_string().contains("secrets"), "{refused}");
    }
}
