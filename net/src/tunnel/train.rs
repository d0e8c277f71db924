//! Packets to the kernel, many in one call.
//!
//! The kernel takes a long UDP packet for the many equal ones that it would
//! have been cut from. What comes out of a tunnel is mostly that: one flow's
//! packets between the same two tunnel ends of an overlay. Pure.

const HEADER: usize = 10;
const IP: usize = 20;
const UDP: usize = 8;
/// What the two headers of a packet in a train take.
const HEADERS: usize = IP + UDP;
/// Of an IPv4 packet.
const LONGEST: usize = u16::MAX as usize;
/// More than the kernel cuts a packet into is refused.
const MOST: usize = 64;

const NEEDS_CHECKSUM: u8 = 1;
const CUT_UDP: u8 = 5;

/// Packets for the kernel, behind the header that its virtual devices have
/// (`virtio_net_hdr`).
#[derive(Debug, Default)]
pub(super) struct Train {
    bytes: Vec<u8>,
    packets: usize,
    /// Of one packet's UDP payload, in bytes.
    payload: usize,
    /// A shorter one can only be the last.
    ended: bool,
}

impl Train {
    pub(super) fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Adds `packet`. If it does not fit behind those that are there, nothing
    /// is changed and the answer is `false`.
    pub(super) fn push(&mut self, packet: &[u8]) -> bool {
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.resize(HEADER, 0);
            self.bytes.extend_from_slice(packet);
            self.packets = 1;
            self.payload = packet.len().saturating_sub(HEADERS);
            self.ended = !is_plain_udp(packet) || self.payload == 0;
            return true;
        }
        if self.ended || self.packets == MOST || !self.follows(packet) {
            return false;
        }
        let payload = &packet[HEADERS..];
        self.bytes.extend_from_slice(payload);
        self.packets += 1;
        self.ended = payload.len() < self.payload;
        true
    }

    /// Whether `packet` is of the same flow and no longer than the first.
    fn follows(&self, packet: &[u8]) -> bool {
        if !is_plain_udp(packet) {
            return false;
        }
        let first = &self.bytes[HEADER..];
        let payload = packet.len() - HEADERS;
        // Type of service, lifetime and protocol, addresses, ports. The rest is
        // the length, a number for fragments, and sums.
        let same = |at: std::ops::Range<usize>| first[at.clone()] == packet[at];
        (1..=self.payload).contains(&payload)
            && first.len() + payload <= LONGEST
            && same(1..2)
            && same(8..10)
            && same(12..24)
    }

    /// What the kernel is to be given.
    pub(super) fn finish(&mut self) -> &[u8] {
        if self.packets > 1 {
            self.seal();
        }
        self.packets = 0;
        &self.bytes
    }

    fn seal(&mut self) {
        let (header, packet) = self.bytes.split_at_mut(HEADER);
        let length = packet.len();
        header[0] = NEEDS_CHECKSUM;
        header[1] = CUT_UDP;
        put(&mut header[2..4], HEADERS, u16::to_ne_bytes);
        put(&mut header[4..6], self.payload, u16::to_ne_bytes);
        put(&mut header[6..8], IP, u16::to_ne_bytes);
        put(&mut header[8..10], 6, u16::to_ne_bytes);
        put(&mut packet[2..4], length, u16::to_be_bytes);
        packet[10..12].fill(0);
        let sum = !fold(add(&packet[..IP]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        put(&mut packet[24..26], length - IP, u16::to_be_bytes);
        // Of what is not in the UDP header; the kernel adds the rest.
        let protocol = u32::from(packet[9]);
        let sum = fold(add(&packet[12..20]) + protocol + (length - IP) as u32);
        packet[26..28].copy_from_slice(&sum.to_be_bytes());
    }
}

/// UDP in IPv4, whole and without options: what VXLAN makes. Its checksum may be
/// made anew: that a packet is what the other host sent, its seal has shown.
fn is_plain_udp(packet: &[u8]) -> bool {
    packet.len() >= HEADERS
        && packet[0] == 0x45
        && packet[9] == 17
        && packet[6] & 0x3f == 0
        && packet[7] == 0
        && usize::from(u16::from_be_bytes([packet[2], packet[3]])) == packet.len()
        && usize::from(u16::from_be_bytes([packet[24], packet[25]])) == packet.len() - IP
}

fn put(field: &mut [u8], number: usize, bytes: fn(u16) -> [u8; 2]) {
    // All lengths here are within a packet's.
    field.copy_from_slice(&bytes(u16::try_from(number).unwrap_or(u16::MAX)));
}

fn add(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks_exact(2);
    pairs
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}

fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(port: u16, payload: &[u8]) -> Vec<u8> {
        let length = (HEADERS + payload.len()) as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 240, 0, 0, 1, 240, 0, 0, 2]);
        let sum = !fold(add(&packet));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(port.to_be_bytes());
        packet.extend(4789u16.to_be_bytes());
        packet.extend((length - IP as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn equal_packets_of_a_flow_go_together_and_a_shorter_one_ends_them() {
        let mut train = Train::default();
        assert!(train.push(&packet(1, &[1; 100])));
        assert!(train.push(&packet(1, &[2; 100])));
        assert!(!train.push(&packet(2, &[3; 100])), "another flow");
        assert!(!train.push(&packet(1, &[3; 101])), "a longer one");
        let mut with_sum = packet(1, &[3; 50]);
        with_sum[27] = 1;
        assert!(train.push(&with_sum));
        assert!(!train.push(&packet(1, &[4; 50])), "after a shorter one");
        let bytes = train.finish().to_vec();
        assert!(train.is_empty());
        let (header, sealed) = bytes.split_at(HEADER);
        assert_eq!(header[..2], [NEEDS_CHECKSUM, CUT_UDP]);
        assert_eq!(u16::from_ne_bytes([header[4], header[5]]), 100);
        assert_eq!(sealed.len(), HEADERS + 250);
        assert_eq!(u16::from_be_bytes([sealed[2], sealed[3]]), 278);
        assert_eq!(u16::from_be_bytes([sealed[24], sealed[25]]), 258);
        assert_eq!(
            fold(add(&sealed[..IP])),
            0xffff,
            "the header's sum is right"
        );
        assert_eq!(sealed[HEADERS..][100..200], [2; 100]);
    }

    #[test]
    fn one_packet_stays_what_it_was() {
        let mut train = Train::default();
        let alone = packet(1, &[7; 9]);
        assert!(train.push(&alone));
        let bytes = train.finish();
        assert_eq!(bytes[..HEADER], [0; HEADER]);
        assert_eq!(bytes[HEADER..], alone);
    }

    #[test]
    fn what_is_not_plain_udp_goes_alone() {
        let plain = packet(1, &[1; 100]);
        let mut fragment = plain.clone();
        fragment[6] = 0x20;
        let mut tcp = plain.clone();
        tcp[9] = 6;
        let mut lying = plain.clone();
        lying[3] += 1;
        for other in [fragment, tcp, lying, vec![0x45], Vec::new()] {
            let mut train = Train::default();
            assert!(train.push(&other));
            assert!(!train.push(&plain), "behind {other:?}");
            let mut train = Train::default();
            assert!(train.push(&plain));
            assert!(!train.push(&other), "{other:?}");
        }
    }

    #[test]
    fn a_train_is_no_longer_than_a_packet_may_be() {
        let mut train = Train::default();
        let long = packet(1, &[1; 8900]);
        let taken = (0..20).take_while(|_| train.push(&long)).count();
        assert_eq!(taken, 7);
        assert!(train.finish().len() <= HEADER + LONGEST);
    }
}
