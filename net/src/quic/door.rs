//! One UDP socket, server and client at once, and everything that runs on it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use quinn::{Endpoint, TransportConfig};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::accept_loop;
use super::address::Address;
use super::connection::Connection;
use super::credentials::Credentials;
use super::dial::{Call, DialError, dial};
use super::gate::SharedGate;
use super::limits::Limits;
use super::refusal::{Refusal, RefusalCode};
use super::registry::Registry;
use super::reset;
use super::router::{Access, Admission, Router, check_access};
use super::socket;
use super::tls;
use super::verify::Expect;
use crate::identity::{IdentityError, NodeIdentity, PeerIdentity};

/// Cheap to clone. Dropping the last clone closes everything at once; `close`
/// does it with a grace period.
#[derive(Clone)]
pub struct Door {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
}

/// What the door's own tasks use. They hold no `Owner`, so they do not keep the
/// door open.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) limits: Limits,
    pub(crate) credentials: Credentials,
    pub(crate) client_transport: Arc<TransportConfig>,
    pub(crate) router: ArcSwap<Router>,
    pub(crate) gate: SharedGate,
    pub(crate) registry: Arc<Registry>,
    pub(crate) tracker: TaskTracker,
    /// No new connections, in or out.
    pub(crate) stopping: CancellationToken,
    /// Handlers that are still running are dropped.
    pub(crate) killed: CancellationToken,
    pub(crate) counters: Counters,
    admission: ArcSwapOption<Hook>,
    accepting: AtomicBool,
}

struct Hook(Box<Admission>);

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) validated: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// A look at the door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorStats {
    /// Connections in both directions that are in use.
    pub connections: usize,
    /// Of these, incoming ones without a certificate.
    pub anonymous: usize,
    /// Incoming handshakes under way.
    pub pending: usize,
    /// First packets that were answered with a demand to prove the address, ever.
    pub validated: u64,
    /// Incoming connections that were refused or failed, ever.
    pub refused: u64,
}

#[derive(Debug, Error)]
#[error("UDP {address} cannot be bound")]
pub struct BindError {
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

/// The protocols could not be put to use.
#[derive(Debug, Error)]
#[error("the TLS settings are not usable: {reason}")]
pub struct ServeError {
    pub reason: String,
}

impl Door {
    /// Binds `listen`, wildcard or not. Nobody is let in before `serve`. Needs a
    /// tokio runtime.
    pub fn bind(listen: SocketAddr, credentials: Credentials) -> Result<Self, BindError> {
        Self::bind_with(listen, credentials, Limits::default())
    }

    /// For a node that is about to join: `adopt` makes it a member later.
    pub fn bind_anonymous(listen: SocketAddr) -> Result<Self, BindError> {
        Self::bind(listen, Credentials::anonymous())
    }

