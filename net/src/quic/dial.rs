//! The calling half of the door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ConnectError, ConnectionError, TransportErrorCode};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::accept::canonical;
use super::address::Address;
use super::connection::{Connection, ConnectionLost, Peer};
use super::door::Shared;
use super::hello::{self, HelloError};
use super::refusal::{RefusalCode, printable};
use super::router::Access;
use super::tls;
use super::verify::{Expect, Finding, PeerVerifier, Trust};
use crate::identity::PeerIdentity;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DialError {
    #[error("{address} cannot be reached: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("{address} answered, but did not say within {deadline:?} whether it lets us in")]
    Timeout { address: String, deadline: Duration },
    #[error("{address} is node {got}, not {expected}")]
    WrongNode {
        address: String,
        expected: String,
        got: String,
    },
    #[error("{address} is node {got}, which is not a manager")]
    NotManager { address: String, got: String },
    #[error("{address} showed a certificate that is not trusted: {reason}")]
    NotTrusted { address: String, reason: String },
    #[error("{address} belongs to another cluster than the join token")]
    WrongRoot { address: String },
    #[error("{address} does not accept our certificate: {reason}")]
    NotTrustedThere { address: String, reason: String },
    #[error("{address} refused the connection: {text}")]
    Refused {
        address: String,
        code: RefusalCode,
        text: String,
    },
    #[error("the connection to {address} broke off at once")]
    Lost {
        address: String,
        #[source]
        reason: ConnectionLost,
    },
    #[error("this node has no certificate yet; it can only join")]
    NoIdentity,
    #[error("no address is known for node {node_id}")]
    NoAddress { node_id: String },
    #[error("this node's door is closed")]
    Closed,
}

/// One dial: whom, where, for what.
pub(crate) struct Call {
    pub(crate) expect: Expect,
    pub(crate) alpn: &'static str,
    pub(crate) deadline: Duration,
}

/// Tries each address that `address` stands for, until one answers.
pub(crate) async fn dial(
    shared: &Arc<Shared>,
    address: &Address,
    call: Call,
) -> Result<Connection, DialError> {
    let until = Instant::now() + call.deadline;
    let unreachable = |reason: String| DialError::Unreachable {
        address: address.to_string(),
        reason,
    };
    let candidates = timeout_at(until, address.resolve())
        .await
        .map_err(|_| unreachable("its name was not resolved in time".to_owned()))?
        .map_err(unreachable)?;
    let mut last = DialError::Closed;
    for (tried, &candidate) in candidates.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let untried = u32::try_from(candidates.len() - tried).unwrap_or(u32::MAX);
        let share = Instant::now() + left / untried;
        let attempt = tokio::select! {
            () = shared.stopping.cancelled() => return Err(DialError::Closed),
            attempt = attempt(shared, candidate, &call, share) => attempt,
        };
        match attempt {
            Err(error @ DialError::Unreachable { .. }) => last = error,
            decided => return decided,
        }
    }
    Err(last)
}

async fn attempt(
    shared: &Arc<Shared>,
    address: SocketAddr,
    call: &Call,
    until: Instant,
) -> Result<Connection, DialError> {
    let verifier = verifier(shared, &call.expect)?;
    let credentials = match call.expect {
        Expect::ManagerUnder(_) => None,
        Expect::Node(_) | Expect::Manager => Some(&shared.credentials),
    };
    let unreachable = |reason: String| DialError::Unreachable {
        address: address.to_string(),
        reason,
    };
    let mut config = tls::client_config(credentials, Arc::clone(&verifier), call.alpn)
        .map_err(|error| unreachable(error.to_string()))?;
    config.transport_config(Arc::clone(&shared.client_transport));
    let handshake = shared
        .endpoint
        .connect_with(config, address, &call.expect.server_name())
        .map_err(|error| match error {
            ConnectError::EndpointStopping => DialError::Closed,
            error => unreachable(error.to_string()),
        })?;
    let explain = |error| explain(error, address, call, verifier.finding());
    let quic = timeout_at(until, handshake)
        .await
        .map_err(|_| no_answer(address, call))?
        .map_err(explain)?;
    timeout_at(until, hello::receive(&quic))
        .await
        .map_err(|_| DialError::Timeout {
            address: address.to_string(),
            deadline: call.deadline,
        })?
        .map_err(|error| match error {
            HelloError::Lost(error) => explain(error),
            HelloError::Strange { reason } => unreachable(reason),
        })?;
    register(shared, quic, address, call)
}

