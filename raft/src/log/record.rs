//! One record of the log: a fixed header, then what it carries.
//!
//! ```text
//!  0 length of payload u32      16 term u64
//!  4 crc32c u32                 24 leader u64
//!  8 kind u8                    32 index u64
//!  9 flags u8                   40 payload
//! 10 zero u16
//! 12 batch u32
//! ```
//! The checksum covers the segment's number, the offset, the header and the payload, so that a
//! record is valid in its own place only. A batch is what one flush made durable: none is begun
//! before the one before it is on disk, which lets recovery tell a torn write from lost data.

use bytes::Bytes;
use openraft::vote::RaftVote as _;

use super::payload::{self, Malformed};
use crate::types::{Entry, LeaderId, LogId, Payload, Vote, log_id};

pub(super) const HEADER_BYTES: usize = 40;

/// Set on the last record of a batch.
const FLAG_BATCH_END: u8 = 1;

/// Where a record is: for reading it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// Of header and payload together.
    pub(super) bytes: u32,
}

/// What the stream of the log consists of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Entry(Entry),
    Vote(Vote),
    Committed(LogId),
    /// Everything up to here is in a snapshot and gone.
    Purged(LogId),
    /// Everything after this is undone; `None` undoes all.
    Truncated(Option<LogId>),
}

/// A record with what its header says about the batch it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) record: Record,
    pub(super) place: Place,
    pub(super) batch: u32,
    pub(super) batch_end: bool,
}

/// Why there is no record at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It would end behind the end of the file.
    Short,
    Checksum,
    /// Intact, but not of a kind this version knows.
    Unknown(String),
}

/// Appends a record that will stand at `offset` of `segment`; returns its place.
pub(super) fn encode(
    record: &Record,
    segment: u64,
    offset: u64,
    batch: u32,
    batch_end: bool,
    out: &mut Vec<u8>,
) -> Place {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let (kind, id) = put_payload(record, out);
    let payload_bytes = out.len() - start - HEADER_BYTES;
    let length = u32::try_from(payload_bytes).expect("proposals are limited to far less");
    let head = &mut out[start..start + HEADER_BYTES];
    head[0..4].copy_from_slice(&length.to_le_bytes());
    head[8] = kind as u8;
    head[9] = if batch_end { FLAG_BATCH_END } else { 0 };
    head[12..16].copy_from_slice(&batch.to_le_bytes());
    head[16..24].copy_from_slice(&id.leader_id.term.to_le_bytes());
    head[24..32].copy_from_slice(&id.leader_id.node_id.to_le_bytes());
    head[32..40].copy_from_slice(&id.index.to_le_bytes());
    let sum = checksum(&out[start..], segment, offset);
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
    Place {
        segment,
        offset,
        bytes: length + HEADER_BYTES as u32,
    }
}

/// Reads the record at the front of `bytes`, which begin at `offset` of `segment`.
pub(super) fn decode(bytes: &[u8], segment: u64, offset: u64) -> Result<Stored, Fault> {
    let Some(head) = bytes.get(..HEADER_BYTES) else {
        return Err(Fault::Short);
    };
    let total = HEADER_BYTES + le_u32(&head[0..4]) as usize;
    let Some(whole) = bytes.get(..total) else {
        return Err(Fault::Short);
    };
    if le_u32(&head[4..8]) != checksum(whole, segment, offset) {
        return Err(Fault::Checksum);
    }
    let id = log_id(
        le_u64(&head[16..24]),
        le_u64(&head[24..32]),
        le_u64(&head[32..40]),
    );
    if head[9] & !FLAG_BATCH_END != 0 || head[10..12] != [0, 0] {
        return Err(Fault::Unknown(format!(
            "a record with flags {:?}",
            &head[9..12]
        )));
    }
    let record = take_payload(head[8], id, &whole[HEADER_BYTES..])?;
    Ok(Stored {
        record,
        place: Place {
            segment,
            offset,
            bytes: total as u32,
        },
        batch: le_u32(&head[12..16]),
        batch_end: head[9] & FLAG_BATCH_END != 0,
    })
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Data = 1,
    Blank = 2,
    Membership = 3,
    Vote = 4,
    Committed = 5,
    Purged = 6,
    Truncated = 7,
}

