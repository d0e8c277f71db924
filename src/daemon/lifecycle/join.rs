//! Into a cluster that others have made.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarmr_net::identity::{NodeIdentity, NodeKey, Token};
use swarmr_net::in_words;
use swarmr_net::quic::{Door, call};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Addresses, addresses, bind, failed, invalid};
use crate::api::control::{JoinRequest, LifecycleError};
use crate::daemon::disk::Settings;
use crate::daemon::node::Node;
use crate::daemon::{Daemon, STOP_DEADLINE, address};
use crate::message::join::{self, AdmitReply, AdmitRequest, Grant, JoinReply};
use crate::message::{ADMIT, ANSWER_BYTES_MAX, JOIN};
use crate::spec::{NodeId, Role};
use crate::state::assignment::ManagerAddr;
use crate::state::codec;

/// What `join` may take to reach the manager: it answers at once or not at all.
const JOIN_DEADLINE: Duration = Duration::from_secs(5);
/// Dialling back included.
const ADMIT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a new manager may take to become one; it goes on in the background after that.
const PROMOTION_DEADLINE: Duration = Duration::from_secs(15);

impl Daemon {
    pub(in crate::daemon) async fn join_cluster(
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
        let door = bind(|| Door::bind_anonymous(addresses.listen)).await?;
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
        let key = NodeKey::generate().map_err(|error| failed(in_words(&error)))?;
        let description = self.engine.describe().await.map_err(failed)?;
        let grant = ask_for_certificate(door, token, remote, &key).await?;
        let identity = NodeIdentity::from_pem(&grant.chain_pem, key, &grant.roots_pem)
            .map_err(|error| failed(in_words(&error)))?;
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
            .map_err(|error| failed(in_words(&error)))?;
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
            .map_err(|error| in_words(&error))
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
            in_words(error),
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
    let csr_pem = key.csr().map_err(|error| failed(in_words(&error)))?;
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
        .map_err(|error| unreachable(in_words(&error)))?;
    let request = codec::encode(admit).map_err(|error| failed(error.to_string()))?;
    let reply = call(
        &connection,
        Bytes::from(request),
        ADMIT_DEADLINE,
        ANSWER_BYTES_MAX,
    )
    .await
    .map_err(|error| unreachable(in_words(&error)))?;
    match codec::decode::<AdmitReply>(&reply).map_err(|error| failed(error.to_string()))? {
        AdmitReply::Admitted { managers } => Ok(managers),
        AdmitReply::Unreachable(why) => Err(LifecycleError::Unreachable(why)),
        AdmitReply::Refused(why) => Err(LifecycleError::Denied(why)),
    }
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
