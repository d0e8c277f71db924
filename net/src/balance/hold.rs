//! Holding published ports, so that nobody else takes them and that one which
//! somebody else has is an honest error.
//!
//! Connections over IPv4 never get here: they are balanced, or refused, before.
//! Those over IPv6 are passed on to the same port over IPv4, since the overlays
//! speak IPv4 only; there the server sees the host and not the client.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::holder::holder_of;
use super::{Holder, Protocol};

/// Connections over IPv6 at one time, of all ports together.
const RELAYED_AT_ONCE: usize = 4096;
/// Our own resolver has this port at the gateways, beside which a service may
/// be published. Everywhere else a shared port would hold nothing.
const RESOLVER_PORT: u16 = 53;
/// What connecting to a backend may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long to wait after the host ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port cannot be held, so it is not published on this host.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum HoldProblem {
    /// Somebody has it.
    #[error("port {port}/{protocol} is held by {holder}")]
    Held {
        protocol: Protocol,
        port: u16,
        holder: Holder,
    },
    /// It cannot be bound, for another reason or by an invisible process.
    #[error("port {port}/{protocol} cannot be bound: {reason}")]
    Bind {
        protocol: Protocol,
        port: u16,
        reason: String,
    },
}

/// The ports that this host holds.
#[derive(Debug)]
pub struct Holds {
    held: BTreeMap<(Protocol, u16), PortHold>,
    relayed: Arc<Semaphore>,
}

/// Which of the sockets that hold ports one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldSocket {
    pub protocol: Protocol,
    pub port: u16,
    pub ipv6: bool,
}

/// One port. Dropping it lets go.
#[derive(Debug)]
struct PortHold {
    /// None for a protocol that this kernel has no sockets of: nobody else can
    /// take its ports either.
    socket: Option<Socket>,
    relay: Option<Relay>,
}

/// What serves a port over IPv6.
#[derive(Debug)]
struct Relay {
    /// A second handle of what the task accepts from.
    socket: Socket,
    _task: AbortOnDropHandle<()>,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            relayed: Arc::new(Semaphore::new(RELAYED_AT_ONCE)),
        }
    }
}

impl Holds {
    /// Takes the ports of `wanted` that are not held yet. Lets go of none.
    pub fn take(&mut self, wanted: &BTreeSet<(Protocol, u16)>) -> Vec<HoldProblem> {
        let mut problems = Vec::new();
        for &(protocol, port) in wanted {
            if self.held.contains_key(&(protocol, port)) {
                continue;
            }
            match hold(protocol, port, &self.relayed) {
                Ok(hold) => {
                    self.held.insert((protocol, port), hold);
                }
                Err(problem) => problems.push(problem),
            }
        }
        problems
    }

    /// Lets go of all ports that are not in `wanted`.
    pub fn release(&mut self, wanted: &BTreeSet<(Protocol, u16)>) {
        self.held.retain(|key, _| wanted.contains(key));
    }

    /// The ports that are held.
    pub fn held(&self) -> BTreeSet<(Protocol, u16)> {
        self.held.keys().copied().collect()
    }

    /// Copies of all sockets, for a process that is to hold them too.
    pub fn share(&self) -> Vec<(HeldSocket, OwnedFd)> {
        let mut copies = Vec::new();
        for (&(protocol, port), hold) in &self.held {
            let relay = hold.relay.iter().map(|relay| (&relay.socket, true));
            let own = hold.socket.iter().map(|socket| (socket, false));
            for (socket, ipv6) in own.chain(relay) {
                let which = HeldSocket {
                    protocol,
                    port,
                    ipv6,
                };
                match socket.try_clone() {
                    Ok(copy) => copies.push((which, copy.into())),
                    Err(error) => tracing::warn!(%error, port, "cannot be handed over"),
                }
            }
        }
        copies
    }

    /// Holds the ports of sockets that another process has held.
    pub fn adopt(&mut self, sockets: Vec<(HeldSocket, OwnedFd)>) {
        let mut sockets: BTreeMap<HeldSocket, OwnedFd> = sockets.into_iter().collect();
        while let Some((which, socket)) = sockets.pop_first() {
            let HeldSocket { protocol, port, .. } = which;
            if which.ipv6 || self.held.contains_key(&(protocol, port)) {
                continue;
            }
            let relaying = HeldSocket {
                ipv6: true,
                ..which
            };
            let relay = sockets.remove(&relaying).map(Socket::from);
            let relay = relay.and_then(|socket| match relay_on(socket, port, &self.relayed) {
                Ok(relay) => Some(relay),
                Err(error) => {
                    tracing::warn!(%error, port, "cannot be served over IPv6");
                    None
                }
            });
            let socket = Some(Socket::from(socket));
            self.held
                .insert((protocol, port), PortHold { socket, relay });
        }
    }

