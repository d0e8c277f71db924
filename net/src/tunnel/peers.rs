//! Who a packet goes to and who a message is from.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};

use super::pair::{LONGEST_CONTROL, Pair, PairId};
use super::{PrivateKey, PublicKey, TunnelWant};

/// First messages of handshakes that are looked at in one second; beyond it
/// their senders must show that they get our answers.
const HANDSHAKES: u64 = 500;
/// Sessions of one pair are told apart by the lowest bits of an index.
const INDEX_SHIFT: u32 = 8;
/// Indexes of pairs have the bits above.
const INDEXES: u32 = 1 << (32 - INDEX_SHIFT);

/// All peers of one moment.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_address: HashMap<Ipv4Addr, Arc<Peer>>,
    by_index: HashMap<u32, (Arc<Peer>, Arc<Pair>)>,
    ours: Vec<Ours>,
    next_index: u32,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: Ipv4Addr,
    configured: SocketAddrV4,
    /// Where its last message came from.
    endpoint: AtomicU64,
    /// Newest keys first.
    pairs: Vec<Arc<Pair>>,
}

/// A key of ours with what guards it against floods.
struct Ours {
    key: PrivateKey,
    public: PublicKey,
    limiter: RateLimiter,
}

/// Whom a message is for.
pub(super) enum Sorted {
    For(Arc<Peer>, Arc<Pair>),
    /// So many bytes of the buffer are the answer: its sender has to prove where it is.
    Answer(usize),
    Nobody,
}

impl Peers {
    /// Those of `want`. Sessions of `before` go on.
    pub(super) fn new(want: &TunnelWant, before: &Self) -> Self {
        let known = before.by_index.values();
        let known: BTreeMap<_, _> = known.map(|(_, pair)| (pair.id.clone(), pair)).collect();
        let mut peers = Self {
            ours: want.keys.iter().map(|key| before.ours(key)).collect(),
            next_index: before.next_index,
            ..Self::default()
        };
        for wanted in &want.peers {
            let mut pairs = Vec::new();
            for theirs in &wanted.keys {
                for ours in &want.keys {
                    let id = PairId {
                        ours: ours.clone(),
                        theirs: *theirs,
                    };
                    pairs.push(match known.get(&id) {
                        Some(pair) => Arc::clone(pair),
                        None => Arc::new(Pair::new(id, peers.draw_index(before))),
                    });
                }
            }
            let former = before.by_address.get(&wanted.address);
            let former = former.filter(|former| former.configured == wanted.endpoint);
            let endpoint = former.map_or(pack(wanted.endpoint), |former| {
                former.endpoint.load(Ordering::Relaxed)
            });
            peers.insert(Peer {
                address: wanted.address,
                configured: wanted.endpoint,
                endpoint: AtomicU64::new(endpoint),
                pairs,
            });
        }
        peers
    }

    fn insert(&mut self, peer: Peer) {
        let peer = Arc::new(peer);
        for pair in &peer.pairs {
            self.by_index
                .insert(pair.index, (Arc::clone(&peer), Arc::clone(pair)));
        }
        self.by_address.insert(peer.address, peer);
    }

    fn ours(&self, key: &PrivateKey) -> Ours {
        let public = key.public();
        Ours {
            key: key.clone(),
            public,
            limiter: RateLimiter::new(&public.point(), HANDSHAKES),
        }
    }

    /// One that neither we nor `before` use: messages to a former pair must not
    /// come to a new one.
    fn draw_index(&mut self, before: &Self) -> u32 {
        loop {
            self.next_index = (self.next_index + 1) % INDEXES;
            let index = self.next_index;
            if !self.by_index.contains_key(&index) && !before.by_index.contains_key(&index) {
                return index;
            }
        }
    }

    pub(super) fn at(&self, address: Ipv4Addr) -> Option<&Arc<Peer>> {
        self.by_address.get(&address)
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = &(Arc<Peer>, Arc<Pair>)> {
        self.by_index.values()
    }

    /// Whether the pair was there in `before`.
    pub(super) fn has(&self, pair: &Pair) -> bool {
        self.by_index.contains_key(&pair.index)
    }

    /// To be called once a second.
    pub(super) fn renew_limits(&self) {
        self.ours.iter().for_each(|ours| ours.limiter.reset_count());
    }

    /// Finds out whom `message` is for. `buffer` must be no shorter than
    /// [`LONGEST_CONTROL`].
    pub(super) fn sort(&self, message: &[u8], from: IpAddr, buffer: &mut [u8]) -> Sorted {
        let index = match Tunn::parse_incoming_packet(message) {
            Ok(Packet::HandshakeInit(_)) => return self.sort_first(message, from, buffer),
            Ok(Packet::HandshakeResponse(it)) => it.receiver_idx,
            Ok(Packet::PacketCookieReply(it)) => it.receiver_idx,
            Ok(Packet::PacketData(it)) => it.receiver_idx,
            Err(_) => return Sorted::Nobody,
        };
        match self.by_index.get(&(index >> INDEX_SHIFT)) {
            Some((peer, pair)) => Sorted::For(Arc::clone(peer), Arc::clone(pair)),
            None => Sorted::Nobody,
        }
    }

    /// A handshake's first message names its sender by key, encrypted for one of
    /// our keys.
    fn sort_first(&self, message: &[u8], from: IpAddr, buffer: &mut [u8]) -> Sorted {
        debug_assert!(buffer.len() >= LONGEST_CONTROL);
        for ours in &self.ours {
            let first = match ours.limiter.verify_packet(Some(from), message, buffer) {
                Ok(Packet::HandshakeInit(first)) => first,
                Err(TunnResult::WriteToNetwork(answer)) => return Sorted::Answer(answer.len()),
                _ => continue,
            };
            let parsed = parse_handshake_anon(&ours.key.secret(), &ours.public.point(), &first);
            let Ok(sender) = parsed else { continue };
            let theirs = PublicKey::from_bytes(sender.peer_static_public);
            let found = self
                .by_index
                .values()
                .find(|(_, pair)| pair.id.theirs == theirs && pair.id.ours == ours.key);
            if let Some((peer, pair)) = found {
                return Sorted::For(Arc::clone(peer), Arc::clone(pair));
            }
        }
        Sorted::Nobody
    }
}

impl Peer {
    pub(super) fn endpoint(&self) -> SocketAddr {
        unpack(self.endpoint.load(Ordering::Relaxed)).into()
    }

    /// Answers go where its last message came from.
    pub(super) fn heard_at(&self, from: SocketAddr) {
        if let SocketAddr::V4(from) = from {
            self.endpoint.store(pack(from), Ordering::Relaxed);
        }
    }

    /// What to send with: the newest keys that it has answered with; `None`
    /// where no key of it is known.
    pub(super) fn pair(&self) -> Option<&Arc<Pair>> {
        match &self.pairs[..] {
            [] => None,
            [only] => Some(only),
            [newest, ..] => {
                let mut ready = self.pairs.iter().filter(|pair| pair.is_ready());
                Some(ready.next().unwrap_or(newest))
            }
        }
    }
}

fn pack(address: SocketAddrV4) -> u64 {
    u64::from(address.ip().to_bits()) << 16 | u64::from(address.port())
}

fn unpack(bits: u64) -> SocketAddrV4 {
    let [.., a, b, c, d, high, low] = bits.to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))
}

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ours").field(&self.public).finish()
    }
}
