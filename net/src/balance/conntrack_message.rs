//! The wire form of the kernel's connection table. Pure.

use std::net::Ipv4Addr;

/// Netlink header, then the netfilter header that follows it.
const HEADER_BYTES: usize = 16;
const NETFILTER_BYTES: usize = 4;

/// Subsystem 1 in the high byte, message in the low one.
const CONNTRACK_NEW: u16 = 0x100;
const CONNTRACK_GET: u16 = 0x101;
const CONNTRACK_DELETE: u16 = 0x102;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_DUMP: u16 = 0x300;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const SOURCE_V4: u16 = 1;
const DESTINATION_V4: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;

/// In the status: a packet of the other side was seen.
const SEEN_REPLY: u32 = 0x2;

/// Of a nested attribute's type, and of one in network order.
const TYPE_BITS: u16 = 0x3fff;

/// One connection as the kernel tracks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flow {
    /// Who sent the first packet.
    pub(super) source: Ipv4Addr,
    /// Whom the first packet was for.
    pub(super) asked: Ipv4Addr,
    pub(super) port: u16,
    /// 6 for TCP, 17 for UDP.
    pub(super) protocol: u8,
    /// Who answers: another than `asked` after the balancer chose.
    pub(super) answers: Ipv4Addr,
    /// Whether it has answered.
    pub(super) answered: bool,
    /// What names the connection to the kernel, as it came.
    key: Vec<u8>,
}

#[cfg(test)]
impl Flow {
    /// A TCP connection without a key.
    pub(super) fn example(asked: Ipv4Addr, port: u16, answers: Ipv4Addr, answered: bool) -> Self {
        Self {
            source: Ipv4Addr::new(198, 51, 100, 7),
            asked,
            port,
            protocol: 6,
            answers,
            answered,
            key: Vec::new(),
        }
    }
}

/// What one netlink message of an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Flow(Flow),
    /// The end, or what was asked is done.
    Done,
    /// The kernel's error number.
    Error(i32),
    /// Something else, such as an IPv6 connection.
    Other,
}

/// Asks for all IPv4 connections.
pub(super) fn dump() -> Vec<u8> {
    message(CONNTRACK_GET, FLAG_REQUEST | FLAG_DUMP, &[])
}

/// Deletes one connection.
pub(super) fn delete(flow: &Flow) -> Vec<u8> {
    message(CONNTRACK_DELETE, FLAG_REQUEST | FLAG_ACK, &flow.key)
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + NETFILTER_BYTES + attributes.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(0).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence and sender: one request at a time needs neither.
    bytes.extend([0; 8]);
    // AF_INET, version 0, resource 0.
    bytes.extend([2, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// Splits a datagram into its messages.
pub(super) fn answers(datagram: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while let Some(length) = number::<4>(rest, 0).map(u32::from_ne_bytes) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = rest.get(..length).filter(|it| it.len() >= HEADER_BYTES) else {
            break;
        };
        found.push(answer(message));
        rest = rest.get(aligned(length)..).unwrap_or(&[]);
    }
    found
}

fn answer(message: &[u8]) -> Answer {
    match number(message, 4).map(u16::from_ne_bytes) {
        Some(NLMSG_DONE) => Answer::Done,
        Some(NLMSG_ERROR) => match number(message, HEADER_BYTES).map(i32::from_ne_bytes) {
            Some(0) => Answer::Done,
            code => Answer::Error(code.unwrap_or(0).saturating_abs()),
        },
        Some(CONNTRACK_NEW) => {
            let attributes = message.get(HEADER_BYTES + NETFILTER_BYTES..);
            attributes
                .and_then(flow)
                .map_or(Answer::Other, Answer::Flow)
        }
        _ => Answer::Other,
    }
}

fn flow(attributes: &[u8]) -> Option<Flow> {
    let mut key = Vec::new();
    for attribute in Attributes(attributes) {
        if [TUPLE_ORIGINAL, ID, ZONE].contains(&attribute.kind) {
            key.extend(attribute.whole);
            key.resize(aligned(key.len()), 0);
        }
    }
    let original = find(attributes, TUPLE_ORIGINAL)?;
    let reply = find(attributes, TUPLE_REPLY)?;
    let protocol = find(original, TUPLE_PROTOCOL)?;
    let port = find(protocol, DESTINATION_PORT).and_then(|it| number(it, 0));
    let status = find(attributes, STATUS).and_then(|it| number(it, 0));
    Some(Flow {
        source: address(original, SOURCE_V4)?,
        asked: address(original, DESTINATION_V4)?,
        port: u16::from_be_bytes(port.unwrap_or([0; 2])),
        protocol: *find(protocol, PROTOCOL_NUMBER)?.first()?,
        answers: address(reply, SOURCE_V4)?,
        answered: u32::from_be_bytes(status.unwrap_or([0; 4])) & SEEN_REPLY != 0,
        key,
    })
}

fn address(tuple: &[u8], kind: u16) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = number(find(find(tuple, TUPLE_ADDRESSES)?, kind)?, 0)?;
    Some(Ipv4Addr::from(bytes))
}

fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut attributes = Attributes(attributes);
    let found = attributes.find(|attribute| attribute.kind == kind)?;
    found.whole.get(4..)
}