    pub fn bind_with(
        listen: SocketAddr,
        credentials: Credentials,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let bind_error = |source| BindError {
            address: listen,
            source,
        };
        let udp = socket::bind(listen, limits.socket_buffer).map_err(bind_error)?;
        let identity = credentials.identity();
        let endpoint = Endpoint::new(
            reset::endpoint_config(identity.as_ref().map(|identity| identity.key())),
            None,
            udp,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(bind_error)?;
        let shared = Shared {
            endpoint,
            client_transport: limits.client_transport(),
            gate: SharedGate::new(limits.clone()),
            limits,
            credentials,
            router: ArcSwap::default(),
            registry: Arc::default(),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            killed: CancellationToken::new(),
            counters: Counters::default(),
            admission: ArcSwapOption::empty(),
            accepting: AtomicBool::new(false),
        };
        Ok(Self {
            owner: Arc::new(Owner {
                shared: Arc::new(shared),
            }),
        })
    }

    /// Speaks these protocols from now on, instead of those before. Connections
    /// that are up stay; call `recheck` to have them judged anew.
    pub fn serve(&self, router: Router) -> Result<(), ServeError> {
        let shared = self.shared();
        let mut config =
            tls::server_config(&shared.credentials, router.alpns()).map_err(|error| {
                ServeError {
                    reason: error.to_string(),
                }
            })?;
        shared.limits.apply_to(&mut config);
        shared.router.store(Arc::new(router));
        shared.endpoint.set_server_config(Some(config));
        if !shared.accepting.swap(true, Ordering::SeqCst) {
            shared.tracker.spawn(accept_loop(Arc::clone(shared)));
        }
        Ok(())
    }

    /// Shows and trusts this from the next handshake on: a first, renewed or
    /// changed identity.
    pub fn adopt(&self, identity: NodeIdentity) -> Result<(), IdentityError> {
        self.credentials().replace(identity)
    }

    pub fn credentials(&self) -> &Credentials {
        &self.shared().credentials
    }

    /// Asked about every node that comes in or is dialled, after its certificate
    /// was verified. It must not block.
    pub fn set_admission<A>(&self, admission: A)
    where
        A: Fn(&PeerIdentity, Access) -> Result<(), Refusal> + Send + Sync + 'static,
    {
        let hook = Hook(Box::new(admission));
        self.shared().admission.store(Some(Arc::new(hook)));
    }

    /// Judges all live connections anew, by certificate and admission hook, and
    /// closes those that would not be let in now. Gives their number.
    pub fn recheck(&self) -> usize {
        let shared = self.shared();
        let mut closed = 0;
        for connection in shared.registry.all() {
            if let Err(refusal) = shared.check_admission(&connection) {
                connection.refuse(&refusal);
                closed += 1;
            }
        }
        closed
    }

    /// Closes all live connections with this node, in both directions. Gives
    /// their number. It may come back unless the admission hook refuses it.
    pub fn disconnect(&self, node_id: &str) -> usize {
        let connections = self.shared().registry.of_node(node_id);
        let refusal = Refusal::new(RefusalCode::Disconnected, "disconnected by the cluster");
        for connection in &connections {
            connection.refuse(&refusal);
        }
        connections.len()
    }

    /// Dials `expect`, a node id, and speaks `alpn` with it. The node at the
    /// other end is that one, and it has let us in, when this returns.
    pub async fn connect(
        &self,
        address: impl Into<Address>,
        expect: &str,
        alpn: &'static str,
        deadline: Duration,
    ) -> Result<Connection, DialError> {
        let expect = Expect::Node(expect.to_owned());
        self.dial(address.into(), expect, alpn, deadline).await
    }

    /// The same when only the address of a manager of our cluster is known.
    pub async fn connect_any_manager(
        &self,
        address: impl Into<Address>,
        alpn: &'static str,
        deadline: Duration,
    ) -> Result<Connection, DialError> {
        let expect = Expect::Manager;
        self.dial(address.into(), expect, alpn, deadline).await
    }

    /// For joining: shows no certificate, and the other end must be a manager
    /// under the root whose SHA-256 is `digest`.
    pub async fn connect_pinned(
        &self,
        address: impl Into<Address>,
        digest: [u8; 32],
        alpn: &'static str,
        deadline: Duration,
    ) -> Result<Connection, DialError> {
        let expect = Expect::ManagerUnder(digest);
        self.dial(address.into(), expect, alpn, deadline).await
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared().endpoint.local_addr()
    }

    pub fn stats(&self) -> DoorStats {
        let shared = self.shared();
        let (anonymous, pending) = {
            let gate = shared.gate.lock();
            (gate.anonymous(), gate.pending())
        };
        DoorStats {
            connections: shared.registry.total(),
            anonymous,
            pending,
            validated: shared.counters.validated.load(Ordering::Relaxed),
            refused: shared.counters.refused.load(Ordering::Relaxed),
        }
    }

    /// Closes all connections, gives handlers until `deadline` to end and then
    /// drops them, and waits, within the same time, for peers to have been told.
    /// Afterwards the port is free once all clones are gone.
    pub async fn close(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let shared = self.shared();
        shared.stop();
        shared.tracker.close();
        if timeout_at(until, shared.tracker.wait()).await.is_err() {
            shared.killed.cancel();
            shared.tracker.wait().await;
        }
        if timeout_at(until, shared.endpoint.wait_idle())
            .await
            .is_err()
        {
            tracing::debug!("closed before all peers were told");
        }
    }

    /// A task that ends with the door: it is dropped when the door closes.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.shared().stopping.clone();
        self.shared().tracker.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = task => {}
            }
        });
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    async fn dial(
        &self,
        address: Address,
        expect: Expect,
        alpn: &'static str,
        deadline: Duration,
    ) -> Result<Connection, DialError> {
        let call = Call {
            expect,
            alpn,
            deadline,
        };
        dial(self.shared(), &address, call).await
    }
}

impl Shared {
    /// What the certificate allows, and what has become of the node since.
    pub(crate) fn check_admission(&self, connection: &Connection) -> Result<(), Refusal> {
        let Some(peer) = &connection.peer().identity else {
            return Ok(());
        };
        let access = connection.access();
        if let Some(ours) = self.credentials.identity() {
            check_access(access, Some(peer), ours.cluster_id())?;
        }
        match &*self.admission.load() {
            Some(hook) => (hook.0)(peer, access),
            None => Ok(()),
        }
    }

    fn stop(&self) {
        self.stopping.cancel();
        let refusal = Refusal::new(RefusalCode::ShuttingDown, "this node is stopping");
        let (code, text) = refusal.wire();
        self.endpoint.close(code, text);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stop();
        self.shared.killed.cancel();
        self.shared.tracker.close();
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("address", &self.local_addr().ok())
            .field("credentials", self.credentials())
            .field("router", &self.shared().router.load())
            .finish_non_exhaustive()
    }
}
