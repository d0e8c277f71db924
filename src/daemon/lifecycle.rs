//! Into a cluster, back into it after a restart, and out of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use swarmr_net::identity::{Ca, NodeIdentity, NodeKey, Role as CertificateRole, Token};
use swarmr_net::quic::{Credentials, Door, call};
use tokio::time::{Instant, timeout, timeout_at};

use super::address::{self, AddressError};
use super::disk::Settings;
use super::group;
use super::node::{Node, NodeParts};
use super::{Daemon, STOP_DEADLINE};
use crate::api::control::{InitRequest, JoinRequest, LifecycleError};
use crate::manager::peers::{ask, chain};
use crate::message::control::{Answer, Ask};
use crate::message::join::{self, AdmitReply, AdmitRequest, Grant, JoinReply};
use crate::message::{ADMIT, ANSWER_BYTES_MAX, JOIN};
use crate::spec::{ClusterId, NetworkId, NodeId, Role};
use crate::state::assignment::ManagerAddr;
use crate::state::cluster::{Authority, JoinTokens};
use crate::state::codec;
use crate::state::command::{AddNode, InitCluster};

/// What `join` may take to reach the manager: it answers at once or not at all.
const JOIN_DEADLINE: Duration = Duration::from_secs(5);
/// Dialling back included.
const ADMIT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a new manager may take to become one; it goes on in the background after that.
const PROMOTION_DEADLINE: Duration = Duration::from_secs(15);
/// How long the cluster may take to let a manager go.
const LEAVE_DEADLINE: Duration = Duration::from_secs(15);
const FIRST_RAFT_ID: u64 = 1;
const DEFAULT_POOL: &str = "10.0.0.0/8";
const DEFAULT_SUBNET_PREFIX: u8 = 24;
const DEFAULT_DATA_PATH_PORT: u16 = 4789;

/// 128 fresh bits.
pub(super) fn fresh_id() -> u128 {
    rand::random()
}

/// Where a node will be.
struct Addresses {
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
}

impl Daemon {
    /// After a restart: takes up the place that the state directory tells of.
    pub(super) async fn resume(&self) -> anyhow::Result<()> {
        let (Some(settings), Some(identity)) = (
            self.disk.load_settings()?,
            NodeIdentity::load(&self.disk.tls()).context("cannot read the certificate")?,
        ) else {
            return Ok(());
        };
        let door = Door::bind(
            settings.listen,
            Credentials::new(identity.clone()).context("unusable certificate")?,
        )
        .map_err(|error| anyhow::anyhow!(port_busy(&error)))?;
        let node = self.start_node(door, Arc::new(identity), settings).await?;
        self.node.send_replace(Some(node));
        Ok(())
    }

    async fn start_node(
        &self,
        door: Door,
        identity: Arc<NodeIdentity>,
        settings: Settings,
    ) -> anyhow::Result<Arc<Node>> {
        Node::start(NodeParts {
            door,
            identity,
            settings,
            disk: &self.disk,
            engine: &self.engine,
            clock: self.clock.clone(),
            states: self.states.clone(),
        })
        .await
    }