struct Attribute<'a> {
    kind: u16,
    /// With its own header.
    whole: &'a [u8],
}

struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16::from_ne_bytes(number(self.0, 0)?));
        let kind = u16::from_ne_bytes(number(self.0, 2)?) & TYPE_BITS;
        let whole = self.0.get(..length).filter(|it| it.len() >= 4)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or(&[]);
        Some(Attribute { kind, whole })
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len() + 4).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(content);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn tuple(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let addresses = [attribute(1, &source), attribute(2, &destination)].concat();
        let protocol = [
            attribute(1, &[17]),
            attribute(2, &1000_u16.to_be_bytes()),
            attribute(3, &53_u16.to_be_bytes()),
        ]
        .concat();
        // Nested attributes carry a flag beside their type.
        [
            attribute(1 | 0x8000, &addresses),
            attribute(2 | 0x8000, &protocol),
        ]
        .concat()
    }

    fn example() -> (Vec<u8>, Vec<u8>) {
        let original = attribute(1 | 0x8000, &tuple([10, 0, 1, 11], [10, 0, 1, 100]));
        let reply = attribute(2 | 0x8000, &tuple([10, 0, 1, 21], [10, 0, 1, 11]));
        let id = attribute(12, &[1, 2, 3, 4]);
        let status = attribute(3, &0x18a_u32.to_be_bytes());
        let all = [original.clone(), reply, status, id.clone()].concat();
        (message(CONNTRACK_NEW, 0, &all), [original, id].concat())
    }

    #[test]
    fn a_balanced_connection_is_read_and_deleted_by_its_key() {
        let (bytes, key) = example();
        let found = answers(&bytes);
        let [Answer::Flow(flow)] = found.as_slice() else {
            panic!("one connection was encoded");
        };
        assert_eq!(flow.source, Ipv4Addr::new(10, 0, 1, 11));
        assert_eq!(flow.asked, Ipv4Addr::new(10, 0, 1, 100));
        assert_eq!(flow.answers, Ipv4Addr::new(10, 0, 1, 21));
        assert_eq!((flow.protocol, flow.port), (17, 53));
        assert!(flow.answered);
        let deletion = delete(flow);
        assert_eq!(deletion[HEADER_BYTES + NETFILTER_BYTES..], key);
    }

    #[test]
    fn several_messages_in_one_datagram_are_told_apart() {
        let (bytes, _) = example();
        let done = message(NLMSG_DONE, 0, &[]);
        let found = answers(&[bytes.clone(), bytes, done].concat());
        assert_eq!(found.len(), 3);
        assert_eq!(found[2], Answer::Done);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..200,
        ) {
            let _ = answers(&bytes);
            let (mut whole, _) = example();
            whole.truncate(cut);
            let _ = answers(&whole);
            let (mut whole, _) = example();
            for (at, byte) in bytes.iter().take(20).enumerate() {
                let at = (at * 7 + usize::from(*byte)) % whole.len();
                whole[at] = *byte;
            }
            let _ = answers(&whole);
        }
    }
}