/// As with those who dial us: registered first, then checked.
fn register(
    shared: &Shared,
    quic: quinn::Connection,
    address: SocketAddr,
    call: &Call,
) -> Result<Connection, DialError> {
    let identity =
        PeerIdentity::from_chain(&certificates(&quic)).map_err(|error| DialError::NotTrusted {
            address: address.to_string(),
            reason: error.to_string(),
        })?;
    let peer = Peer {
        identity: Some(identity),
        addr: canonical(quic.remote_address()),
    };
    let access = match call.expect {
        Expect::Node(_) => Access::Node,
        Expect::Manager => Access::Manager,
        Expect::ManagerUnder(_) => Access::Anonymous,
    };
    let registry = &shared.registry;
    let connection = Connection::register(quic, peer, call.alpn, access, None, registry);
    if let Err(refusal) = shared.check_admission(&connection) {
        connection.refuse(&refusal);
        return Err(DialError::NotTrusted {
            address: address.to_string(),
            reason: refusal.text,
        });
    }
    Ok(connection)
}

fn verifier(shared: &Shared, expect: &Expect) -> Result<Arc<PeerVerifier>, DialError> {
    let trust = shared.credentials.current().map(|material| Trust {
        roots: Arc::clone(&material.roots),
        cluster: material.identity.cluster_id().to_owned(),
    });
    if trust.is_none() && !matches!(expect, Expect::ManagerUnder(_)) {
        return Err(DialError::NoIdentity);
    }
    Ok(PeerVerifier::new(expect.clone(), trust))
}

/// The chain that the peer showed; empty when it showed none.
pub(crate) fn certificates(quic: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    quic.peer_identity()
        .and_then(|identity| identity.downcast().ok())
        .map(|chain| *chain)
        .unwrap_or_default()
}

/// What a failed handshake means: our own finding, a refusal, an alert, silence.
fn explain(
    error: ConnectionError,
    address: SocketAddr,
    call: &Call,
    finding: Option<&Finding>,
) -> DialError {
    let address_text = address.to_string();
    if let Some(finding) = finding {
        return found(finding, address_text, &call.expect);
    }
    match error {
        ConnectionError::TimedOut => no_answer(address, call),
        ConnectionError::LocallyClosed => DialError::Closed,
        ConnectionError::ConnectionClosed(close) => {
            let reason = printable(close.to_string().as_bytes());
            alert(close.error_code, address_text, reason, call.alpn)
        }
        ConnectionError::TransportError(error) => DialError::NotTrusted {
            address: address_text,
            reason: printable(error.to_string().as_bytes()),
        },
        other => match ConnectionLost::from(other) {
            ConnectionLost::ByPeer(refusal) if refusal.code != RefusalCode::Done => {
                DialError::Refused {
                    address: address_text,
                    code: refusal.code,
                    text: refusal.to_string(),
                }
            }
            reason => DialError::Lost {
                address: address_text,
                reason,
            },
        },
    }
}

fn found(finding: &Finding, address: String, expect: &Expect) -> DialError {
    match (finding.clone(), expect) {
        (Finding::WrongNode { got }, Expect::Node(expected)) => DialError::WrongNode {
            address,
            expected: expected.clone(),
            got,
        },
        (Finding::WrongNode { got } | Finding::NotManager { got }, _) => {
            DialError::NotManager { address, got }
        }
        (Finding::WrongRoot, _) => DialError::WrongRoot { address },
        (Finding::NotTrusted { reason }, _) => DialError::NotTrusted { address, reason },
    }
}

/// The peer's transport or TLS gave up: the low byte of a code from 0x100 on is
/// the TLS alert (RFC 8446, section 6).
fn alert(
    code: TransportErrorCode,
    address: String,
    reason: String,
    alpn: &'static str,
) -> DialError {
    const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
    const ALERTS: std::ops::Range<u64> = 0x100..0x200;
    if code == TransportErrorCode::CONNECTION_REFUSED {
        return DialError::Refused {
            address,
            code: RefusalCode::Busy,
            text: "it has too many handshakes under way".to_owned(),
        };
    }
    match u64::from(code) {
        NO_APPLICATION_PROTOCOL => DialError::Refused {
            address,
            code: RefusalCode::UnknownProtocol,
            text: format!("it does not speak {alpn}"),
        },
        number if ALERTS.contains(&number) => DialError::NotTrustedThere { address, reason },
        _ => DialError::Lost {
            address,
            reason: ConnectionLost::Broken { reason },
        },
    }
}

fn no_answer(address: SocketAddr, call: &Call) -> DialError {
    DialError::Unreachable {
        address: address.to_string(),
        reason: format!(
            "no answer within {:?}; is the node up and UDP port {} open?",
            call.deadline,
            address.port()
        ),
    }
}