    pub(super) async fn init_cluster(
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
            Credentials::new(identity.clone()).map_err(|error| failed(chain(&error)))?;
        let door = Door::bind(addresses.listen, credentials)
            .map_err(|error| LifecycleError::Failed(port_busy(&error)))?;
        let description = self.engine.describe().await.map_err(failed)?;
        self.begin_anew()?;
        let token = || Token::generate(authority.digest()).to_string();
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
            subnet_prefix: if request.subnet_prefix == 0 {
                DEFAULT_SUBNET_PREFIX
            } else {
                request.subnet_prefix
            },
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
                .map_err(|error| chain(&error))?;
            self.disk.save_settings(&settings).map_err(tell)
        });
        if let Err(error) = kept {
            node.stop(STOP_DEADLINE).await;
            return Err(error);
        }
        Ok(node)
    }

    pub(super) async fn join_cluster(
        &self,
        request: JoinRequest,
    ) -> Result<NodeId, LifecycleError> {
        let _one_at_a_time = self.lifecycle.write().await;
        self.must_be_free()?;
        let token = Token::parse(&request.token)
            .map_err(|error| LifecycleError::Invalid(format!("--token: {error}")))?;
        let remote = remote(&request.remote_addrs)?;
        let addresses = addresses(&request.listen_addr, &request.advertise_addr)?;
        if leads_here(&remote, &addresses).await {
            return Err(LifecycleError::Invalid(format!(
                "the address to join, {remote}, is this node's own: give a manager's address"
            )));
        }
        let door = Door::bind_anonymous(addresses.listen)
            .map_err(|error| LifecycleError::Failed(port_busy(&error)))?;
        self.begin_anew()?;
        let joined = self
            .join_through(&door, &token, &remote, &addresses, &request)
            .await;
        match joined {
            Ok(node) => {
                let id = node.id;
                self.node.send_replace(Some(node.clone()));
                self.wait_for_promotion(&node).await;
                Ok(id)
            }
            Err(error) => {
                door.close(STOP_DEADLINE).await;
                self.forget();
                Err(error)
            }
        }
    }

    async fn join_through(
        &self,
        door: &Door,
        token: &Token,
        remote: &str,
        addresses: &Addresses,
        request: &JoinRequest,
    ) -> Result<Arc<Node>, LifecycleError> {
        let key = NodeKey::generate().map_err(|error| failed(chain(&error)))?;
        let description = self.engine.describe().await.map_err(failed)?;
        let grant = ask_for_certificate(door, token, remote, &key).await?;
        let identity = NodeIdentity::from_pem(&grant.chain_pem, key, &grant.roots_pem)
            .map_err(|error| failed(chain(&error)))?;
        let advertise = match addresses.advertise {
            Some(advertise) => advertise,
            // The manager saw where we come from: that is an address others can dial.
            None if addresses.listen.ip().is_unspecified() => {
                SocketAddr::new(grant.observed, addresses.listen.port())
            }
            None => addresses.listen,
        };
        let data_path_addr =
            address::data_path(&request.data_path_addr, advertise, &address::interfaces())
                .map_err(invalid)?;
        door.adopt(identity.clone())
            .map_err(|error| failed(chain(&error)))?;
        let settings = Settings {
            listen: addresses.listen,
            advertise,
            data_path_addr,
            raft_id: None,
            managers: Vec::new(),
        };
        let admit = AdmitRequest {
            addr: advertise.to_string(),
            data_path_addr,
            availability: request.availability,
            description,
        };
        let identity = Arc::new(identity);
        // The manager dials back before it admits, so the door must be open by then.
        let node = self
            .start_node(door.clone(), identity.clone(), settings)
            .await
            .map_err(|error| failed(format!("{error:#}")))?;
        let managers = match ask_for_admission(door, remote, &admit).await {
            Ok(managers) => managers,
            Err(error) => {
                node.stop(STOP_DEADLINE).await;
                return Err(error);
            }
        };
        let kept = identity
            .save(&self.disk.tls())
            .map_err(|error| chain(&error))
            .and_then(|()| node.meet(managers).map_err(|error| format!("{error:#}")));
        if let Err(error) = kept {
            node.stop(STOP_DEADLINE).await;
            return Err(failed(error));
        }
        Ok(node)
    }

    /// A node that joined as a manager is one when it votes and has the state.
    async fn wait_for_promotion(&self, node: &Node) {
        if node.role() != Role::Manager {
            return;
        }
        let deadline = Instant::now() + PROMOTION_DEADLINE;
        let id = node.id;
        let mut states = self.states.subscribe();
        let voting =
            states.wait_for(|state| state.node(id).is_some_and(|node| node.member.is_some()));
        if timeout_at(deadline, voting).await.is_err() {
            tracing::warn!(
                "this node joined, but is not a manager yet; that goes on in the background"
            );
        }
    }

    pub(super) async fn leave_cluster(&self, force: bool) -> Result<(), LifecycleError> {
        let _one_at_a_time = self.lifecycle.write().await;
        let Some(node) = self.node.borrow().clone() else {
            return Err(LifecycleError::NotMember);
        };
        if let Some(manager) = node.manager()
            && !force
        {
            let voters = manager.store().status().members.len();
            return Err(LifecycleError::Unsafe(leaving_manager(voters)));
        }
        if let Err(why) = say_goodbye(&node).await {
            if !force {
                return Err(LifecycleError::Unreachable(format!(
                    "no manager could be told that this node leaves: {why}. Use --force to leave all the same"
                )));
            }
            tracing::warn!(why, "left without telling the managers");
        }
        self.node.send_replace(None);
        let cluster = node.cluster;
        node.stop(STOP_DEADLINE).await;
        drop(node);
        self.engine.remove_everything(cluster).await;
        self.states.send_replace(Arc::default());
        self.disk
            .clear_all()
            .map_err(|error| failed(format!("{error:#}")))
    }

    fn must_be_free(&self) -> Result<(), LifecycleError> {
        if self.node.borrow().is_some() {
            Err(LifecycleError::AlreadyMember)
        } else {
            Ok(())
        }
    }

    /// What an attempt that a crash ended has left must not become part of another cluster.
    fn begin_anew(&self) -> Result<(), LifecycleError> {
        self.disk
            .clear_all()
            .map_err(|error| failed(format!("{error:#}")))
    }

    /// After an attempt that failed: nothing of it may be taken up by the next start.
    fn forget(&self) {
        if let Err(error) = self.disk.clear_all() {
            tracing::error!(
                error = format!("{error:#}"),
                "what a failed attempt left behind cannot be cleared"
            );
        }
    }
}