fn put_payload(record: &Record, out: &mut Vec<u8>) -> (Kind, LogId) {
    match record {
        Record::Entry(entry) => {
            let kind = match &entry.payload {
                Payload::Normal(data) => {
                    out.extend_from_slice(&data.0);
                    Kind::Data
                }
                Payload::Blank => Kind::Blank,
                Payload::Membership(membership) => {
                    payload::encode_membership(membership, out);
                    Kind::Membership
                }
            };
            (kind, entry.log_id)
        }
        Record::Vote(vote) => {
            out.push(u8::from(vote.committed));
            let leader = vote.leader_id;
            (Kind::Vote, log_id(leader.term, leader.node_id, 0))
        }
        Record::Committed(id) => (Kind::Committed, *id),
        Record::Purged(id) => (Kind::Purged, *id),
        Record::Truncated(after) => {
            out.push(u8::from(after.is_some()));
            (Kind::Truncated, after.unwrap_or(log_id(0, 0, 0)))
        }
    }
}

fn take_payload(kind: u8, id: LogId, bytes: &[u8]) -> Result<Record, Fault> {
    let entry = |payload| {
        Record::Entry(Entry {
            log_id: id,
            payload,
        })
    };
    let flag = || match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Fault::Unknown(format!("a flag of {} bytes", bytes.len()))),
    };
    let malformed = |Malformed(what)| Fault::Unknown(what.to_owned());
    Ok(match kind {
        k if k == Kind::Data as u8 => entry(payload::normal(Bytes::copy_from_slice(bytes))),
        k if k == Kind::Blank as u8 => entry(Payload::Blank),
        k if k == Kind::Membership as u8 => entry(Payload::Membership(
            payload::decode_membership(bytes).map_err(malformed)?,
        )),
        k if k == Kind::Vote as u8 => Record::Vote(Vote::from_leader_id(
            LeaderId {
                term: id.leader_id.term,
                node_id: id.leader_id.node_id,
            },
            flag()?,
        )),
        k if k == Kind::Committed as u8 => Record::Committed(id),
        k if k == Kind::Purged as u8 => Record::Purged(id),
        k if k == Kind::Truncated as u8 => Record::Truncated(flag()?.then_some(id)),
        other => return Err(Fault::Unknown(format!("a record of kind {other}"))),
    })
}

/// Of a whole record; the checksum's own field does not count.
fn checksum(record: &[u8], segment: u64, offset: u64) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&segment.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    let sum = crc32c::crc32c(&place);
    let sum = crc32c::crc32c_append(sum, &record[..4]);
    crc32c::crc32c_append(sum, &record[8..])
}

fn le_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("called with four bytes"))
}

fn le_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("called with eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_these_bytes_on_disk() {
        let record = Record::Entry(Entry {
            log_id: log_id(2, 3, 4),
            payload: payload::normal(Bytes::from_static(b"hi")),
        });
        let mut bytes = Vec::new();
        let place = encode(&record, 9, 32, 7, true, &mut bytes);
        assert_eq!(place.bytes, 42);
        let sum = crc32c::crc32c(
            &[
                &9u64.to_le_bytes()[..],
                &32u64.to_le_bytes(),
                &bytes[..4],
                &bytes[8..],
            ]
            .concat(),
        );
        let want = [
            &2u32.to_le_bytes()[..],
            &sum.to_le_bytes(),
            &[1, 1, 0, 0],
            &7u32.to_le_bytes(),
            &2u64.to_le_bytes(),
            &3u64.to_le_bytes(),
            &4u64.to_le_bytes(),
            b"hi",
        ]
        .concat();
        assert_eq!(bytes, want);
    }

    #[test]
    fn a_record_is_valid_in_its_own_place_only() {
        let record = Record::Committed(log_id(1, 1, 1));
        let mut bytes = Vec::new();
        encode(&record, 1, 32, 0, true, &mut bytes);
        assert_eq!(decode(&bytes, 1, 32).unwrap().record, record);
        assert_eq!(decode(&bytes, 2, 32), Err(Fault::Checksum));
        assert_eq!(decode(&bytes, 1, 33), Err(Fault::Checksum));
    }

    #[test]
    fn an_intact_record_of_an_unknown_kind_is_not_taken_for_damage() {
        let mut bytes = Vec::new();
        encode(
            &Record::Committed(log_id(1, 1, 1)),
            1,
            32,
            0,
            true,
            &mut bytes,
        );
        bytes[8] = 99;
        let sum = checksum(&bytes, 1, 32);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        assert!(matches!(decode(&bytes, 1, 32), Err(Fault::Unknown(_))));
    }
}
