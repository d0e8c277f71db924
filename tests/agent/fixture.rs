//! Assignments as a manager would make them, and an agent that gets them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use swarmr::agent::{Agent, AgentConfig, FakeNetworkDriver, Runtime};
use swarmr::spec::container::Healthcheck;
use swarmr::spec::extension::init::InitContainer;
use swarmr::spec::network::Subnet;
use swarmr::spec::service::{EndpointSpec, PortConfig};
use swarmr::spec::{
    ClusterId, ContainerSpec, Nanos, NetworkId, NodeId, Role, ServiceId, ServiceSpec, TaskId,
    TaskSpec,
};
use swarmr::state::assignment::{
    AssignedNetwork, AssignedSpec, AssignedTask, Assignment, NetworkEndpoint, NetworkService,
    Stamp, Want,
};
use swarmr::state::command::TaskReport;
use swarmr::state::members::ClusterMembers;
use swarmr::state::task::{Attachment, Slot, TaskState};

/// How long a condition may take to come true on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// Polls until `look` gives something.
pub(super) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a manager knows of one node, in the smallest form that makes assignments.
#[derive(Debug, Clone)]
pub(super) struct Fixture {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    revision: u64,
    services: Vec<(ServiceId, ServiceSpec)>,
    pub(super) tasks: Vec<AssignedTask>,
    pub(super) networks: Vec<AssignedNetwork>,
}

impl Fixture {
    /// A cluster of its own; on one engine no two meet.
    pub(super) fn new() -> Self {
        Self {
            cluster: ClusterId::from_bits(rand::random()),
            node: NodeId::from_bits(rand::random()),
            revision: 0,
            services: Vec::new(),
            tasks: Vec::new(),
            networks: Vec::new(),
        }
    }

    /// A service of containers of that image.
    pub(super) fn service(&mut self, image: &str, args: &[&str]) -> ServiceId {
        let spec = ContainerSpec {
            image: image.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            stop_grace_period: Some(Nanos::from_secs(1)),
            ..ContainerSpec::default()
        };
        self.service_of(spec)
    }

    pub(super) fn service_of(&mut self, container_spec: ContainerSpec) -> ServiceId {
        let id = ServiceId::from_bits(rand::random());
        let spec = ServiceSpec {
            name: format!("s{}", self.services.len()),
            task_template: TaskSpec {
                container_spec,
                ..TaskSpec::default()
            },
            ..ServiceSpec::default()
        };
        self.services.push((id, spec));
        id
    }

    pub(super) fn checked_service(&mut self, image: &str) -> ServiceId {
        self.service_of(ContainerSpec {
            image: image.to_owned(),
            healthcheck: Some(Healthcheck {
                test: vec!["CMD".to_owned(), "true".to_owned()],
                ..Healthcheck::default()
            }),
            ..ContainerSpec::default()
        })
    }

    /// Containers that run before each task's own: a name, an image, and the words of a command.
    pub(super) fn inits(&mut self, service: ServiceId, inits: &[(&str, &str, &[&str])]) {
        let (_, spec) = self
            .services
            .iter_mut()
            .find(|(id, _)| *id == service)
            .expect("a service");
        let inits = inits.iter().map(|(name, image, args)| InitContainer {
            name: (*name).to_owned(),
            image: (*image).to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..InitContainer::default()
        });
        spec.swarmr.get_or_insert_default().init_containers = inits.collect();
    }

    /// A service publishes this port of its containers on every node.
    pub(super) fn publish(&mut self, service: ServiceId, target_port: u16) {
        let (_, spec) = self
            .services
            .iter_mut()
            .find(|(id, _)| *id == service)
            .expect("a service");
        let port = PortConfig {
            target_port,
            published_port: 8080,
            ..PortConfig::default()
        };
        let ports = vec![port];
        spec.endpoint_spec = Some(EndpointSpec {
            ports,
            ..EndpointSpec::default()
        });
    }

    /// The `n`-th network of the fixture; on an engine of one's own subnets need not be asked for.
    pub(super) fn network(&mut self, third: u8) -> NetworkId {
        let id = NetworkId::from_bits(rand::random());
        let base = Ipv4Addr::new(10, 91, third, 0);
        self.networks.push(AssignedNetwork {
            id,
            name: format!("net{third}"),
            vni: 4096 + u32::from(third),
            subnet: Subnet::new(base, 24).expect("24 is a length"),
            gateway: Ipv4Addr::new(10, 91, third, 3),
            internal: false,
            attachable: false,
            encrypted: false,
            mtu: None,
            peers: Vec::new(),
            services: Vec::new(),
            held: Vec::new(),
        });
        id
    }

