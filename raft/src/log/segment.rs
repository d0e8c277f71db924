//! One file of the log as bytes: its header, its records, and what to make of a bad one.
//!
//! Pure: called by recovery with what a file holds, and by tests with what it might hold.

use super::record::{self, Fault, HEADER_BYTES, Stored};

pub(super) const SEGMENT_HEADER_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"RAFTLOG\n";
const VERSION: u32 = 1;

/// What a disk writes as one: a write that was cut off lacks whole sectors.
const SECTOR_BYTES: usize = 512;

/// Zeros shorter than this are taken for data, not for a sector that was never written.
const HOLE_BYTES: usize = 16;

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) records: Vec<Stored>,
    /// Bytes up to the end of the last good record.
    pub(super) good_bytes: u64,
    /// Number that the next batch gets.
    pub(super) next_batch: u32,
    /// Why what follows the good bytes is to be cut off, if anything follows.
    pub(super) torn: Option<String>,
}

/// A place that no torn write explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: u64,
    pub(super) what: String,
}

pub(super) fn file_name(number: u64) -> String {
    format!("{number:016x}.log")
}

pub(super) fn number_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".log")?;
    (digits.len() == 16)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

pub(super) fn encode_header(number: u64, first_batch: u32) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&first_batch.to_le_bytes());
    header[16..24].copy_from_slice(&number.to_le_bytes());
    let sum = crc32c::crc32c(&header[..24]);
    header[24..28].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Reads a segment. `last` says that no later one exists, so that its end may be torn; the
/// others were complete and on disk before their successor was created.
///
/// `Ok(None)`: the segment was being created and holds nothing yet.
pub(super) fn scan(number: u64, bytes: &[u8], last: bool) -> Result<Option<Scan>, Damage> {
    let first_batch = match read_header(number, bytes) {
        Ok(batch) => batch,
        Err(damage) => {
            let unfinished = last && next_record(number, bytes, 0).is_none();
            return if unfinished { Ok(None) } else { Err(damage) };
        }
    };
    let mut scan = Scan {
        records: Vec::new(),
        good_bytes: SEGMENT_HEADER_BYTES as u64,
        next_batch: first_batch,
        torn: None,
    };
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < bytes.len() {
        match record::decode(&bytes[offset..], number, offset as u64) {
            Ok(stored) => {
                offset += stored.place.bytes as usize;
                scan.good_bytes = offset as u64;
                scan.next_batch = if stored.batch_end {
                    stored.batch.wrapping_add(1)
                } else {
                    stored.batch
                };
                scan.records.push(stored);
            }
            Err(Fault::Unknown(what)) => {
                return Err(Damage {
                    offset: offset as u64,
                    what: format!("{what} was written by a version that is newer, or wrong"),
                });
            }
            Err(fault) if last => {
                scan.torn = Some(judge_tail(number, bytes, offset, scan.next_batch, &fault)?);
                break;
            }
            Err(fault) => return Err(damage(offset, &fault, "and the log goes on after it")),
        }
    }
    // A batch that lacks its end was never acknowledged, but its records are whole and in order:
    // keeping them is as right as losing them. The next batch must not pass for its continuation.
    if scan.records.last().is_some_and(|stored| !stored.batch_end) {
        scan.next_batch = scan.next_batch.wrapping_add(1);
    }
    Ok(Some(scan))
}

/// Says why the bad record at `offset` is the torn end of the last write, or that it is not.
///
/// `batch` is the batch that record must have belonged to. A later batch proves that it had been
/// on disk. A torn write ends early or leaves whole sectors unwritten, which read as zeros.
fn judge_tail(
    number: u64,
    bytes: &[u8],
    offset: usize,
    batch: u32,
    fault: &Fault,
) -> Result<String, Damage> {
    if bytes[offset..].iter().all(|byte| *byte == 0) {
        return Ok("only zeros follow".into());
    }
    let mut next = next_record(number, bytes, offset + 1);
    let first = next.as_ref().map(|stored| stored.place.offset as usize);
    while let Some(stored) = next {
        if stored.batch != batch {
            return Err(damage(offset, fault, "and later writes are intact"));
        }
        let end = stored.place.offset as usize + stored.place.bytes as usize;
        next = next_record(number, bytes, end);
    }
    if has_hole(bytes, offset, first.unwrap_or(bytes.len())) {
        return Ok("sectors of the last write are missing".into());
    }
    match (fault, first) {
        (Fault::Short, None) => Ok("the last write was cut off".into()),
        _ => Err(damage(offset, fault, "and no write was cut off there")),
    }
}

fn damage(offset: usize, fault: &Fault, why: &str) -> Damage {
    let what = match fault {
        Fault::Short => "a record reaches beyond the end of the file",
        Fault::Checksum => "a record fails its checksum",
        Fault::Unknown(_) => "a record is unknown",
    };
    Damage {
        offset: offset as u64,
        what: format!("{what}, {why}"),
    }
}

fn read_header(number: u64, bytes: &[u8]) -> Result<u32, Damage> {
    let bad = |what: &str| Damage {
        offset: 0,
        what: what.to_owned(),
    };
    let header = bytes
        .get(..SEGMENT_HEADER_BYTES)
        .ok_or_else(|| bad("the segment's header is cut off"))?;
    let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if field(24) != crc32c::crc32c(&header[..24]) || &header[..8] != MAGIC || field(28) != 0 {
        return Err(bad("the segment's header fails its checksum"));
    }
    if field(8) != VERSION {
        return Err(bad("the segment was written by another version"));
    }
    if header[16..24] != number.to_le_bytes() {
        return Err(bad("the segment's header names another segment"));
    }
    Ok(field(12))
}

