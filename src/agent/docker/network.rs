//! Engine networks: made, found, replaced when they were made for other settings, removed.

use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};
use std::collections::HashMap;

use super::error::{Call, runtime_error};
use super::network_body::{Likeness, likeness, network_request};
use super::{Client, Docker};
use crate::agent::runtime::{
    EngineNetwork, EngineNetworkWant, LABEL_CLUSTER, LABEL_NETWORK, RuntimeError,
};
use crate::spec::ClusterId;
use crate::spec::network::Subnet;

impl Docker {
    pub(super) async fn make_network(&self, want: &EngineNetworkWant) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        // Engines allow two networks of one name, so look before.
        let found = client
            .bollard
            .inspect_network(&want.name, None::<InspectNetworkOptions>)
            .await
            .map_err(|error| runtime_error(Call::Network, error));
        match found {
            Err(RuntimeError::NoSuchNetwork(_)) => {}
            Err(error) => return Err(error),
            Ok(found) => match likeness(&found, want) {
                Likeness::Same => return Ok(()),
                Likeness::Foreign => {
                    return Err(RuntimeError::NetworkConflict(format!(
                        "the engine has a network {} that is not of this cluster: remove it",
                        want.name
                    )));
                }
                Likeness::Outdated => self.drop_network(&want.name).await?,
            },
        }
        let created = client
            .bollard
            .create_network(network_request(want))
            .await
            .map_err(|error| runtime_error(Call::CreateNetwork, error));
        match created {
            Ok(_) => Ok(()),
            Err(RuntimeError::NetworkConflict(message)) => {
                Err(self.explain_conflict(&client, want, message).await)
            }
            Err(error) => Err(error),
        }
    }

    /// Engines say that something overlaps, not what.
    async fn explain_conflict(
        &self,
        client: &Client,
        want: &EngineNetworkWant,
        message: String,
    ) -> RuntimeError {
        let networks = client
            .bollard
            .list_networks(None::<bollard::query_parameters::ListNetworksOptions>)
            .await
            .unwrap_or_default();
        let taken = networks.into_iter().find_map(|network| {
            let configs = network.ipam?.config?;
            let subnet = configs
                .iter()
                .filter_map(|config| config.subnet.as_deref()?.parse::<Subnet>().ok())
                .find(|subnet| subnet.overlaps(&want.subnet))?;
            Some((network.name?, subnet))
        });
        RuntimeError::NetworkConflict(match taken {
            Some((name, subnet)) => format!(
                "network {} cannot be made on this node: its subnet {} overlaps {subnet} of the \
                 local network {name}: remove that one or choose another --subnet",
                want.name, want.subnet
            ),
            None => format!(
                "network {} cannot be made on this node: {message}",
                want.name
            ),
        })
    }

    pub(super) async fn drop_network(&self, name: &str) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        match client.bollard.remove_network(name).await {
            Ok(()) => Ok(()),
            Err(error) => match runtime_error(Call::Network, error) {
                RuntimeError::NoSuchNetwork(_) => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(super) async fn networks_of(
        &self,
        cluster: ClusterId,
    ) -> Result<Vec<EngineNetwork>, RuntimeError> {
        let client = self.client().await?;
        let filters = HashMap::from([("label", vec![format!("{LABEL_CLUSTER}={cluster}")])]);
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters)
            .build();
        let networks = client
            .bollard
            .list_networks(Some(options))
            .await
            .map_err(|error| runtime_error(Call::Other, error))?;
        Ok(networks
            .into_iter()
            .map(|network| EngineNetwork {
                id: network.id.unwrap_or_default(),
                name: network.name.unwrap_or_default(),
                network: network
                    .labels
                    .and_then(|labels| labels.get(LABEL_NETWORK)?.parse().ok()),
            })
            .collect())
    }
}
