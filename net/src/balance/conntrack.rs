//! Ending what the balancer decided before: rules choose for new connections
//! only, and for UDP "new" can be long ago.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use socket2::SockRef;
use thiserror::Error;

use super::Protocol;
use super::conntrack_message::{Answer, Flow, answers, delete, dump};
use crate::overlay::Subnet;

const ENOENT: i32 = 2;
/// More than the kernel puts into one datagram.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// What the kernel may take for one datagram.
const DEADLINE: Duration = Duration::from_secs(5);

/// The kernel's connection table could not be read or changed.
#[derive(Debug, Error)]
pub enum ConntrackError {
    #[error("cannot talk to the kernel's connection table")]
    Socket(#[source] io::Error),
    #[error("the kernel refused")]
    Refused(#[source] io::Error),
    #[error("the reader of the connection table ended early")]
    Ended,
}

/// Which connections to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flows {
    /// Those that were balanced to a container that is not what it was.
    Stale(Stale),
    /// Those to a port or service address that the balancer has not seen,
    /// because they are older than its rule. A UDP sender that never pauses
    /// would not be balanced otherwise.
    Before(Protocol, u16),
    /// All from or to these networks, which are no more: their addresses may
    /// come to mean something else.
    Of(Vec<Subnet>),
}

/// What balanced connections into our networks may still lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    pub subnets: Vec<Subnet>,
    /// Only those that were balanced here count: to a service address, which is
    /// in a subnet itself, or to one of these.
    pub ports: BTreeSet<(Protocol, u16)>,
    /// Takes connections: all of its connections stay.
    pub serving: BTreeSet<Ipv4Addr>,
    /// Keeps those that it has answered. The next packet of any other, such as
    /// a repeated SYN, finds a backend that serves.
    pub held: BTreeSet<Ipv4Addr>,
}

impl Flows {
    /// Forgets these connections and returns how many there were. The next
    /// packet of each is taken for the first of a new one: UDP goes to another
    /// backend, and so does a TCP connection that was not answered yet; one
    /// that was is reset.
    ///
    /// Works in the network namespace of the calling thread.
    pub async fn forget(self) -> Result<usize, ConntrackError> {
        // Reading a large table takes longer than a task may block.
        let work = tokio::task::spawn_blocking(move || forget(|flow| self.covers(flow)));
        work.await.map_err(|_| ConntrackError::Ended)?
    }

    fn covers(&self, flow: &Flow) -> bool {
        let balanced = flow.answers != flow.asked;
        match self {
            Self::Stale(stale) => balanced && stale.covers(flow),
            Self::Of(subnets) => {
                let mut ends = [flow.source, flow.asked, flow.answers].into_iter();
                ends.any(|end| subnets.iter().any(|subnet| subnet.contains(end)))
            }
            Self::Before(protocol, port) => {
                !balanced && flow.protocol == protocol.number() && flow.port == *port
            }
        }
    }
}

impl Stale {
    fn covers(&self, flow: &Flow) -> bool {
        let ours = |address| self.subnets.iter().any(|subnet| subnet.contains(address));
        let mut ports = self.ports.iter();
        let asked = ours(flow.asked)
            || ports
                .any(|(protocol, port)| flow.protocol == protocol.number() && flow.port == *port);
        let backend = flow.answers;
        let stays =
            self.serving.contains(&backend) || flow.answered && self.held.contains(&backend);
        asked && ours(backend) && !stays
    }
}

fn forget(covers: impl Fn(&Flow) -> bool) -> Result<usize, ConntrackError> {
    let mut socket = Socket::new(NETLINK_NETFILTER).map_err(ConntrackError::Socket)?;
    socket.bind_auto().map_err(ConntrackError::Socket)?;
    let deadline = SockRef::from(&socket).set_read_timeout(Some(DEADLINE));
    deadline.map_err(ConntrackError::Socket)?;
    let mut chosen = Vec::new();
    converse(&socket, &dump(), |flow| {
        if covers(&flow) {
            chosen.push(flow);
        }
    })?;
    let mut forgotten = 0;
    for flow in &chosen {
        match converse(&socket, &delete(flow), |_| {}) {
            Ok(()) => forgotten += 1,
            // It ended by itself meanwhile.
            Err(ConntrackError::Refused(error)) if error.raw_os_error() == Some(ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(forgotten)
}

/// Sends one request and hands every connection of the answer to `take`.
fn converse(
    socket: &Socket,
    request: &[u8],
    mut take: impl FnMut(Flow),
) -> Result<(), ConntrackError> {
    socket.send(request, 0).map_err(ConntrackError::Socket)?;
    loop {
        let mut datagram = Vec::with_capacity(DATAGRAM_BYTES);
        let received = socket.recv(&mut datagram, 0);
        received.map_err(ConntrackError::Socket)?;
        for answer in answers(&datagram) {
            match answer {
                Answer::Flow(flow) => take(flow),
                Answer::Done => return Ok(()),
                Answer::Error(code) => {
                    let error = io::Error::from_raw_os_error(code);
                    return Err(ConntrackError::Refused(error));
                }
                Answer::Other => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 1, last)
    }

    #[test]
    fn a_network_that_is_no_more_has_no_connections() {
        let gone = Flows::Of(vec![Subnet::new(ip(0), 24).unwrap()]);
        let host = Ipv4Addr::new(192, 0, 2, 1);
        let covers = |source, asked, answers| {
            let mut flow = Flow::example(asked, 80, answers, true);
            flow.source = source;
            gone.covers(&flow)
        };
        assert!(covers(ip(21), host, host));
        assert!(covers(host, ip(21), ip(21)));
        assert!(covers(host, host, ip(21)));
        assert!(!covers(host, host, host));
    }

    /// Where a flow leads, whether it was answered, whether it is to be forgotten.
    #[test]
    fn connections_end_with_what_they_lead_to() {
        let stale = Flows::Stale(Stale {
            subnets: vec![Subnet::new(ip(0), 24).unwrap()],
            ports: BTreeSet::from([(Protocol::Tcp, 8080)]),
            serving: BTreeSet::from([ip(21)]),
            held: BTreeSet::from([ip(22)]),
        });
        let host = Ipv4Addr::new(192, 0, 2, 1);
        let (published, service) = ((host, 8080), (ip(100), 9999));
        let cases = [
            (published, ip(21), false, false),
            (published, ip(22), true, false),
            (published, ip(22), false, true),
            (published, ip(23), true, true),
            (published, Ipv4Addr::new(172, 17, 0, 2), true, false),
            (service, ip(21), false, false),
            (service, ip(22), true, false),
            (service, ip(22), false, true),
            (service, ip(23), true, true),
            // The engine's own published port, and two containers among themselves.
            ((host, 9000), ip(23), true, false),
            ((ip(23), 80), ip(23), true, false),
        ];
        for ((asked, port), answers, answered, gone) in cases {
            let flow = Flow::example(asked, port, answers, answered);
            assert_eq!(stale.covers(&flow), gone, "{flow:?}");
        }
    }
}
