//! Questions as nearly all are asked, read where they lie. Pure.
//!
//! What is asked in any other way (several questions, unusual letters, updates)
//! is no [`Question`] and goes to hickory, which knows all of DNS. So this
//! reads only what it fully understands.

use super::{Kind, largest_payload};

/// Bytes before the question.
const HEADER: usize = 12;
/// Answers without EDNS are no longer than this (RFC 1035, 4.2.1).
const PLAIN_BYTES: usize = 512;
/// The longest name in a message (RFC 1035, 2.3.4).
const NAME_BYTES: usize = 255;
/// Class IN.
const INTERNET: [u8; 2] = [0, 1];
/// Type OPT, with the root's name before it (RFC 6891, 6.1.2).
const OPT: [u8; 3] = [0, 0, 41];
/// An OPT record without options.
const OPT_BYTES: usize = 11;

/// One name, class IN, and nothing beside it but what EDNS says.
pub(super) struct Question<'a> {
    /// The message from its beginning to the end of the question: what an
    /// answer repeats.
    pub(super) asked: &'a [u8],
    pub(super) kind: Kind,
    /// The most that the asker takes, in bytes; `None` without EDNS.
    pub(super) payload: Option<u16>,
    name: [u8; NAME_BYTES],
    name_length: usize,
}

impl<'a> Question<'a> {
    /// The question in `message`; `None` if it is anything else.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let header = message.first_chunk::<HEADER>()?;
        // A query, of the standard kind, whole; AD and CD say nothing to us.
        let is_query = header[2] & 0b1111_1110 == 0 && header[3] & 0b1100_1111 == 0;
        let additional = match header[4..] {
            [0, 1, 0, 0, 0, 0, 0, additional] if additional <= 1 => additional,
            _ => return None,
        };
        if !is_query {
            return None;
        }
        let mut name = [0; NAME_BYTES];
        let (name_length, end) = read_name(message, &mut name)?;
        let (kind, class) = message.get(end..end + 4)?.split_at(2);
        if class != INTERNET {
            return None;
        }
        let (asked, rest) = message.split_at(end + 4);
        let payload = match additional {
            0 => rest.is_empty().then_some(None)?,
            _ => Some(read_payload(rest)?),
        };
        Some(Self {
            asked,
            kind: kind_of([kind[0], kind[1]]),
            payload,
            name,
            name_length,
        })
    }

    /// The name in lower case, without the dot at its end.
    pub(super) fn name(&self) -> &str {
        // Only ASCII was taken in.
        std::str::from_utf8(&self.name[..self.name_length]).unwrap_or_default()
    }

    /// The longest answer, in bytes.
    pub(super) fn limit(&self) -> usize {
        self.payload
            .map_or(PLAIN_BYTES, |payload| usize::from(largest_payload(payload)))
    }
}

/// A1, AAAA, … by their numbers (RFC 1035, 3.2.2; RFC 3596; RFC 2782). Of ANY
/// the addresses are enough (RFC 8482).
fn kind_of(number: [u8; 2]) -> Kind {
    match u16::from_be_bytes(number) {
        1 | 255 => Kind::V4,
        28 => Kind::V6,
        12 => Kind::Pointer,
        33 => Kind::Served,
        _ => Kind::Other,
    }
}

/// Writes the name that follows the header into `name`, with dots and in lower
/// case. Returns its length and where the message goes on.
fn read_name(message: &[u8], name: &mut [u8; NAME_BYTES]) -> Option<(usize, usize)> {
    let mut at = HEADER;
    let mut length = 0;
    loop {
        let label = usize::from(*message.get(at)?);
        at += 1;
        if label == 0 {
            return Some((length, at));
        }
        // Longer means a pointer or something newer.
        if label > 63 {
            return None;
        }
        if length > 0 {
            *name.get_mut(length)? = b'.';
            length += 1;
        }
        let letters = message.get(at..at + label)?;
        // No host is called so, and hickory would write it in another way.
        if letters.starts_with(b"-") {
            return None;
        }
        for letter in letters {
            let is_plain = letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
            if !is_plain {
                return None;
            }
            // Two bytes of the limit are the first length and the root.
            if length + 2 >= NAME_BYTES {
                return None;
            }
            name[length] = letter.to_ascii_lowercase();
            length += 1;
        }
        at += label;
    }
}

