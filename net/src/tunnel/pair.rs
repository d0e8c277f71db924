//! One key of ours and one of a peer: a WireGuard session and its successors.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};

use super::{PrivateKey, PublicKey};

/// The longest message that is no data: a handshake's first.
pub(super) const LONGEST_CONTROL: usize = 148;
/// What a data message adds to a packet.
pub(super) const OVERHEAD: usize = 32;

/// Who talks to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PairId {
    pub(super) ours: PrivateKey,
    pub(super) theirs: PublicKey,
}

/// What a received message came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A packet of so many bytes, in the caller's buffer.
    Packet(usize),
    /// A message of the protocol itself, authentic.
    Control,
    /// Not by the peer, or not readable.
    Refused,
}

pub(super) struct Pair {
    pub(super) id: PairId,
    /// What the peer names us by, in messages to us.
    pub(super) index: u32,
    session: Mutex<Tunn>,
}

impl Pair {
    pub(super) fn new(id: PairId, index: u32) -> Self {
        let session = Mutex::new(fresh(&id, index));
        Self { id, index, session }
    }

    /// Whether packets can be sent without a handshake first.
    pub(super) fn is_ready(&self) -> bool {
        self.lock().time_since_last_handshake().is_some()
    }

    /// Encrypts `packet` into `buffer`, which must have room for it and
    /// [`OVERHEAD`] and for [`LONGEST_CONTROL`]. Returns how much is to be sent:
    /// without a session that is a handshake's first message, or nothing while
    /// one is going on, and the packet waits.
    pub(super) fn seal(&self, packet: &[u8], buffer: &mut [u8]) -> usize {
        match self.lock().encapsulate(packet, buffer) {
            TunnResult::WriteToNetwork(message) => message.len(),
            _ => 0,
        }
    }

    /// Takes a message. `buffer` must be as long as it and no shorter than
    /// [`LONGEST_CONTROL`]; what is to be sent in answer goes to `answer`.
    pub(super) fn open(
        &self,
        message: &[u8],
        from: SocketAddr,
        buffer: &mut [u8],
        mut answer: impl FnMut(&[u8]),
    ) -> Received {
        let mut session = self.lock();
        match session.decapsulate(Some(from.ip()), message, buffer) {
            TunnResult::WriteToTunnelV4(packet, _) => return Received::Packet(packet.len()),
            TunnResult::WriteToNetwork(message) => answer(message),
            TunnResult::Done => {}
            // Containers' packets are within IPv4 packets of the overlay.
            TunnResult::WriteToTunnelV6(..) | TunnResult::Err(_) => return Received::Refused,
        }
        // What waited for the handshake.
        while let TunnResult::WriteToNetwork(message) = session.decapsulate(None, &[], buffer) {
            answer(message);
        }
        Received::Control
    }

    /// Begins a handshake, also where one is going on. Returns how much of
    /// `buffer` is to be sent.
    pub(super) fn greet(&self, buffer: &mut [u8]) -> usize {
        match self.lock().format_handshake_initiation(buffer, true) {
            TunnResult::WriteToNetwork(message) => message.len(),
            _ => 0,
        }
    }

    /// What time has brought about: a new session, a keepalive. To be called
    /// several times a second.
    pub(super) fn tick(&self, buffer: &mut [u8]) -> usize {
        let mut session = self.lock();
        match session.update_timers(buffer) {
            TunnResult::WriteToNetwork(message) => message.len(),
            TunnResult::Err(WireGuardError::ConnectionExpired) => {
                // Nobody answered for long. The next packet begins anew.
                *session = fresh(&self.id, self.index);
                0
            }
            _ => 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tunn> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh(id: &PairId, index: u32) -> Tunn {
    Tunn::new(id.ours.secret(), id.theirs.point(), None, None, index, None)
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("id", &self.id)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
