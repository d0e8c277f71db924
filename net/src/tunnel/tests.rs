//! Sessions between two tables of peers, without a device or a socket.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::slice::from_ref;

use super::pair::Received;
use super::peers::{Peers, Sorted};
use super::{PrivateKey, PublicKey, TunnelPeer, TunnelWant};

struct End {
    address: Ipv4Addr,
    endpoint: SocketAddrV4,
    keys: Vec<PrivateKey>,
    peers: Peers,
}

impl End {
    fn new(number: u8) -> Self {
        Self {
            address: Ipv4Addr::new(240, 83, 0, number),
            endpoint: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, number), 2378),
            keys: vec![PrivateKey::generate()],
            peers: Peers::default(),
        }
    }

    fn public(&self) -> Vec<PublicKey> {
        self.keys.iter().map(PrivateKey::public).collect()
    }

    fn learn(&mut self, other: (Ipv4Addr, SocketAddrV4, Vec<PublicKey>)) {
        let (address, endpoint, keys) = other;
        let want = TunnelWant {
            address: self.address,
            prefix: 16,
            mtu: 1440,
            port: 2378,
            keys: self.keys.clone(),
            peers: vec![TunnelPeer {
                address,
                endpoint,
                keys,
            }],
        };
        self.peers = Peers::new(&want, &self.peers);
    }

    fn card(&self) -> (Ipv4Addr, SocketAddrV4, Vec<PublicKey>) {
        (self.address, self.endpoint, self.public())
    }

    /// What it sends to `to` for one packet; empty while a handshake goes on.
    fn seal(&self, to: &Self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; 2048];
        let peer = self.peers.at(to.address).unwrap();
        let length = peer.pair().unwrap().seal(packet, &mut buffer);
        buffer.truncate(length);
        buffer
    }

    /// Packets that came out of `message`, and what it answers.
    fn open(&self, message: &[u8], from: &Self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let from = SocketAddr::V4(from.endpoint);
        let mut buffer = vec![0; 2048];
        let Sorted::For(_, pair) = self.peers.sort(message, from.ip(), &mut buffer) else {
            return Default::default();
        };
        let mut answers = Vec::new();
        let answer = |message: &[u8]| answers.push(message.to_vec());
        let packets = match pair.open(message, from, &mut buffer, answer) {
            Received::Packet(length) => vec![buffer[..length].to_vec()],
            _ => Vec::new(),
        };
        (packets, answers)
    }
}

fn packet(from: &End, to: &End, text: &str) -> Vec<u8> {
    let length = u16::try_from(20 + text.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.address.octets());
    packet.extend(to.address.octets());
    packet.extend(text.bytes());
    packet
}

/// Carries messages to and fro until there are none; returns the packets that
/// came out at `b`.
fn carry(a: &End, b: &End, first: Vec<u8>) -> Vec<Vec<u8>> {
    let mut to_b = vec![first];
    let mut arrived = Vec::new();
    for _ in 0..8 {
        let mut to_a = Vec::new();
        for message in to_b.drain(..).filter(|it| !it.is_empty()) {
            let (packets, answers) = b.open(&message, a);
            arrived.extend(packets);
            to_a.extend(answers);
        }
        for message in to_a {
            to_b.extend(a.open(&message, b).1);
        }
    }
    arrived
}

fn introduced() -> (End, End) {
    let (mut a, mut b) = (End::new(1), End::new(2));
    a.learn(b.card());
    b.learn(a.card());
    (a, b)
}

#[test]
fn a_packet_that_comes_before_a_session_waits_for_it() {
    let (a, b) = introduced();
    let sent = packet(&a, &b, "the canary");
    let first = a.seal(&b, &sent);
    assert_eq!(carry(&a, &b, first), from_ref(&sent));
    let next = a.seal(&b, &sent);
    assert!(!next.windows(6).any(|it| it == b"canary"), "it is readable");
    assert_eq!(carry(&a, &b, next), [sent]);
}

#[test]
fn what_is_damaged_repeated_or_not_a_peers_is_refused() {
    let (a, b) = introduced();
    let sent = packet(&a, &b, "x");
    let first = a.seal(&b, &sent);
    carry(&a, &b, first);
    let message = a.seal(&b, &sent);
    for at in 0..message.len() {
        let mut damaged = message.clone();
        damaged[at] ^= 1;
        assert!(b.open(&damaged, &a).0.is_empty(), "byte {at}");
        assert!(b.open(&message[..at], &a).0.is_empty(), "{at} bytes of it");
    }
    assert_eq!(b.open(&message, &a).0, from_ref(&sent));
    assert!(b.open(&message, &a).0.is_empty(), "a second time");

    let mut stranger = End::new(3);
    stranger.learn(b.card());
    let first = stranger.seal(&b, &sent);
    let (packets, answers) = b.open(&first, &stranger);
    assert!(packets.is_empty() && answers.is_empty());
}

#[test]
fn a_new_key_is_used_once_the_peer_has_it_and_no_packet_is_lost() {
    let (mut a, mut b) = introduced();
    let sent = packet(&a, &b, "x");
    let first = a.seal(&b, &sent);
    carry(&a, &b, first);

    // `a` alone knows its new key: the old one goes on.
    a.keys.insert(0, PrivateKey::generate());
    a.learn(b.card());
    let message = a.seal(&b, &sent);
    assert_eq!(carry(&a, &b, message), from_ref(&sent));

    // `b` hears of it, and greets.
    b.learn(a.card());
    let mut greeting = vec![0; 256];
    let fresh = b.peers.pairs().find(|(_, pair)| !pair.is_ready()).unwrap();
    let length = fresh.1.greet(&mut greeting);
    assert!(carry(&b, &a, greeting[..length].to_vec()).is_empty());
    let newest = a.peers.at(b.address).unwrap().pair().unwrap();
    assert_eq!(newest.id.ours, a.keys[0], "the new key is not used");
    let message = a.seal(&b, &sent);
    assert_eq!(carry(&a, &b, message), from_ref(&sent));

    // The old one goes; nothing is lost.
    a.keys.truncate(1);
    a.learn(b.card());
    b.learn(a.card());
    let message = a.seal(&b, &sent);
    assert_eq!(carry(&a, &b, message), [sent]);
}

#[test]
fn a_flood_of_first_messages_is_answered_by_a_demand_for_proof() {
    let (a, b) = introduced();
    let mut buffer = vec![0; 256];
    let pair = a.peers.at(b.address).unwrap().pair().unwrap().clone();
    let mut proofs = 0;
    for _ in 0..2000 {
        let length = pair.greet(&mut buffer);
        let mut answer = vec![0; 256];
        let from = SocketAddr::V4(a.endpoint).ip();
        let sorted = b.peers.sort(&buffer[..length], from, &mut answer);
        proofs += usize::from(matches!(sorted, Sorted::Answer(_)));
    }
    assert!(proofs > 1000, "{proofs}");
    b.peers.renew_limits();
    let length = pair.greet(&mut buffer);
    let from = SocketAddr::V4(a.endpoint).ip();
    let sorted = b.peers.sort(&buffer[..length], from, &mut [0; 256]);
    assert!(matches!(sorted, Sorted::For(..)));
}
