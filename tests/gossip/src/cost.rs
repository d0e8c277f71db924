//! What packets cost on the wire.

/// What carries the datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Connections that stand as long as they are used.
    Quic,
    /// Plain UDP (and TCP, for what is sent over it).
    Udp,
}

/// IPv4 and UDP.
const UDP: u64 = 28;
/// A short header with an 8-byte connection id, a tag, the frame's type and length.
const QUIC: u64 = 30;
/// An acknowledgement in a packet that is sent anyway.
const ACK_ALONG: u64 = 6;
/// One in a packet of its own.
const ACK_ALONE: u64 = UDP + 27 + 6;
/// How long an acknowledgement waits for company (`Limits::ack_delay`).
const ACK_DELAY: u64 = 175_000;
/// Both sides of a handshake with certificates both ways.
const HANDSHAKE: u64 = 6_500;
/// What a dial sends before it gives up.
const FAILED_DIAL: u64 = 3 * 1_228;
/// A connection nobody used for so long is closed.
const IDLE: u64 = 10_000_000;
/// A SYN or its refusal.
pub(crate) const KERNEL_PACKET: u64 = 50;
/// A TCP connection's packets beside what it carries.
const TCP: u64 = 7 * 52;

/// One node's connections, and all it has sent.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) sent: u64,
    peers: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    node: u32,
    used: u64,
    /// When the oldest packet came that was not acknowledged yet; 0: none.
    owed: u64,
}

impl Wire {
    /// Gives whether a connection had to be made first.
    pub(crate) fn send(
        &mut self,
        transport: Transport,
        now: u64,
        to: usize,
        bytes: usize,
        reliable: bool,
        there: bool,
    ) -> bool {
        if transport == Transport::Udp {
            self.sent += bytes as u64 + if reliable { TCP } else { UDP };
            return false;
        }
        self.sent += UDP + QUIC + bytes as u64;
        let (opened, peer) = self.peer(to, now);
        let waited = now - peer.owed.min(now);
        let ack = match peer.owed {
            0 => 0,
            _ if waited <= ACK_DELAY => ACK_ALONG,
            _ => ACK_ALONE,
        };
        peer.owed = 0;
        peer.used = now;
        self.sent += ack;
        if opened {
            // The other half is charged to the other side.
            self.sent += if there { HANDSHAKE / 2 } else { FAILED_DIAL };
        }
        opened
    }

    pub(crate) fn accept(&mut self, now: u64, from: usize) {
        let (opened, peer) = self.peer(from, now);
        peer.used = now;
        if opened {
            self.sent += HANDSHAKE / 2;
        }
    }

    pub(crate) fn receive(&mut self, transport: Transport, now: u64, from: usize) {
        if transport == Transport::Udp {
            return;
        }
        let (_, peer) = self.peer(from, now);
        peer.used = now;
        if peer.owed == 0 {
            peer.owed = now.max(1);
        } else {
            // The second one is acknowledged at once, as is one that has waited long enough.
            peer.owed = if now - peer.owed > ACK_DELAY { now } else { 0 };
            self.sent += ACK_ALONE;
        }
    }

    /// Standing connections, before anything is counted.
    pub(crate) fn stand(&mut self, to: usize, now: u64) {
        self.peer(to, now);
    }

    /// A new process has no connections.
    pub(crate) fn forget(&mut self) {
        self.peers.clear();
    }

    fn peer(&mut self, node: usize, now: u64) -> (bool, &mut Peer) {
        let node = node as u32;
        let at = self.peers.iter().position(|peer| peer.node == node);
        let fresh = Peer {
            node,
            used: now,
            owed: 0,
        };
        match at {
            Some(at) => {
                let opened = now - self.peers[at].used.min(now) > IDLE;
                if opened {
                    self.peers[at] = fresh;
                }
                (opened, &mut self.peers[at])
            }
            None => {
                self.peers.retain(|peer| now - peer.used.min(now) <= IDLE);
                self.peers.push(fresh);
                let last = self.peers.len() - 1;
                (true, &mut self.peers[last])
            }
        }
    }
}