    /// Returns when no connection is relayed.
    pub async fn idle(&self) {
        // It is never closed.
        let _ = self
            .relayed
            .acquire_many(u32::try_from(RELAYED_AT_ONCE).unwrap_or(u32::MAX))
            .await;
    }
}

fn hold(protocol: Protocol, port: u16, relayed: &Arc<Semaphore>) -> Result<PortHold, HoldProblem> {
    let problem = |source: io::Error| match holder_of(protocol, port) {
        Some(holder) if source.kind() == io::ErrorKind::AddrInUse => HoldProblem::Held {
            protocol,
            port,
            holder,
        },
        _ => HoldProblem::Bind {
            protocol,
            port,
            reason: source.to_string(),
        },
    };
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let socket = match bind(protocol, address) {
        Err(error) if is_unknown(&error) => None,
        bound => Some(bound.map_err(problem)?),
    };
    let relay = match protocol {
        Protocol::Tcp => relay(port, relayed).map_err(problem)?,
        Protocol::Udp | Protocol::Sctp => None,
    };
    Ok(PortHold { socket, relay })
}

fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<Socket> {
    let kind = match protocol {
        Protocol::Tcp | Protocol::Sctp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let number = Some(i32::from(protocol.number()).into());
    let socket = Socket::new(Domain::for_address(address), kind, number)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections of a former owner may linger; a listening one still
        // counts.
        socket.set_reuse_address(true)?;
    }
    if address.port() == RESOLVER_PORT {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    socket.bind(&address.into())?;
    match protocol {
        Protocol::Tcp | Protocol::Sctp => socket.listen(128)?,
        // Nothing is read from it. What comes in regardless is not kept.
        Protocol::Udp => socket.set_recv_buffer_size(1)?,
    }
    Ok(socket)
}

fn is_unknown(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT))
}

/// Serves the port over IPv6, unless the host has none.
fn relay(port: u16, relayed: &Arc<Semaphore>) -> io::Result<Option<Relay>> {
    let socket = match bind(
        Protocol::Tcp,
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    ) {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(error) => {
            tracing::debug!(%error, port, "no IPv6 here");
            return Ok(None);
        }
    };
    relay_on(socket, port, relayed).map(Some)
}

fn relay_on(socket: Socket, port: u16, relayed: &Arc<Semaphore>) -> io::Result<Relay> {
    let listener = TcpListener::from_std(socket.try_clone()?.into())?;
    let serving = serve(listener, port, relayed.clone());
    Ok(Relay {
        socket,
        _task: AbortOnDropHandle::new(tokio::spawn(serving)),
    })
}

/// Accepts for ever. Relayed connections outlive the hold: letting go of a port
/// must not cut what runs over it.
async fn serve(listener: TcpListener, port: u16, relayed: Arc<Semaphore>) {
    let connections = TaskTracker::new();
    loop {
        let Ok(permit) = relayed.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(async move {
                    pass_on(client, port).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, port, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn pass_on(mut client: TcpStream, port: u16) {
    let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    match tokio::time::timeout(CONNECT_DEADLINE, connect).await {
        Ok(Ok(mut backend)) => {
            // Either end may break off; there is nobody to tell.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
        }
        _ => {
            // Refused, not closed as if all were said.
            let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_port() -> u16 {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    /// A program that another test is just starting may have a copy of a closed
    /// socket for a moment.
    fn eventually(mut done: impl FnMut() -> bool) -> bool {
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if done() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    #[tokio::test]
    async fn a_port_that_somebody_has_is_named_with_its_holder() {
        let other = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let mut holds = Holds::default();
        let problems = holds.take(&BTreeSet::from([(Protocol::Tcp, port)]));
        let text = problems[0].to_string();
        assert!(
            text.starts_with(&format!("port {port}/tcp is held by ")),
            "{text}"
        );
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        assert!(holds.held().is_empty());
    }

    #[tokio::test]
    async fn a_held_port_cannot_be_taken_until_it_is_let_go() {
        let port = some_port();
        let mut holds = Holds::default();
        let wanted = BTreeSet::from([(Protocol::Tcp, port), (Protocol::Udp, port)]);
        assert!(eventually(|| holds.take(&wanted).is_empty()));
        assert!(std::net::TcpListener::bind(("0.0.0.0", port)).is_err());
        assert!(std::net::UdpSocket::bind(("0.0.0.0", port)).is_err());
        holds.release(&BTreeSet::new());
        assert!(eventually(|| {
            let address = ("0.0.0.0", port);
            std::net::UdpSocket::bind(address).is_ok()
                && std::net::TcpListener::bind(address).is_ok()
        }));
    }
}