/// The authority of a new cluster, and its first node's certificate.
fn found(cluster: ClusterId, node: NodeId) -> Result<(Ca, NodeIdentity), String> {
    let now = SystemTime::now();
    let (cluster, node) = (cluster.to_string(), node.to_string());
    let authority = Ca::create(&cluster, now).map_err(|error| chain(&error))?;
    let key = NodeKey::generate().map_err(|error| chain(&error))?;
    let csr = key.csr().map_err(|error| chain(&error))?;
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
        .map_err(|error| chain(&error))?;
    let identity = NodeIdentity::from_pem(&chain_pem, key, authority.root_pem())
        .map_err(|error| chain(&error))?;
    Ok((authority, identity))
}

async fn ask_for_certificate(
    door: &Door,
    token: &Token,
    remote: &str,
    key: &NodeKey,
) -> Result<Grant, LifecycleError> {
    let unreachable = |error: &dyn std::error::Error| {
        LifecycleError::Unreachable(format!(
            "cannot join through {remote} (UDP): {}. Check the address, that swarmr runs there as a manager, and \
             that UDP port {} is open on it",
            chain(error),
            remote.rsplit_once(':').map_or("2377", |(_, port)| port)
        ))
    };
    let connection = door
        .connect_pinned(remote, *token.digest(), JOIN, JOIN_DEADLINE)
        .await
        .map_err(|error| {
            use swarmr_net::quic::DialError;
            match error {
                DialError::WrongRoot { .. } => LifecycleError::Denied(format!(
                    "the join token is of another cluster than the one at {remote}: \
                 get that one's with swarmr join-token worker (or manager) there"
                )),
                other => unreachable(&other),
            }
        })?;
    let csr_pem = key.csr().map_err(|error| failed(chain(&error)))?;
    let request = join::JoinRequest {
        token: token.to_string(),
        csr_pem,
    };
    let request = codec::encode(&request).map_err(|error| failed(error.to_string()))?;
    let reply = call(
        &connection,
        Bytes::from(request),
        JOIN_DEADLINE,
        ANSWER_BYTES_MAX,
    )
    .await
    .map_err(|error| unreachable(&error))?;
    match codec::decode::<JoinReply>(&reply).map_err(|error| failed(error.to_string()))? {
        JoinReply::Granted(grant) => Ok(*grant),
        JoinReply::Denied(why) => Err(LifecycleError::Denied(why)),
        JoinReply::Unavailable(why) => Err(LifecycleError::Unreachable(format!(
            "{remote} cannot let a node in now: {why}"
        ))),
    }
}

async fn ask_for_admission(
    door: &Door,
    remote: &str,
    admit: &AdmitRequest,
) -> Result<Vec<ManagerAddr>, LifecycleError> {
    let unreachable = |why: String| {
        LifecycleError::Unreachable(format!("{remote} could not admit this node: {why}"))
    };
    let connection = door
        .connect_any_manager(remote, ADMIT, JOIN_DEADLINE)
        .await
        .map_err(|error| unreachable(chain(&error)))?;
    let request = codec::encode(admit).map_err(|error| failed(error.to_string()))?;
    let reply = call(
        &connection,
        Bytes::from(request),
        ADMIT_DEADLINE,
        ANSWER_BYTES_MAX,
    )
    .await
    .map_err(|error| unreachable(chain(&error)))?;
    match codec::decode::<AdmitReply>(&reply).map_err(|error| failed(error.to_string()))? {
        AdmitReply::Admitted { managers } => Ok(managers),
        AdmitReply::Unreachable(why) => Err(LifecycleError::Unreachable(why)),
        AdmitReply::Refused(why) => Err(LifecycleError::Denied(why)),
    }
}

