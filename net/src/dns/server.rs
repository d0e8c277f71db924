//! The resolver's sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_server::Server;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, UdpSocket};

use super::forward::Forwarder;
use super::handler::{Handler, Shared};
use super::{Index, Table};

const PORT: u16 = 53;
/// For a question over TCP to arrive.
const TCP_DEADLINE: Duration = Duration::from_secs(5);
/// Answers waiting to be written to one TCP connection.
const TCP_ANSWERS: usize = 32;

/// The resolver cannot be started.
#[derive(Debug, Error)]
#[error("the resolver cannot be started: {0}")]
pub struct DnsError(String);

/// The resolver does not answer at an address.
#[derive(Debug, Error)]
#[error("the resolver cannot listen at {address}:{PORT}")]
pub struct ListenProblem {
    pub address: Ipv4Addr,
    #[source]
    pub source: io::Error,
}

/// The resolver. Dropping it closes its sockets.
pub struct DnsServer {
    shared: Arc<Shared>,
    listeners: BTreeMap<Ipv4Addr, Server<Handler>>,
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
        })
    }

    /// Answers from `table` from now on.
    pub fn set_table(&self, table: &Table) {
        self.shared.index.store(Arc::new(Index::new(table)));
    }

    /// Listens at exactly these addresses, UDP and TCP, whether or not the host
    /// has them yet. Where it cannot, the next call tries again.
    pub fn set_listeners(&mut self, wanted: &BTreeSet<Ipv4Addr>) -> Vec<ListenProblem> {
        self.listeners.retain(|address, _| wanted.contains(address));
        let mut problems = Vec::new();
        for &address in wanted {
            if self.listeners.contains_key(&address) {
                continue;
            }
            match self.listen(address) {
                Ok(server) => {
                    self.listeners.insert(address, server);
                }
                Err(source) => problems.push(ListenProblem { address, source }),
            }
        }
        problems
    }

    /// Lets running answers finish, for a while, and closes.
    pub async fn close(self) {
        for (address, mut server) in self.listeners {
            let ended = tokio::time::timeout(TCP_DEADLINE, server.shutdown_gracefully()).await;
            if ended.is_err() {
                tracing::debug!(%address, "the resolver was closed with questions open");
            }
        }
    }

    fn listen(&self, address: Ipv4Addr) -> io::Result<Server<Handler>> {
        let mut server = Server::new(Handler {
            gateway: address,
            shared: self.shared.clone(),
        });
        let udp = bind(address, Type::DGRAM)?;
        let tcp = bind(address, Type::STREAM)?;
        tcp.listen(128)?;
        server.register_socket(UdpSocket::from_std(udp.into())?);
        let listener = TcpListener::from_std(tcp.into())?;
        server.register_listener(listener, TCP_DEADLINE, TCP_ANSWERS);
        Ok(server)
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
