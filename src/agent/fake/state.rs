//! What a pretended engine holds, and how its calls change it. Pure but for its file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::exited;
use crate::agent::container::{ContainerWant, Networking};
use crate::agent::runtime::{ContainerView, EngineNetworkWant, Health, Phase, RuntimeError};
use crate::spec::network::Subnet;
use crate::spec::{ClusterId, NetworkId, TaskId};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct FakeState {
    /// By id; ids are counted, so this is the order of creation.
    pub(super) containers: BTreeMap<String, FakeContainer>,
    pub(super) networks: BTreeMap<String, FakeNetwork>,
    pub(super) foreign_subnets: Vec<Subnet>,
    pub(super) pulled: BTreeSet<String>,
    pub(super) created: u64,
    started: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FakeContainer {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) phase: Phase,
    pid: i64,
    addresses: BTreeMap<String, Ipv4Addr>,
    has_healthcheck: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FakeNetwork {
    pub(super) cluster: ClusterId,
    pub(super) network: NetworkId,
    subnet: Subnet,
    gateway: Ipv4Addr,
}

impl FakeContainer {
    pub(super) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running(_))
    }

    pub(super) fn view(&self) -> ContainerView {
        ContainerView {
            id: self.id.clone(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            phase: self.phase.clone(),
            pid: if self.is_running() { self.pid } else { 0 },
            addresses: self.addresses.clone(),
        }
    }

    /// What it does when it is started.
    fn first_phase(&self) -> Phase {
        if self.image.contains("broken") {
            exited(1)
        } else if self.image.contains("once") {
            exited(0)
        } else if !self.has_healthcheck {
            Phase::Running(Health::Unchecked)
        } else if self.image.contains("unhealthy") {
            Phase::Running(Health::Unhealthy)
        } else if self.image.contains("starting") {
            Phase::Running(Health::Starting)
        } else {
            Phase::Running(Health::Healthy)
        }
    }
}

impl FakeState {
    /// An absent file is an engine that has nothing.
    pub(super) fn read(file: &Path) -> io::Result<Self> {
        match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all, whenever the process is killed. No fsync: an engine that pretends
    /// need not survive power loss.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let temporary = file.with_extension("new");
        fs::write(&temporary, serde_json::to_vec(self)?)?;
        fs::rename(&temporary, file)
    }

    /// By id or by name.
    pub(super) fn find(&self, container: &str) -> Option<&FakeContainer> {
        self.containers
            .get(container)
            .or_else(|| self.containers.values().find(|it| it.name == container))
    }

    pub(super) fn create(&mut self, want: &ContainerWant) -> Result<String, RuntimeError> {
        let image = &want.spec.image;
        if image.contains("missing") && !self.pulled.contains(image) {
            return Err(RuntimeError::NoSuchImage(format!("No such image: {image}")));
        }
        if self.find(&want.name).is_some() {
            return Err(RuntimeError::NameInUse(format!(
                "the container name {:?} is already in use",
                want.name
            )));
        }
        let addresses = self.addresses(want)?;
        self.created += 1;
        let id = format!("{:064x}", self.created);
        let has_healthcheck = want
            .spec
            .healthcheck
            .as_ref()
            .is_some_and(|check| check.test.first().is_some_and(|kind| kind != "NONE"));
        self.containers.insert(
            id.clone(),
            FakeContainer {
                id: id.clone(),
                name: want.name.clone(),
                image: image.clone(),
                labels: want.labels.clone(),
                phase: Phase::Created,
                pid: 0,
                addresses,
                has_healthcheck,
            },
        );
        Ok(id)
    }

    fn addresses(&self, want: &ContainerWant) -> Result<BTreeMap<String, Ipv4Addr>, RuntimeError> {
        let Networking::Overlays(networks) = &want.networking else {
            return Ok(BTreeMap::new());
        };
        networks
            .iter()
            .map(|network| {
                let known = self.networks.get(&network.engine_name).ok_or_else(|| {
                    RuntimeError::NoSuchNetwork(format!(
                        "network {} not found",
                        network.engine_name
                    ))
                })?;
                if !known.subnet.contains(network.address) || known.gateway == network.address {
                    return Err(RuntimeError::Refused(format!(
                        "invalid address {}: it is no free address of {}",
                        network.address, known.subnet
                    )));
                }
                Ok((network.engine_name.clone(), network.address))
            })
            .collect()
    }

    /// The container's id and task, and whether it runs now.
    pub(super) fn start(
        &mut self,
        container: &str,
    ) -> Result<(String, Option<TaskId>, bool), RuntimeError> {
        let Some(found) = self.find(container).cloned() else {
            return Err(super::no_such(container));
        };
        if found.is_running() {
            return Ok((found.id.clone(), found.task(), true));
        }
        if found.image.contains("unstartable") {
            return Err(RuntimeError::Refused(
                "OCI runtime create failed: exec: \"nothing\": executable file not found in $PATH"
                    .to_owned(),
            ));
        }
        let taken = self
            .containers
            .values()
            .filter(|other| other.id != found.id && other.is_running())
            .flat_map(|other| other.addresses.values())
            .find(|address| found.addresses.values().any(|own| own == *address));
        if let Some(address) = taken {
            return Err(RuntimeError::Refused(format!(
                "Address already in use: {address}"
            )));
        }
        self.started += 1;
        let pid = self.started;
        let Some(started) = self.containers.get_mut(&found.id) else {
            return Err(super::no_such(container));
        };
        started.pid = pid;
        started.phase = started.first_phase();
        Ok((found.id.clone(), found.task(), started.is_running()))
    }

    pub(super) fn ensure_network(&mut self, want: &EngineNetworkWant) -> Result<(), RuntimeError> {
        if let Some(known) = self.networks.get(&want.name) {
            if known.gateway == want.gateway && known.subnet == want.subnet {
                return Ok(());
            }
            self.remove_network(&want.name)?;
        }
        let others = self.networks.values().map(|network| network.subnet);
        let taken = others
            .chain(self.foreign_subnets.iter().copied())
            .find(|other| other.overlaps(&want.subnet));
        if let Some(taken) = taken {
            return Err(RuntimeError::NetworkConflict(format!(
                "network {} cannot be made here: subnet {} overlaps {taken}",
                want.name, want.subnet
            )));
        }
        self.networks.insert(
            want.name.clone(),
            FakeNetwork {
                cluster: want.cluster,
                network: want.network,
                subnet: want.subnet,
                gateway: want.gateway,
            },
        );
        Ok(())
    }

    pub(super) fn remove_network(&mut self, name: &str) -> Result<(), RuntimeError> {
        let used = self
            .containers
            .values()
            .any(|it| it.is_running() && it.addresses.contains_key(name));
        if used {
            return Err(RuntimeError::NetworkInUse(format!(
                "network {name} has active endpoints"
            )));
        }
        self.networks.remove(name);
        Ok(())
    }
}