    /// A task that is wanted to run, with an address on each network.
    pub(super) fn task(&mut self, service: ServiceId, networks: &[NetworkId]) -> TaskId {
        let id = TaskId::from_bits(rand::random());
        let number = self.tasks.len() + 1;
        let slot = Slot::Replica(number as u64);
        let host = u8::try_from(9 + number).expect("few tasks");
        let mut attachments = Vec::new();
        for network in self
            .networks
            .iter_mut()
            .filter(|network| networks.contains(&network.id))
        {
            let third = network.subnet.base().octets()[2];
            let address = Ipv4Addr::new(10, 91, third, host);
            attachments.push(Attachment {
                network: network.id,
                address,
            });
            let endpoint = NetworkEndpoint {
                task: id,
                slot,
                address,
                node: self.node,
                serving: false,
                weight: 1,
            };
            network.held.push(address);
            add_endpoint(network, service, endpoint);
        }
        self.tasks.push(AssignedTask {
            id,
            service,
            slot,
            spec_version: 1,
            want: Want::Running,
            attachments,
            resources: Vec::new(),
            devices: Vec::new(),
        });
        id
    }

    pub(super) fn want(&mut self, task: TaskId, want: Want) {
        for known in self.tasks.iter_mut().filter(|known| known.id == task) {
            known.want = want;
        }
    }

    /// The managers forget a task.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.tasks.retain(|known| known.id != task);
        for network in &mut self.networks {
            for service in &mut network.services {
                service.endpoints.retain(|endpoint| endpoint.task != task);
            }
        }
    }

    /// The managers learn that a task serves.
    pub(super) fn set_serving(&mut self, task: TaskId) {
        for network in &mut self.networks {
            for service in &mut network.services {
                for endpoint in &mut service.endpoints {
                    endpoint.serving |= endpoint.task == task;
                }
            }
        }
    }

    /// The next assignment.
    pub(super) fn assignment(&mut self) -> Assignment {
        self.revision += 1;
        Assignment {
            stamp: Stamp {
                term: 1,
                revision: self.revision,
            },
            cluster: self.cluster,
            node: self.node,
            role: Role::Worker,
            managers: Vec::new(),
            specs: self
                .services
                .iter()
                .map(|(service, spec)| AssignedSpec {
                    service: *service,
                    spec_version: 1,
                    spec: Arc::new(spec.clone()),
                    host_ports: Vec::new(),
                })
                .collect(),
            tasks: self.tasks.clone(),
            networks: self.networks.clone(),
            published: Vec::new(),
            tunnel: None,
            data_path_port: 4789,
            data_path_addr: Ipv4Addr::LOCALHOST,
            hostname: "h1".to_owned(),
            members: ClusterMembers::default(),
        }
    }

    pub(super) fn config(&self, state_dir: &Path) -> AgentConfig {
        AgentConfig::new(
            self.node,
            self.cluster,
            "h1".to_owned(),
            state_dir.to_owned(),
        )
    }

    pub(super) fn start(
        &self,
        state_dir: &Path,
        runtime: impl Runtime + 'static,
        driver: &FakeNetworkDriver,
    ) -> Agent {
        Agent::start(
            self.config(state_dir),
            Arc::new(runtime),
            Arc::new(driver.clone()),
        )
        .unwrap()
    }
}

fn add_endpoint(network: &mut AssignedNetwork, service: ServiceId, endpoint: NetworkEndpoint) {
    let known = network
        .services
        .iter_mut()
        .find(|known| known.service == service);
    match known {
        Some(known) => known.endpoints.push(endpoint),
        None => {
            let host = u8::try_from(100 + network.services.len()).expect("few services");
            let third = network.subnet.base().octets()[2];
            network.services.push(NetworkService {
                service,
                name: format!("web{}", network.services.len()),
                aliases: Vec::new(),
                virtual_address: Some(Ipv4Addr::new(10, 91, third, host)),
                endpoints: vec![endpoint],
                ports: Vec::new(),
                sticky: false,
                prefer_local: false,
            });
        }
    }
}

/// What an agent tells of a task.
pub(super) fn report_of(agent: &Agent, task: TaskId) -> Option<TaskReport> {
    agent
        .full_report()
        .into_iter()
        .find(|report| report.task == task)
}

/// Waits until an agent tells that state of a task.
pub(super) async fn reaches(agent: &Agent, task: TaskId, state: TaskState) -> TaskReport {
    let mut last = None;
    eventually(&format!("{task} becomes {state:?}"), async || {
        let report = report_of(agent, task)?;
        if last.as_ref() != Some(&report) {
            eprintln!("{report:?}");
            last = Some(report.clone());
        }
        (report.state == state).then_some(report)
    })
    .await
}