/// Tells the managers, and as one of them waits to be out of their group.
async fn say_goodbye(node: &Node) -> Result<(), String> {
    let managers = node.settings().managers;
    let deadline = Instant::now() + LEAVE_DEADLINE;
    if node.manager().is_some() && managers.len() < 2 {
        return Ok(());
    }
    let mut why = "no manager is known".to_owned();
    for manager in managers.iter().filter(|manager| manager.node != node.id) {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .min(JOIN_DEADLINE);
        match ask(
            &node.pool,
            manager.node,
            &manager.addr,
            &Ask::Leave { force: true },
            left,
        )
        .await
        {
            Ok(Answer::Done) => {
                while !group::is_out(node).await {
                    if Instant::now() >= deadline {
                        return Err("this manager is still in the Raft group".to_owned());
                    }
                    tokio::time::sleep(group::ASK_EVERY).await;
                }
                return Ok(());
            }
            Ok(other) => why = format!("manager {} answered {other:?}", manager.node),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn leaving_manager(voters: usize) -> String {
    let intro =
        "You are attempting to leave the swarm on a node that is participating as a manager.";
    let next = "Demote it first (swarmr node demote self on another manager), or use --force to suppress this message.";
    match voters {
        1 => format!(
            "{intro} Removing the last manager erases all current state of the swarm. {next}"
        ),
        _ => {
            let (left, needed) = (voters - 1, voters / 2 + 1);
            format!(
                "{intro} The cluster has {voters} managers and needs {needed} of them to answer; \
                 without this one {left} are left. {next}"
            )
        }
    }
}

fn addresses(listen: &str, advertise: &str) -> Result<Addresses, LifecycleError> {
    let interfaces = address::interfaces();
    let listen = address::listen(listen, &interfaces).map_err(invalid)?;
    let advertise = if advertise.is_empty() {
        None
    } else {
        Some(address::advertise(advertise, listen, &interfaces).map_err(invalid)?)
    };
    Ok(Addresses { listen, advertise })
}

/// Whether the address of the manager to join is this node's own, in whichever way it is written.
async fn leads_here(remote: &str, own: &Addresses) -> bool {
    let found = timeout(JOIN_DEADLINE, tokio::net::lookup_host(remote)).await;
    // What cannot be looked up is told by the attempt to connect.
    let Ok(Ok(mut found)) = found else {
        return false;
    };
    let local = address::interfaces();
    found.any(|found| {
        let ip = found.ip();
        let listens = own.listen.ip() == ip
            || own.listen.ip().is_unspecified() && local.iter().any(|here| here.address == ip);
        own.advertise == Some(found) || (listens && own.listen.port() == found.port())
    })
}

/// The address of the manager to join, with Docker's port unless it names one.
fn remote(addrs: &[String]) -> Result<String, LifecycleError> {
    let Some(text) = addrs
        .iter()
        .map(|addr| addr.trim())
        .find(|addr| !addr.is_empty())
    else {
        return Err(LifecycleError::Invalid(
            "the address of a manager is missing: give HOST:PORT".to_owned(),
        ));
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let port = match port {
        "" => address::DEFAULT_PORT,
        port => port
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| {
                LifecycleError::Invalid(format!(
                    "{text:?}: {port:?} is no port; want HOST:PORT with a port from 1 to 65535"
                ))
            })?,
    };
    Ok(format!("{host}:{port}"))
}

fn port_busy(error: &swarmr_net::quic::BindError) -> String {
    format!(
        "{}. Another process may hold that UDP port (ss -ulpn tells which): stop it, or give --listen-addr another",
        chain(error)
    )
}

fn invalid(error: AddressError) -> LifecycleError {
    LifecycleError::Invalid(error.to_string())
}

fn failed(why: impl Into<String>) -> LifecycleError {
    LifecycleError::Failed(why.into())
}
