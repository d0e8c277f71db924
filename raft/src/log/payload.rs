//! The layout of what records carry, and of what stands before a snapshot: plain little-endian
//! fields of our own, so that neither a codec crate nor openraft decides what is on disk.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::member::MemberId;
use crate::types::{
    Contact, Data, LogId, Membership, Payload, SnapshotMeta, StoredMembership, log_id,
};

/// First byte of an encoded membership.
const MEMBERSHIP_VERSION: u8 = 1;

/// Bytes that do not follow the layout. The checksum was right, so a writer was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) fn encode_membership(membership: &Membership, out: &mut Vec<u8>) {
    out.push(MEMBERSHIP_VERSION);
    let configs = membership.get_joint_config();
    put_count(out, configs.len());
    for config in configs {
        put_count(out, config.len());
        for id in config {
            out.extend_from_slice(&id.to_le_bytes());
        }
    }
    let nodes: Vec<_> = membership.nodes().collect();
    put_count(out, nodes.len());
    for (id, contact) in nodes {
        out.extend_from_slice(&id.to_le_bytes());
        put_text(out, &contact.label);
        put_text(out, &contact.addr);
    }
}

pub(crate) fn decode_membership(bytes: &[u8]) -> Result<Membership, Malformed> {
    let mut from = Reader(bytes);
    let membership = from.membership()?;
    from.end("membership")?;
    Ok(membership)
}

pub(crate) fn encode_meta(meta: &SnapshotMeta, out: &mut Vec<u8>) {
    put_log_id(out, meta.last_log_id);
    put_log_id(out, *meta.last_membership.log_id());
    encode_membership(meta.last_membership.membership(), out);
}

pub(crate) fn decode_meta(bytes: &[u8]) -> Result<SnapshotMeta, Malformed> {
    let mut from = Reader(bytes);
    let last_log_id = from.log_id()?;
    let changed = from.log_id()?;
    let membership = from.membership()?;
    from.end("snapshot description")?;
    Ok(SnapshotMeta {
        last_log_id,
        last_membership: StoredMembership::new(changed, membership),
    })
}

pub(crate) fn normal(data: Bytes) -> Payload {
    Payload::Normal(Data(data))
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("fewer than 2^32 members, checked by memory");
    out.extend_from_slice(&count.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_log_id(out: &mut Vec<u8>, id: Option<LogId>) {
    out.push(u8::from(id.is_some()));
    let (term, leader, index) = id.map_or((0, 0, 0), |id| {
        (id.leader_id.term, id.leader_id.node_id, id.index)
    });
    for number in [term, leader, index] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Takes fields off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Malformed(what))?;
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.take(1, what)?[0])
    }

    fn count(&mut self, what: &'static str) -> Result<usize, Malformed> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes were taken")) as usize)
    }

    fn number(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let bytes = self.take(8, what)?;
        Ok(u64::from_le_bytes(
            bytes.try_into().expect("eight bytes were taken"),
        ))
    }

    fn text(&mut self, what: &'static str) -> Result<String, Malformed> {
        let len = self.count(what)?;
        let bytes = self.take(len, what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed(what))
    }

    fn log_id(&mut self) -> Result<Option<LogId>, Malformed> {
        let what = "position";
        let present = self.byte(what)?;
        let (term, leader, index) = (self.number(what)?, self.number(what)?, self.number(what)?);
        Ok((present == 1).then(|| log_id(term, leader, index)))
    }

    fn membership(&mut self) -> Result<Membership, Malformed> {
        let what = "membership";
        if self.byte(what)? != MEMBERSHIP_VERSION {
            return Err(Malformed("membership version"));
        }
        let mut configs = Vec::new();
        for _ in 0..self.count(what)? {
            let mut config: BTreeSet<MemberId> = BTreeSet::new();
            for _ in 0..self.count(what)? {
                config.insert(self.number(what)?);
            }
            configs.push(config);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..self.count(what)? {
            let id = self.number(what)?;
            let contact = Contact {
                label: self.text(what)?,
                addr: self.text(what)?,
            };
            nodes.insert(id, contact);
        }
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(configs, nodes).map_err(|_| Malformed(what))
    }

    fn end(&self, what: &'static str) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Membership {
        let contact = |id: u64| Contact {
            label: format!("n{id}"),
            addr: format!("10.0.0.{id}:2377"),
        };
        Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([2])],
            BTreeMap::from([(1, contact(1)), (2, contact(2)), (3, contact(3))]),
        )
        .unwrap()
    }

    #[test]
    fn a_membership_has_these_bytes_on_disk() {
        let one = Membership::new(
            vec![BTreeSet::from([5])],
            BTreeMap::from([(
                5,
                Contact {
                    label: "a".into(),
                    addr: "b:1".into(),
                },
            )]),
        )
        .unwrap();
        let mut bytes = Vec::new();
        encode_membership(&one, &mut bytes);
        let want = [
            vec![1],
            vec![1, 0, 0, 0],
            vec![1, 0, 0, 0],
            vec![5, 0, 0, 0, 0, 0, 0, 0],
            vec![1, 0, 0, 0],
            vec![5, 0, 0, 0, 0, 0, 0, 0],
            vec![1, 0, 0, 0, b'a'],
            vec![3, 0, 0, 0, b'b', b':', b'1'],
        ]
        .concat();
        assert_eq!(bytes, want);
    }

    #[test]
    fn a_membership_is_read_back_and_no_prefix_of_it_is() {
        let mut bytes = Vec::new();
        encode_membership(&sample(), &mut bytes);
        assert_eq!(decode_membership(&bytes).unwrap(), sample());
        for len in 0..bytes.len() {
            assert!(decode_membership(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_snapshot_description_is_read_back() {
        for last in [None, Some(log_id(3, 1, 9))] {
            let meta = SnapshotMeta {
                last_log_id: last,
                last_membership: StoredMembership::new(Some(log_id(2, 1, 4)), sample()),
            };
            let mut bytes = Vec::new();
            encode_meta(&meta, &mut bytes);
            assert_eq!(decode_meta(&bytes).unwrap(), meta);
        }
    }
}
