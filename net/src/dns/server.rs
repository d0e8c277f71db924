//! The resolver's sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_server::net::xfer::Protocol;
use nix::sys::socket::{setsockopt, sockopt};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::datagrams::{self, Reply};
use super::forward::Forwarder;
use super::handler::{Handler, Shared};
use super::slots::Slots;
use super::{Index, Table, streams};

const PORT: u16 = 53;
/// For running answers when the resolver closes.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// Questions that wait for the host's resolvers, in all and of one container.
const WAITING: usize = 1024;
const WAITING_EACH: usize = 256;
/// Connections over TCP, in all and of one container.
const CONNECTIONS: usize = 512;
const CONNECTIONS_EACH: usize = 64;

/// The resolver cannot be started.
#[derive(Debug, Error)]
#[error("the resolver cannot be started: {0}")]
pub struct DnsError(String);

/// The resolver does not answer at an address.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("the resolver cannot listen at {address}:{PORT}: {reason}")]
pub struct ListenProblem {
    pub address: Ipv4Addr,
    pub reason: String,
}

/// The resolver. Dropping it closes its sockets.
pub struct DnsServer {
    shared: Arc<Shared>,
    listeners: BTreeMap<Ipv4Addr, Listener>,
    /// Questions that take the long way.
    waiting: Slots,
    /// Connections over TCP.
    connections: Slots,
}

/// The sockets at one address. Dropping it closes them.
struct Listener {
    tracker: TaskTracker,
    closing: CancellationToken,
    datagrams: AbortOnDropHandle<()>,
}

impl DnsServer {
    /// A resolver that listens nowhere and knows no name. What it does not
    /// know it asks `upstreams`, in turn. Must be called in a tokio runtime.
    pub fn start(upstreams: &[SocketAddr]) -> Result<Self, DnsError> {
        let forwarder = Forwarder::new(upstreams).map_err(|error| DnsError(error.to_string()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                index: ArcSwap::from_pointee(Index::default()),
                forwarder,
                turn: AtomicUsize::new(0),
            }),
            listeners: BTreeMap::new(),
            waiting: Slots::new(WAITING, WAITING_EACH),
            connections: Slots::new(CONNECTIONS, CONNECTIONS_EACH),
        })
    }

    /// Answers from `table` from now on.
    pub fn set_table(&self, table: &Table) {
        self.shared.index.store(Arc::new(Index::new(table)));
    }

    /// Listens at exactly these addresses, UDP and TCP, whether or not the host
    /// has them yet. Where it cannot, the next call tries again.
    pub fn set_listeners(&mut self, wanted: &BTreeSet<Ipv4Addr>) -> Vec<ListenProblem> {
        // One whose socket failed is opened again.
        self.listeners.retain(|address, listener| {
            wanted.contains(address) && !listener.datagrams.is_finished()
        });
        let mut problems = Vec::new();
        for &address in wanted {
            if self.listeners.contains_key(&address) {
                continue;
            }
            match self.listen(address) {
                Ok(listener) => {
                    self.listeners.insert(address, listener);
                }
                Err(error) => problems.push(ListenProblem {
                    address,
                    reason: error.to_string(),
                }),
            }
        }
        problems
    }

    /// Lets running answers finish, for a while, and closes.
    pub async fn close(self) {
        for listener in self.listeners.values() {
            listener.closing.cancel();
            listener.tracker.close();
        }
        for (address, listener) in &self.listeners {
            let ended = timeout(CLOSE_DEADLINE, listener.tracker.wait()).await;
            if ended.is_err() {
                tracing::debug!(%address, "the resolver was closed with questions open");
            }
        }
    }

    fn listen(&self, address: Ipv4Addr) -> io::Result<Listener> {
        let handler = Handler {
            gateway: address,
            shared: self.shared.clone(),
        };
        let udp = Arc::new(UdpSocket::from_std(bind(address, Type::DGRAM)?.into())?);
        let tcp = bind(address, Type::STREAM)?;
        tcp.listen(128)?;
        let tcp = TcpListener::from_std(tcp.into())?;
        let (tracker, closing) = (TaskTracker::new(), CancellationToken::new());
        tracker.spawn(streams::serve(
            tcp,
            handler.clone(),
            self.connections.clone(),
            tracker.clone(),
            closing.clone(),
        ));
        let answering = answer_datagrams(udp, handler, self.waiting.clone(), tracker.clone());
        Ok(Listener {
            tracker,
            closing,
            datagrams: AbortOnDropHandle::new(tokio::spawn(answering)),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Answers at once what can be, and the rest in tasks of their own.
async fn answer_datagrams(
    socket: Arc<UdpSocket>,
    handler: Handler,
    waiting: Slots,
    tracker: TaskTracker,
) {
    let answer = |from: SocketAddrV4, message: &[u8], buffer: &mut [u8]| {
        let reply = handler.at_once(from, message, buffer);
        if matches!(reply, Reply::None)
            && let Some(slot) = waiting.take(*from.ip())
        {
            let (socket, handler, message) = (socket.clone(), handler.clone(), message.to_vec());
            tracker.spawn(async move {
                let _slot = slot;
                let Some(answer) = handler.answer(message, from, Protocol::Udp).await else {
                    return;
                };
                if let Err(error) = socket.try_send_to(&answer, from.into()) {
                    tracing::debug!(%error, "a resolver's answer was not sent");
                }
            });
        }
        reply
    };
    if let Err(error) = datagrams::serve(&socket, answer).await {
        tracing::error!(%error, address = %handler.gateway, "the resolver's socket failed");
    }
}

impl std::fmt::Debug for DnsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsServer")
            .field("listeners", &self.listeners.keys())
            .finish_non_exhaustive()
    }
}

fn bind(address: Ipv4Addr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    socket.set_nonblocking(true)?;
    // The bridge may get its address later, and lose it for a moment.
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    // The balancer holds this port at all addresses while it is published.
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SocketAddr::from((address, PORT)).into())?;
    Ok(socket)
}