/// What the OPT record that `rest` consists of says of the asker's buffer.
fn read_payload(rest: &[u8]) -> Option<u16> {
    let record = rest.first_chunk::<OPT_BYTES>()?;
    let (kind, fields) = record.split_first_chunk::<3>()?;
    let [high, low, extended, version, _, _, data_high, data_low] = *fields else {
        return None;
    };
    let data = usize::from(u16::from_be_bytes([data_high, data_low]));
    let is_known = *kind == OPT && extended == 0 && version == 0;
    let is_whole = rest.len() == OPT_BYTES + data;
    (is_known && is_whole).then(|| u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query};
    use hickory_server::proto::rr::{Name, RecordType};
    use proptest::prelude::*;

    use super::*;

    fn message(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(77, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    #[test]
    fn a_plain_question_is_read() {
        let bytes = message("Tasks.Web.", RecordType::A).to_vec().unwrap();
        let question = Question::read(&bytes).unwrap();
        assert_eq!(question.name(), "tasks.web");
        assert_eq!(question.kind, Kind::V4);
        assert_eq!(question.asked, bytes);
        assert_eq!((question.payload, question.limit()), (None, 512));
    }

    #[test]
    fn edns_says_how_long_answers_may_be() {
        for (said, limit) in [(0, 512), (900, 900), (4096, 1232)] {
            let mut message = message("web.", RecordType::AAAA);
            let mut edns = Edns::new();
            edns.set_max_payload(said);
            message.set_edns(edns);
            let bytes = message.to_vec().unwrap();
            let question = Question::read(&bytes).unwrap();
            assert_eq!(question.kind, Kind::V6);
            assert_eq!(question.limit(), limit);
        }
    }

    #[test]
    fn anything_unusual_is_left_to_others() {
        let is_read = |message: &Message| Question::read(&message.to_vec().unwrap()).is_some();
        let plain = message("web.", RecordType::A);
        assert!(is_read(&plain));
        let mut two = plain.clone();
        two.add_query(plain.queries[0].clone());
        assert!(!is_read(&two));
        let mut answer = plain.clone();
        answer.metadata.message_type = MessageType::Response;
        assert!(!is_read(&answer));
        let mut update = plain.clone();
        update.metadata.op_code = OpCode::Update;
        assert!(!is_read(&update));
        let mut newer = plain.clone();
        let mut edns = Edns::new();
        edns.set_version(1);
        newer.set_edns(edns);
        assert!(!is_read(&newer));
        let mut trailing = plain.to_vec().unwrap();
        trailing.push(0);
        assert!(Question::read(&trailing).is_none());
        let space = Name::from_labels([&b"a b"[..]]).unwrap();
        let mut odd = Message::new(1, MessageType::Query, OpCode::Query);
        odd.add_query(Query::query(space, RecordType::A));
        assert!(!is_read(&odd));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_left(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Question::read(&bytes);
        }

        #[test]
        fn damaged_questions_are_read_or_left(
            labels in proptest::collection::vec("[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}", 1..5),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let Ok(name) = Name::from_ascii(format!("{}.", labels.join("."))) else {
                return Ok(());
            };
            let mut message = Message::new(5, MessageType::Query, OpCode::Query);
            message.add_query(Query::query(name, RecordType::A));
            let mut bytes = message.to_vec().unwrap();
            let read = Question::read(&bytes).unwrap().name().to_owned();
            prop_assert_eq!(read, labels.join(".").to_ascii_lowercase());
            let at = at.index(bytes.len());
            bytes[at] = value;
            // What is read is what hickory reads.
            if let Some(question) = Question::read(&bytes) {
                let read = Message::from_vec(&bytes).unwrap();
                let name = read.queries[0].name().to_ascii().to_ascii_lowercase();
                prop_assert_eq!(name.trim_end_matches('.'), question.name());
            }
        }
    }
}
