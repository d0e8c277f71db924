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

use super::conntrack_message::{Answer, Flow, answers, delete, dump};
use super::{Addresses, Protocol};
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

/// Which connections to forget, whatever they lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flows {
    /// Those to a port or service address that the balancer has not seen,
    /// because they are older than its rule. A UDP sender that never pauses
    /// would not be balanced otherwise.
    Before(Protocol, u16),
    /// All from or to these networks, which are no more: their addresses may
    /// come to mean something else.
    Of(Vec<Subnet>),
}

impl Flows {
    /// Forgets these connections and returns how many there were. The next
    /// packet of each is taken for the first of a new one: UDP goes to another
    /// backend, and so does a TCP connection that was not answered yet; one
    /// that was is reset.
    ///
    /// Works in the network namespace of the calling thread.
    pub async fn forget(self) -> Result<usize, ConntrackError> {
        aside(move || {
            let socket = open()?;
            forget(&socket, &find(&socket, |flow| self.covers(flow))?)
        })
        .await
    }

    fn covers(&self, flow: &Flow) -> bool {
        match self {
            Self::Of(subnets) => {
                let mut ends = [flow.source, flow.asked, flow.answers].into_iter();
                ends.any(|end| subnets.iter().any(|subnet| subnet.contains(end)))
            }
            Self::Before(protocol, port) => {
                !is_balanced(flow) && flow.protocol == protocol.number() && flow.port == *port
            }
        }
    }
}

/// Connections that were balanced to containers on our networks. Found first,
/// judged then: they are few where containers are many.
#[derive(Debug)]
pub struct Balanced {
    flows: Vec<Flow>,
}

impl Balanced {
    /// Those into `subnets` that were asked for at a service address, which is in
    /// a subnet itself, or at one of `ports`.
    ///
    /// Works in the network namespace of the calling thread.
    pub async fn find(
        subnets: Vec<Subnet>,
        ports: BTreeSet<(Protocol, u16)>,
    ) -> Result<Self, ConntrackError> {
        aside(move || {
            let flows = find(&open()?, |flow| leads_into(&subnets, &ports, flow))?;
            Ok(Self { flows })
        })
        .await
    }

    /// Where they lead.
    pub fn backends(&self) -> BTreeSet<Ipv4Addr> {
        self.flows.iter().map(|flow| flow.answers).collect()
    }

    /// Forgets all but those to containers that take connections, which are
    /// `serving`, and those that a container in `held` has answered: the next
    /// packet of any other, such as a repeated SYN, finds a backend that serves.
    pub async fn forget_stale(
        self,
        serving: &BTreeSet<Ipv4Addr>,
        held: &Addresses,
    ) -> Result<usize, ConntrackError> {
        let stale = self.stale(serving, held);
        if stale.is_empty() {
            return Ok(0);
        }
        aside(move || forget(&open()?, &stale)).await
    }

    fn stale(self, serving: &BTreeSet<Ipv4Addr>, held: &Addresses) -> Vec<Flow> {
        let flows = self.flows.into_iter();
        let stays = |flow: &Flow| {
            serving.contains(&flow.answers) || flow.answered && held.contains(flow.answers)
        };
        flows.filter(|flow| !stays(flow)).collect()
    }
}

/// Runs `work` beside the tasks of this thread: reading a large table takes
/// longer than a task may block.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConntrackError> + Send + 'static,
) -> Result<T, ConntrackError> {
    let work = tokio::task::spawn_blocking(work);
    work.await.map_err(|_| ConntrackError::Ended)?
}

fn is_balanced(flow: &Flow) -> bool {
    flow.answers != flow.asked
}

fn leads_into(subnets: &[Subnet], ports: &BTreeSet<(Protocol, u16)>, flow: &Flow) -> bool {
    let ours = |address| subnets.iter().any(|subnet| subnet.contains(address));
    let asked = || {
        let mut ports = ports.iter();
        ours(flow.asked)
            || ports
                .any(|(protocol, port)| flow.protocol == protocol.number() && flow.port == *port)
    };
    is_balanced(flow) && ours(flow.answers) && asked()
}

fn open() -> Result<Socket, ConntrackError> {
    let mut socket = Socket::new(NETLINK_NETFILTER).map_err(ConntrackError::Socket)?;
    socket.bind_auto().map_err(ConntrackError::Socket)?;
    let deadline = SockRef::from(&socket).set_read_timeout(Some(DEADLINE));
    deadline.map_err(ConntrackError::Socket)?;
    Ok(socket)
}

fn find(socket: &Socket, covers: impl Fn(&Flow) -> bool) -> Result<Vec<Flow>, ConntrackError> {
    let mut found = Vec::new();
    converse(socket, &dump(), |flow| {
        if covers(&flow) {
            found.push(flow);
        }
    })?;
    Ok(found)
}

fn forget(socket: &Socket, flows: &[Flow]) -> Result<usize, ConntrackError> {
    let mut forgotten = 0;
    for flow in flows {
        match converse(socket, &delete(flow), |_| {}) {
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
        let subnets = [Subnet::new(ip(0), 24).unwrap()];
        let ports = BTreeSet::from([(Protocol::Tcp, 8080)]);
        let serving = BTreeSet::from([ip(21)]);
        let held = Addresses::from(vec![ip(22)]);
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
            let mut flows = vec![flow.clone()];
            flows.retain(|flow| leads_into(&subnets, &ports, flow));
            let stale = Balanced { flows }.stale(&serving, &held);
            assert_eq!(!stale.is_empty(), gone, "{flow:?}");
        }
    }
}
