//! A connection that both sides accepted.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{ConnectionError, RecvStream, SendDatagramError, SendStream};
use thiserror::Error;

use super::framed::FramedStream;
use super::gate::Pass;
use super::refusal::{Refusal, RefusalCode, printable};
use super::registry::{Registration, Registry};
use super::router::Access;
use crate::identity::PeerIdentity;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None`: it showed no certificate. Only handlers of
    /// [`Access::Anonymous`] meet such peers.
    pub identity: Option<PeerIdentity>,
    /// Where its packets come from.
    pub addr: SocketAddr,
}

/// Cheap to clone. Dropping the last clone closes the connection, also under
/// streams that are still open.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    quic: quinn::Connection,
    peer: Arc<Peer>,
    alpn: &'static str,
    access: Access,
    _registration: Registration,
    _pass: Option<Pass>,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectionLost {
    #[error("closed by the peer: {0}")]
    ByPeer(Refusal),
    #[error("closed on this side")]
    Here,
    #[error("the peer was silent for too long")]
    Silent,
    #[error("the peer restarted")]
    Reset,
    #[error("{reason}")]
    Broken { reason: String },
}

/// Why a datagram was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DatagramError {
    #[error("the datagram has {got} bytes, at most {allowed} fit now")]
    TooLarge { got: usize, allowed: usize },
    #[error("the peer takes no datagrams")]
    Unsupported,
    #[error("the connection is lost")]
    Lost(#[from] ConnectionLost),
}

impl Peer {
    pub fn node_id(&self) -> Option<&str> {
        self.identity.as_ref().map(|peer| peer.node_id.as_str())
    }
}

impl Connection {
    /// Makes it known to `registry`, under the peer's node.
    pub(crate) fn register(
        quic: quinn::Connection,
        peer: Peer,
        alpn: &'static str,
        access: Access,
        pass: Option<Pass>,
        registry: &Arc<Registry>,
    ) -> Self {
        let registration = registry.reserve(peer.node_id());
        let inner = Arc::new_cyclic(|weak| {
            registry.insert(&registration, weak.clone());
            Inner {
                quic,
                peer: Arc::new(peer),
                alpn,
                access,
                _registration: registration,
                _pass: pass,
            }
        });
        Self { inner }
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub fn peer(&self) -> &Arc<Peer> {
        &self.inner.peer
    }

    /// The protocol that both sides speak on it.
    pub fn alpn(&self) -> &'static str {
        self.inner.alpn
    }

    /// As what the peer was let in.
    pub fn access(&self) -> Access {
        self.inner.access
    }

    /// A new stream. Waits while the peer has as many open as it allows. The
    /// peer notices the stream with its first byte.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionLost> {
        Ok(self.inner.quic.open_bi().await?)
    }

    /// The next stream that the peer opens. Dropping the future loses none.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionLost> {
        Ok(self.inner.quic.accept_bi().await?)
    }

    pub async fn open_uni(&self) -> Result<SendStream, ConnectionLost> {
        Ok(self.inner.quic.open_uni().await?)
    }

    pub async fn accept_uni(&self) -> Result<RecvStream, ConnectionLost> {
        Ok(self.inner.quic.accept_uni().await?)
    }

    /// A new stream of frames of at most `max_frame` bytes.
    pub async fn open_framed(&self, max_frame: usize) -> Result<FramedStream, ConnectionLost> {
        let (send, receive) = self.open_bi().await?;
        Ok(FramedStream::new(self.clone(), send, receive, max_frame))
    }

    /// The next stream that the peer opens, as frames of at most `max_frame` bytes.
    pub async fn accept_framed(&self, max_frame: usize) -> Result<FramedStream, ConnectionLost> {
        let (send, receive) = self.accept_bi().await?;
        Ok(FramedStream::new(self.clone(), send, receive, max_frame))
    }

    /// Unreliable and unordered. When the buffer is full the oldest unsent one
    /// is dropped.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), DatagramError> {
        let got = datagram.len();
        self.inner
            .quic
            .send_datagram(datagram)
            .map_err(|error| match error {
                SendDatagramError::TooLarge => DatagramError::TooLarge {
                    got,
                    allowed: self.max_datagram_size().unwrap_or(0),
                },
                SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled => {
                    DatagramError::Unsupported
                }
                SendDatagramError::ConnectionLost(error) => DatagramError::Lost(error.into()),
            })
    }

    /// The next datagram. Dropping the future loses none.
    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionLost> {
        Ok(self.inner.quic.read_datagram().await?)
    }

    /// Bytes, as the path allows now; at least 1,100 in practice.
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.inner.quic.max_datagram_size()
    }

    /// Smoothed round trip.
    pub fn rtt(&self) -> Duration {
        self.inner.quic.rtt()
    }

    /// Why it is over, or `None` while it is up as far as this side knows.
    pub fn lost(&self) -> Option<ConnectionLost> {
        self.inner.quic.close_reason().map(Into::into)
    }

    /// Waits until it is over.
    pub async fn closed(&self) -> ConnectionLost {
        self.inner.quic.closed().await.into()
    }

    /// At once; what was sent and not yet acknowledged may be lost.
    pub fn close(&self, reason: &str) {
        self.refuse(&Refusal::new(RefusalCode::Done, reason));
    }

    pub(crate) fn refuse(&self, refusal: &Refusal) {
        let (code, text) = refusal.wire();
        self.inner.quic.close(code, text);
    }

    /// The first certificate that the peer showed, as DER.
    #[cfg(test)]
    pub(crate) fn peer_certificate(&self) -> Vec<u8> {
        super::dial::certificates(&self.inner.quic)[0].to_vec()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Streams keep the transport alive; without this, one left behind would
        // hold a connection that no registry knows.
        self.quic.close(RefusalCode::Done.number(), b"");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("alpn", &self.alpn)
            .finish_non_exhaustive()
    }
}

impl From<ConnectionError> for ConnectionLost {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::ByPeer(Refusal::received(close.error_code, &close.reason))
            }
            ConnectionError::LocallyClosed => Self::Here,
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Reset,
            other => Self::Broken {
                reason: printable(other.to_string().as_bytes()),
            },
        }
    }
}
