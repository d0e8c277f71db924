//! The engine's calls.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
    InspectContainerOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::create_body::create_request;
use super::error::{Call, runtime_error};
use super::{Client, Docker, observe};
use crate::agent::container::ContainerWant;
use crate::agent::listening::listened_ports;
use crate::agent::runtime::{
    ContainerView, EngineNetwork, EngineNetworkWant, LABEL_CLUSTER, ListedContainer, PullPolicy,
    Runtime, RuntimeError, RuntimeEvent,
};
use crate::spec::ClusterId;
use crate::state::node::NodeDescription;

#[async_trait]
impl Runtime for Docker {
    async fn describe(&self) -> Result<NodeDescription, RuntimeError> {
        let client = self.client().await?;
        let info = client.bollard.info().await;
        Ok(observe::description(
            info.map_err(|error| runtime_error(Call::Other, error))?,
        ))
    }

    async fn list(&self, cluster: ClusterId) -> Result<Vec<ListedContainer>, RuntimeError> {
        let client = self.client().await?;
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&of_cluster(cluster))
            .build();
        let containers = client.bollard.list_containers(Some(options)).await;
        Ok(containers
            .map_err(|error| runtime_error(Call::Other, error))?
            .into_iter()
            .map(observe::listed)
            .collect())
    }

    async fn pull(&self, image: &str, policy: PullPolicy) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        if policy == PullPolicy::Missing && client.bollard.inspect_image(image).await.is_ok() {
            return Ok(());
        }
        let options = CreateImageOptionsBuilder::default()
            .from_image(&with_tag(image))
            .build();
        client
            .bollard
            .create_image(Some(options), None, None)
            .try_for_each(|_progress| async { Ok(()) })
            .await
            .map_err(|error| runtime_error(Call::Pull, error))
    }

    async fn create(&self, want: &ContainerWant) -> Result<String, RuntimeError> {
        let client = self.client().await?;
        let request = create_request(want, client.minor)?;
        let options = CreateContainerOptionsBuilder::default()
            .name(&want.name)
            .build();
        let created = client
            .bollard
            .create_container(Some(options), request.body)
            .await
            .map_err(|error| runtime_error(Call::CreateContainer, error))?;
        for (network, endpoint) in request.connect {
            let connect = NetworkConnectRequest {
                container: created.id.clone(),
                endpoint_config: Some(endpoint),
            };
            if let Err(error) = client.bollard.connect_network(&network, connect).await {
                discard(&client, &created.id).await;
                return Err(match runtime_error(Call::CreateContainer, error) {
                    // Here it is the network that there is none of.
                    RuntimeError::NameInUse(message) => RuntimeError::Refused(message),
                    error => error,
                });
            }
        }
        Ok(created.id)
    }

    async fn start(&self, container: &str) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        client
            .bollard
            .start_container(container, None::<StartContainerOptions>)
            .await
            .map_err(|error| runtime_error(Call::Container, error))
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        // The engine counts in whole seconds.
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptionsBuilder::default()
            .t(i32::try_from(seconds).unwrap_or(i32::MAX))
            .build();
        client
            .bollard
            .stop_container(container, Some(options))
            .await
            .map_err(|error| runtime_error(Call::Container, error))
    }

    async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        let options = RemoveContainerOptionsBuilder::default().v(true).build();
        client
            .bollard
            .remove_container(container, Some(options))
            .await
            .map_err(|error| runtime_error(Call::Container, error))
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerView>, RuntimeError> {
        let client = self.client().await?;
        let found = client
            .bollard
            .inspect_container(container, None::<InspectContainerOptions>)
            .await
            .map_err(|error| runtime_error(Call::Container, error));
        match found {
            Ok(found) => Ok(Some(observe::view(found))),
            Err(RuntimeError::NoSuchContainer(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn listened_ports(&self, pid: i64, among: &[u16]) -> Option<BTreeSet<u16>> {
        let mut ports = listened_ports(pid).await?;
        ports.retain(|port| among.contains(port));
        Some(ports)
    }

    async fn watch(
        &self,
        cluster: ClusterId,
    ) -> Result<BoxStream<'static, RuntimeEvent>, RuntimeError> {
        // By the machine's clock, which is the engine's too: the stream begins when it is first
        // read, and nothing may be missed until then.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let client = self.negotiate().await?;
        let mut filters = of_cluster(cluster);
        filters.insert("type", vec!["container".to_owned()]);
        filters.insert(
            "event",
            ["start", "die", "destroy", "health_status"]
                .map(str::to_owned)
                .to_vec(),
        );
        let options = EventsOptionsBuilder::default()
            .since(&since.as_secs().to_string())
            .filters(&filters)
            .build();
        Ok(client
            .bollard
            .events(Some(options))
            .take_while(|message| {
                if let Err(error) = message {
                    tracing::debug!(%error, "the engine's events end");
                }
                std::future::ready(message.is_ok())
            })
            .filter_map(|message| std::future::ready(message.ok().and_then(observe::event)))
            .boxed())
    }

    async fn ensure_network(&self, want: &EngineNetworkWant) -> Result<(), RuntimeError> {
        self.make_network(want).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), RuntimeError> {
        self.drop_network(name).await
    }

    async fn list_networks(&self, cluster: ClusterId) -> Result<Vec<EngineNetwork>, RuntimeError> {
        self.networks_of(cluster).await
    }
}

fn of_cluster(cluster: ClusterId) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("label", vec![format!("{LABEL_CLUSTER}={cluster}")])])
}

/// Without a tag or a digest an engine would pull every tag there is.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

/// A container that could not be connected is no container: the next try makes it anew.
async fn discard(client: &Client, container: &str) {
    let options = RemoveContainerOptionsBuilder::default()
        .v(true)
        .force(true)
        .build();
    if let Err(error) = client
        .bollard
        .remove_container(container, Some(options))
        .await
    {
        tracing::warn!(%error, %container, "a container that was not connected stays");
    }
}
