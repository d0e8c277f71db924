//! A cluster of this one node.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarmr_net::identity::{Ca, NodeIdentity, NodeKey, Role as CertificateRole, Token};
use swarmr_net::in_words;
use swarmr_net::quic::{Credentials, Door};

use super::{addresses, bind, failed, fresh_id, invalid};
use crate::api::control::{InitRequest, LifecycleError};
use crate::daemon::disk::Settings;
use crate::daemon::node::Node;
use crate::daemon::{Daemon, STOP_DEADLINE, address};
use crate::spec::network::Subnet;
use crate::spec::{ClusterId, NetworkId, NodeId, Role};
use crate::state::assignment::ManagerAddr;
use crate::state::cluster::{Authority, JoinTokens};
use crate::state::command::{AddNode, InitCluster};

const FIRST_RAFT_ID: u64 = 1;
const DEFAULT_POOL: &str = "10.0.0.0/8";
const DEFAULT_DATA_PATH_PORT: u16 = 4789;

impl Daemon {
    pub(in crate::daemon) async fn init_cluster(
        &self,
        request: InitRequest,
    ) -> Result<NodeId, LifecycleError> {
        let _one_at_a_time = self.lifecycle.write().await;
        self.must_be_free()?;
        if request.force_new_cluster {
            return Err(LifecycleError::Invalid(
                "--force-new-cluster: not built yet; restore the other managers instead".to_owned(),
            ));
        }
        let addresses = addresses(&request.listen_addr, &request.advertise_addr)?;
        let interfaces = address::interfaces();
        let advertise = match addresses.advertise {
            Some(advertise) => advertise,
            None => address::advertise("", addresses.listen, &interfaces).map_err(invalid)?,
        };
        let data_path_addr =
            address::data_path(&request.data_path_addr, advertise, &interfaces).map_err(invalid)?;
        let (cluster, id) = (
            ClusterId::from_bits(fresh_id()),
            NodeId::from_bits(fresh_id()),
        );
        let (authority, identity) = found(cluster, id).map_err(failed)?;
        let settings = Settings {
            listen: addresses.listen,
            advertise,
            data_path_addr,
            raft_id: Some(FIRST_RAFT_ID),
            managers: vec![ManagerAddr {
                node: id,
                addr: advertise.to_string(),
            }],
        };
        let credentials =
            Credentials::new(identity.clone()).map_err(|error| failed(in_words(&error)))?;
        let door = bind(|| Door::bind(addresses.listen, credentials.clone())).await?;
        let description = self.engine.describe().await.map_err(failed)?;
        self.begin_anew()?;
        let token = || Token::generate(authority.digest()).to_string();
        let subnet_prefix = Subnet::prefix_in(&request.address_pools, request.subnet_prefix);
        let init = InitCluster {
            id: cluster,
            spec: request.spec,
            authority: Authority {
                root_pem: authority.root_pem().to_owned(),
                key_pem: authority.key_pem(),
            },
            join_tokens: JoinTokens {
                worker: token(),
                manager: token(),
            },
            address_pools: if request.address_pools.is_empty() {
                DEFAULT_POOL.parse().into_iter().collect()
            } else {
                request.address_pools
            },
            subnet_prefix,
            data_path_port: if request.data_path_port == 0 {
                DEFAULT_DATA_PATH_PORT
            } else {
                request.data_path_port
            },
            seed: rand::random(),
            ingress: NetworkId::from_bits(fresh_id()),
            first_node: AddNode {
                id,
                role: Role::Manager,
                availability: request.availability,
                addr: advertise.to_string(),
                data_path_addr,
                description,
            },
            first_raft_id: FIRST_RAFT_ID,
        };
        let made = self
            .make_cluster(door, Arc::new(identity), settings, init)
            .await;
        match made {
            Ok(node) => {
                self.node.send_replace(Some(node));
                Ok(id)
            }
            Err(error) => {
                self.forget();
                Err(failed(error))
            }
        }
    }

    async fn make_cluster(
        &self,
        door: Door,
        identity: Arc<NodeIdentity>,
        settings: Settings,
        init: InitCluster,
    ) -> Result<Arc<Node>, String> {
        let tell = |error: anyhow::Error| format!("{error:#}");
        let advertise = settings.advertise.to_string();
        let node = self
            .start_node(door, identity.clone(), settings.clone())
            .await
            .map_err(tell)?;
        let made = match node.manager() {
            Some(manager) => manager.initialize(&advertise, init).await,
            None => Err("the manager did not start".to_owned()),
        };
        // Only a cluster that exists is one to come back to.
        let kept = made.and_then(|()| {
            identity
                .save(&self.disk.tls())
                .map_err(|error| in_words(&error))?;
            self.disk.save_settings(&settings).map_err(tell)
        });
        if let Err(error) = kept {
            node.stop(STOP_DEADLINE).await;
            return Err(error);
        }
        Ok(node)
    }
}

/// The authority of a new cluster, and its first node's certificate.
fn found(cluster: ClusterId, node: NodeId) -> Result<(Ca, NodeIdentity), String> {
    let now = SystemTime::now();
    let (cluster, node) = (cluster.to_string(), node.to_string());
    let authority = Ca::create(&cluster, now).map_err(|error| in_words(&error))?;
    let key = NodeKey::generate().map_err(|error| in_words(&error))?;
    let csr = key.csr().map_err(|error| in_words(&error))?;
    let validity = Duration::from_secs(2_160 * 3_600);
    let chain_pem = authority
        .issue(
            &csr,
            &node,
            CertificateRole::Manager,
            &cluster,
            validity,
            now,
        )
        .map_err(|error| in_words(&error))?;
    let identity = NodeIdentity::from_pem(&chain_pem, key, authority.root_pem())
        .map_err(|error| in_words(&error))?;
    Ok((authority, identity))
}
