//! The bytes of a datagram: a version, then messages until it ends.
//!
//! bincode, as for Raft's calls: datagrams live no longer than a connection, whose ALPN says which
//! version both sides speak, and every byte is paid sixteen times a second by every node (a heartbeat
//! has ten). Named MessagePack, which outlives releases, would take three times as many. Messages stand
//! one behind the other rather than in a list, so that a sender can fill a datagram to its end.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};

use super::message::Message;

/// Raised with every change of the layout, together with the ALPN.
const VERSION: u8 = 1;

/// Largest datagram: what every path takes in one QUIC packet.
pub const DATAGRAM_BYTES: usize = 1_100;

type Settings = Configuration<LittleEndian, Varint, Limit<DATAGRAM_BYTES>>;

const SETTINGS: Settings = bincode::config::standard().with_limit::<DATAGRAM_BYTES>();

/// A datagram that is being filled.
#[derive(Debug)]
pub(super) struct Packet(Vec<u8>);

impl Packet {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::with_capacity(32);
        bytes.push(VERSION);
        Self(bytes)
    }

    /// Adds a message. What had no room for it is given back, full.
    pub(super) fn push(&mut self, message: &Message) -> Option<Vec<u8>> {
        let end = self.0.len();
        // Writing to memory fails for no message that there is: none has a map or an unknown length.
        if bincode::serde::encode_into_std_write(message, &mut self.0, SETTINGS).is_err() {
            self.0.truncate(end);
            return None;
        }
        if self.0.len() <= DATAGRAM_BYTES || end == 1 {
            return None;
        }
        let mut next = Self::new();
        next.0.extend_from_slice(&self.0[end..]);
        self.0.truncate(end);
        Some(std::mem::replace(self, next).0)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The messages of a datagram, up to the first thing that is none. Nothing of a version that is not
/// ours, nothing of one that is too long.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message> + '_ {
    let mut rest = match datagram.split_first() {
        Some((&VERSION, rest)) if datagram.len() <= DATAGRAM_BYTES => rest,
        _ => &[],
    };
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match bincode::serde::decode_from_slice(rest, SETTINGS) {
            Ok((message, read)) => {
                rest = rest.get(read..).unwrap_or_default();
                Some(message)
            }
            Err(_) => {
                rest = &[];
                None
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fact::{Change, Fact, FactKey, Phase, TaskId};
    use super::super::few::Few;
    use super::super::message::{Brief, Kernel, News, Reason, Stamped};
    use super::super::node::{Life, NodeId};
    use super::*;

    fn life() -> impl Strategy<Value = Life> {
        any::<(u64, u32)>().prop_map(|(start, refutations)| Life { start, refutations })
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            any::<(std::net::IpAddr, u16)>().prop_map(|it| Change::Set(Fact::Address(it.into()))),
            any::<[u8; 32]>().prop_map(|it| Change::Set(Fact::TunnelKey(it))),
            any::<u8>().prop_map(|it| Change::Set(Fact::Load(it))),
            any::<u128>().prop_map(|it| Change::Set(Fact::Task(TaskId(it), Phase::Serving))),
            any::<u128>().prop_map(|it| Change::Set(Fact::Task(TaskId(it), Phase::Draining))),
            any::<u128>().prop_map(|it| Change::Gone(FactKey::Task(TaskId(it)))),
            Just(Change::Gone(FactKey::TunnelKey)),
        ]
    }

    fn news() -> impl Strategy<Value = Message> {
        let stamped =
            (any::<u64>(), change()).prop_map(|(version, change)| Stamped { version, change });
        let changes = prop::collection::vec(stamped, 0..20);
        (any::<u128>(), life(), any::<(bool, u64, u64)>(), changes).prop_map(
            |(node, life, (whole, from, to), changes)| {
                Message::News(News {
                    node: NodeId(node),
                    life,
                    whole,
                    from,
                    to,
                    changes: Few(changes),
                })
            },
        )
    }

    fn brief() -> impl Strategy<Value = Brief> {
        (any::<u128>(), life(), any::<bool>(), any::<u64>()).prop_map(
            |(node, life, dead, version)| Brief {
                node: NodeId(node),
                life,
                dead,
                version,
            },
        )
    }

    fn message() -> impl Strategy<Value = Message> {
        let node = || any::<u128>().prop_map(NodeId);
        prop_oneof![
            any::<[u8; 8]>().prop_map(|view| Message::Heartbeat { view }),
            any::<u32>().prop_map(|number| Message::Ping { number }),
            any::<u32>().prop_map(|number| Message::Ack { number }),
            node().prop_map(|about| Message::Ask { about }),
            node().prop_map(|about| Message::Heard { about }),
            node().prop_map(|about| Message::Trying { about }),
            (node(), life(), node()).prop_map(|(node, life, by)| Message::Suspect {
                node,
                life,
                by,
                kernel: Kernel::Silent
            }),
            (node(), life()).prop_map(|(node, life)| Message::Dead {
                node,
                life,
                reason: Reason::Unresponsive
            }),
            news(),
            prop::collection::vec(any::<[u8; 4]>(), 0..=256).prop_map(|hashes| Message::Buckets {
                hashes: Few(hashes)
            }),
            prop::collection::vec(brief(), 0..20).prop_map(|briefs| Message::Summary {
                briefs: Few(briefs)
            }),
            (node(), any::<(u64, u64)>()).prop_map(|(node, (start, since))| Message::Want {
                node,
                start,
                since
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read(said in prop::collection::vec(message(), 0..30)) {
            let mut packet = Packet::new();
            let mut datagrams: Vec<Vec<u8>> =
                said.iter().filter_map(|message| packet.push(message)).collect();
            datagrams.push(packet.into_bytes());
            for datagram in &datagrams {
                prop_assert!(datagram.len() <= DATAGRAM_BYTES);
            }
            let read: Vec<Message> = datagrams.iter().flat_map(|it| messages(it)).collect();
            prop_assert_eq!(read, said);
        }

        #[test]
        fn any_bytes_are_read_or_left(mut bytes in prop::collection::vec(any::<u8>(), 0..1_200)) {
            let _ = messages(&bytes).count();
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            prop_assert!(messages(&bytes).count() <= bytes.len());
        }

        #[test]
        fn damage_is_survived(said in message(), at in any::<prop::sample::Index>(), bits in 1u8..) {
            let mut packet = Packet::new();
            prop_assert!(packet.push(&said).is_none());
            let mut bytes = packet.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            let _ = messages(&bytes).count();
            bytes.truncate(at);
            prop_assert!(messages(&bytes).count() <= 1);
        }
    }

    #[test]
    fn a_heartbeat_is_small_and_always_the_same_bytes() {
        let mut packet = Packet::new();
        let view = [1, 2, 3, 4, 5, 6, 7, 8];
        assert!(packet.push(&Message::Heartbeat { view }).is_none());
        assert_eq!(packet.into_bytes(), [1, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_claimed_length_takes_no_room() {
        // Buckets, 2^63 of them, and then nothing.
        let lie = [VERSION, 9, 253, 0, 0, 0, 0, 0, 0, 0, 128];
        assert_eq!(messages(&lie).count(), 0);
    }

    #[test]
    fn another_version_says_nothing() {
        assert_eq!(messages(&[VERSION + 1, 1, 7]).count(), 0);
        assert_eq!(messages(&[VERSION, 1, 7]).count(), 1);
    }
}
