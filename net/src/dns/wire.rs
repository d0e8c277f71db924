//! Answers to plain questions, written where they are sent from. Pure.

use super::question::Question;
use super::{Answer, TTL_S, largest_payload};

/// A name that begins where the question's does (RFC 1035, 4.1.4).
const SAME_NAME: [u8; 2] = [0xc0, 12];
/// Type numbers.
const A: u16 = 1;
const AAAA: u16 = 28;
const PTR: u16 = 12;
/// Codes of answers.
const NO_ERROR: u8 = 0;
const NAME_ERROR: u8 = 3;
const REFUSED: u8 = 5;

/// Writes the answer to `question` into `buffer` and returns its length; `None`
/// if it does not fit or is of a kind that is left to hickory. `turn` says
/// which address comes first.
pub(super) fn write(
    question: &Question<'_>,
    answer: Answer<'_>,
    turn: usize,
    buffer: &mut [u8],
) -> Option<usize> {
    let limit = question.limit().min(buffer.len());
    let mut message = Writer {
        buffer: &mut buffer[..limit],
        length: 0,
    };
    message.put(question.asked)?;
    let (code, records) = match answer {
        Answer::V4(addresses) => {
            let in_turn = rotated(addresses, turn);
            (NO_ERROR, message.records(A, in_turn.map(|it| it.octets()))?)
        }
        Answer::V6(addresses) => {
            let in_turn = rotated(addresses, turn);
            let records = message.records(AAAA, in_turn.map(|it| it.octets()))?;
            (NO_ERROR, records)
        }
        Answer::Pointer(name) => (NO_ERROR, message.pointer(name)?),
        Answer::Empty => (NO_ERROR, 0),
        Answer::NotFound => (NAME_ERROR, 0),
        Answer::Refused => (REFUSED, 0),
        Answer::Served(_) | Answer::Forward => return None,
    };
    if let Some(payload) = question.payload {
        let payload = largest_payload(payload).to_be_bytes();
        message.put(&[0, 0, 41, payload[0], payload[1], 0, 0, 0, 0, 0, 0])?;
    }
    let additional = u8::from(question.payload.is_some());
    let length = message.length;
    // An answer; who asked keeps its wish for recursion and against checks.
    buffer[2] = 0x80 | (buffer[2] & 0x01);
    buffer[3] = 0x80 | (buffer[3] & 0x10) | code;
    let records = records.to_be_bytes();
    buffer[6..12].copy_from_slice(&[records[0], records[1], 0, 0, 0, additional]);
    Some(length)
}

/// All of them, beginning with another one each turn.
fn rotated<T>(all: &[T], turn: usize) -> impl Iterator<Item = &T> {
    let (later, first) = all.split_at(turn % all.len().max(1));
    first.iter().chain(later)
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length + bytes.len();
        self.buffer
            .get_mut(self.length..end)?
            .copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    /// The head of a record about the name that was asked for.
    fn record(&mut self, kind: u16, data_bytes: u16) -> Option<()> {
        self.put(&SAME_NAME)?;
        self.put(&kind.to_be_bytes())?;
        self.put(&[0, 1])?;
        self.put(&TTL_S.to_be_bytes())?;
        self.put(&data_bytes.to_be_bytes())
    }

    fn records<const N: usize>(
        &mut self,
        kind: u16,
        all: impl Iterator<Item = [u8; N]>,
    ) -> Option<u16> {
        let mut count: u16 = 0;
        for data in all {
            self.record(kind, u16::try_from(N).ok()?)?;
            self.put(&data)?;
            count = count.checked_add(1)?;
        }
        Some(count)
    }

    fn pointer(&mut self, name: &str) -> Option<u16> {
        let name = name.trim_end_matches('.');
        // A length before each label, and the root at the end.
        let bytes = u16::try_from(name.len() + 2).ok().filter(|it| *it <= 255)?;
        self.record(PTR, bytes)?;
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok();
            let length = length.filter(|length| (1..=63).contains(length))?;
            self.put(&[length])?;
            self.put(label.as_bytes())?;
        }
        self.put(&[0])?;
        Some(1)
    }
}