/// The first intact record at or after `from`, at whatever byte it begins.
fn next_record(number: u64, bytes: &[u8], from: usize) -> Option<Stored> {
    let last = bytes.len().checked_sub(HEADER_BYTES)?;
    (from..=last).find_map(|offset| record::decode(&bytes[offset..], number, offset as u64).ok())
}

/// Whether a sector's share of `from..to` is all zeros.
fn has_hole(bytes: &[u8], from: usize, to: usize) -> bool {
    let mut start = from;
    while start < to {
        let end = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(to);
        if end - start >= HOLE_BYTES && bytes[start..end].iter().all(|byte| *byte == 0) {
            return true;
        }
        start = end;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::payload;
    use super::super::record::Record;
    use super::*;
    use crate::types::{Entry, log_id};

    /// A segment of batches, each of which has records of these payload sizes.
    fn segment(batches: &[&[usize]]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = encode_header(1, 5).to_vec();
        let mut starts = Vec::new();
        let mut index = 0;
        for (number, sizes) in batches.iter().enumerate() {
            for (position, size) in sizes.iter().enumerate() {
                let record = Record::Entry(Entry {
                    log_id: log_id(1, 1, index),
                    payload: payload::normal(vec![0xa5; *size].into()),
                });
                index += 1;
                starts.push(bytes.len());
                let offset = bytes.len() as u64;
                let end = position + 1 == sizes.len();
                record::encode(&record, 1, offset, 5 + number as u32, end, &mut bytes);
            }
        }
        (bytes, starts)
    }

    #[test]
    fn a_whole_segment_is_read_whole() {
        let (bytes, _) = segment(&[&[10], &[20, 30], &[40]]);
        let scan = scan(1, &bytes, true).unwrap().unwrap();
        assert_eq!(scan.records.len(), 4);
        assert_eq!(scan.good_bytes, bytes.len() as u64);
        assert_eq!(scan.next_batch, 8);
        assert_eq!(scan.torn, None);
    }

    #[test]
    fn the_last_record_cut_at_every_byte_is_dropped_and_the_rest_kept() {
        let (bytes, starts) = segment(&[&[10], &[20], &[700]]);
        for len in starts[2]..bytes.len() {
            let scan = scan(1, &bytes[..len], true).unwrap().unwrap();
            assert_eq!(scan.records.len(), 2, "cut at {len}");
            assert_eq!(scan.good_bytes, starts[2] as u64);
        }
    }

    #[test]
    fn a_sector_that_was_never_written_is_a_torn_write() {
        let (bytes, starts) = segment(&[&[10], &[3000]]);
        for sector in (starts[1] / SECTOR_BYTES + 1)..(bytes.len() / SECTOR_BYTES) {
            let mut torn = bytes.clone();
            torn[sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES].fill(0);
            let scan = scan(1, &torn, true).unwrap().unwrap();
            assert_eq!(scan.records.len(), 1, "sector {sector}");
        }
    }

    #[test]
    fn a_batch_that_lacks_a_sector_in_its_middle_is_dropped_from_there() {
        let (bytes, starts) = segment(&[&[10], &[100, 2000, 100]]);
        let mut torn = bytes.clone();
        torn[1024..1536].fill(0);
        let scan = scan(1, &torn, true).unwrap().unwrap();
        assert_eq!(scan.records.len(), 2);
        assert_eq!(scan.good_bytes, starts[2] as u64);
        assert!(scan.torn.is_some());
    }

    #[test]
    fn every_flipped_bit_before_the_last_batch_is_damage() {
        let (bytes, starts) = segment(&[&[10], &[20, 5], &[30]]);
        for byte in 0..starts[3] {
            let mut bad = bytes.clone();
            bad[byte] ^= 1 << (byte % 8);
            assert!(scan(1, &bad, true).is_err(), "byte {byte}");
            assert!(
                scan(1, &bad, false).is_err(),
                "byte {byte}, not the last segment"
            );
        }
    }

    #[test]
    fn a_flipped_bit_in_a_complete_last_record_is_damage_unless_it_is_in_the_length() {
        let (bytes, starts) = segment(&[&[10], &[30]]);
        for byte in starts[1] + 4..bytes.len() {
            let mut bad = bytes.clone();
            bad[byte] ^= 0x10;
            assert!(scan(1, &bad, true).is_err(), "byte {byte}");
        }
    }

    #[test]
    fn zeros_behind_the_last_record_are_cut_off() {
        let (mut bytes, _) = segment(&[&[10]]);
        let good = bytes.len() as u64;
        bytes.extend_from_slice(&[0; 4096]);
        let scan = scan(1, &bytes, true).unwrap().unwrap();
        assert_eq!((scan.good_bytes, scan.records.len()), (good, 1));
    }

    #[test]
    fn a_segment_whose_creation_was_interrupted_holds_nothing() {
        let header = encode_header(1, 5);
        for len in 0..SEGMENT_HEADER_BYTES {
            assert!(scan(1, &header[..len], true).unwrap().is_none());
            assert!(scan(1, &header[..len], false).is_err());
        }
        assert!(scan(1, &[0; 4096], true).unwrap().is_none());
    }

    #[test]
    fn a_segment_under_another_name_is_refused() {
        let (bytes, _) = segment(&[&[10]]);
        assert!(scan(2, &bytes, false).is_err());
    }

    #[test]
    fn file_names_are_numbers() {
        assert_eq!(number_of(&file_name(255)), Some(255));
        assert_eq!(number_of("x.log"), None);
        assert_eq!(number_of("1.log"), None);
    }
}
