//! Ending what the balancer decided before: rules choose for new connections
//! only, and for UDP "new" can be long ago.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use socket2::SockRef;
use thiserror::Error;

use super::Protocol;
use super::conntrack_message::{Answer, Flow, answers, delete, dump};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flows {
    /// Those that were balanced to this backend.
    To(Ipv4Addr),
    /// Those to a port or service address that the balancer has not seen,
    /// because they are older than its rule. A UDP sender that never pauses
    /// would not be balanced otherwise.
    Before(Protocol, u16),
}

impl Flows {
    /// Forgets these connections and returns how many there were. The next
    /// packet of each is taken for the first of a new one: UDP goes to another
    /// backend, TCP is reset.
    ///
    /// Works in the network namespace of the calling thread.
    pub async fn forget(self) -> Result<usize, ConntrackError> {
        // Reading a large table takes longer than a task may block.
        let work = tokio::task::spawn_blocking(move || forget(|flow| self.covers(flow)));
        work.await.map_err(|_| ConntrackError::Ended)?
    }

    fn covers(self, flow: &Flow) -> bool {
        let balanced = flow.answers != flow.asked;
        match self {
            Self::To(backend) => balanced && flow.answers == backend,
            Self::Before(protocol, port) => {
                let number = match protocol {
                    Protocol::Tcp => 6,
                    Protocol::Udp => 17,
                };
                !balanced && flow.protocol == number && flow.port == port
            }
        }
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
