//! Edits as one netlink batch, and what the kernel answers. Pure.
//!
//! All of a batch takes effect at one moment, or none of it does.

use super::TABLE;
use super::element::{Edit, Element};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
const GET_GENERATION: u16 = SUBSYSTEM << 8 | 16;
const NEW_GENERATION: u16 = SUBSYSTEM << 8 | 15;
const NLMSG_ERROR: u16 = 2;

const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_CREATE: u16 = 0x400;

const FAMILY_ANY: u8 = 0;
const FAMILY_IPV4: u8 = 2;

/// Attributes of a list of elements, of an element, and of a value.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_VALUE: u16 = 2;
const ELEMENT_NOTE: u16 = 6;
const VALUE: u16 = 1;
const NESTED: u16 = 0x8000;
/// How `nft` marks a comment among its notes.
const NOTE_COMMENT: u8 = 0;
const GENERATION_ID: u16 = 1;

/// Netlink header, then the netfilter header that follows it.
const HEADER_BYTES: usize = 16;
const NETFILTER_BYTES: usize = 4;

/// A batch, and the number of its last change: the kernel acknowledges that one
/// when all of them are done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) last: u32,
}

/// What the kernel says about a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It did the change of that number.
    Done(u32),
    /// The kernel's error number.
    Error(i32),
    /// How often the packet filter was changed.
    Generation(u32),
}

pub(super) fn batch(edits: &[Edit]) -> Batch {
    let mut bytes = Vec::new();
    let mut number = 0;
    let begin = (FAMILY_ANY, SUBSYSTEM);
    message(&mut bytes, BATCH_BEGIN, FLAG_REQUEST, number, begin, |_| {});
    for (position, edit) in edits.iter().enumerate() {
        number += 1;
        let ack = match position + 1 == edits.len() {
            true => FLAG_ACK,
            false => 0,
        };
        let (kind, flags) = match edit {
            Edit::Add(_) => (NEW_ELEMENT, FLAG_CREATE),
            Edit::Delete(_) => (DELETE_ELEMENT, 0),
        };
        let flags = FLAG_REQUEST | ack | flags;
        message(&mut bytes, kind, flags, number, (FAMILY_IPV4, 0), |body| {
            list(body, edit);
        });
    }
    message(
        &mut bytes,
        BATCH_END,
        FLAG_REQUEST,
        number + 1,
        begin,
        |_| {},
    );
    Batch {
        bytes,
        last: number,
    }
}

/// Asks how often the packet filter was changed.
pub(super) fn generation() -> Vec<u8> {
    let mut bytes = Vec::new();
    message(
        &mut bytes,
        GET_GENERATION,
        FLAG_REQUEST,
        0,
        (FAMILY_ANY, 0),
        |_| {},
    );
    bytes
}

fn list(body: &mut Vec<u8>, edit: &Edit) {
    let element = edit.element();
    text(body, LIST_TABLE, TABLE);
    text(body, LIST_SET, &element.set().to_string());
    nested(body, LIST_ELEMENTS, |body| {
        nested(body, ELEMENT, |body| {
            nested(body, ELEMENT_KEY, |body| {
                attribute(body, VALUE, &element.key_bytes());
            });
            if matches!(edit, Edit::Add(_)) {
                contents(body, element);
            }
        });
    });
}

fn contents(body: &mut Vec<u8>, element: &Element) {
    if let Some(value) = element.value_bytes() {
        nested(body, ELEMENT_VALUE, |body| attribute(body, VALUE, &value));
    }
    if let Some(comment) = element.comment() {
        // Short enough for a byte: the caller cuts it.
        let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
        let mut note = vec![NOTE_COMMENT, length];
        note.extend(comment.as_bytes());
        note.push(0);
        attribute(body, ELEMENT_NOTE, &note);
    }
}

fn message(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    number: u32,
    (family, resource): (u8, u16),
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let start = bytes.len();
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    fill(bytes);
    let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

fn nested(bytes: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend([0; 2]);
    bytes.extend((kind | NESTED).to_ne_bytes());
    fill(bytes);
    let length = u16::try_from(bytes.len() - start).unwrap_or(u16::MAX);
    bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

fn text(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    attribute(bytes, kind, &[text.as_bytes(), &[0]].concat());
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// What a datagram from the kernel says. What is cut short is left out.
pub(super) fn answers(datagram: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut rest = datagram;
    while let Some(length) = number(rest, 0).and_then(|it| usize::try_from(it).ok()) {
        if length < HEADER_BYTES || length > rest.len() {
            break;
        }
        let (message, following) = rest.split_at(length);
        answers.extend(answer(message));
        let padding = length.next_multiple_of(4) - length;
        rest = following.get(padding..).unwrap_or_default();
    }
    answers
}

fn answer(message: &[u8]) -> Option<Answer> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    match kind {
        NLMSG_ERROR => {
            let code = i32::from_ne_bytes(message.get(16..20)?.try_into().ok()?);
            Some(match code {
                0 => Answer::Done(number(message, 8)?),
                code => Answer::Error(-code),
            })
        }
        NEW_GENERATION => {
            let mut attributes = message.get(HEADER_BYTES + NETFILTER_BYTES..)?;
            loop {
                let length = u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?);
                let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
                if kind == GENERATION_ID {
                    let value = attributes.get(4..8)?.try_into().ok()?;
                    return Some(Answer::Generation(u32::from_be_bytes(value)));
                }
                let length = usize::from(length).max(4).next_multiple_of(4);
                attributes = attributes.get(length..)?;
            }
        }
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn edits() -> Vec<Edit> {
        let element = |last| Element::Backend {
            service: Ipv4Addr::new(10, 0, 0, 9),
            place: 1,
            address: Ipv4Addr::new(1, 2, 3, last),
        };
        vec![Edit::Delete(element(4)), Edit::Add(element(5))]
    }

    /// The messages between the first and the last, without their headers.
    fn bodies(bytes: &[u8]) -> Vec<&[u8]> {
        let mut bodies = Vec::new();
        let mut rest = bytes;
        while let Some(length) = number(rest, 0) {
            let (message, following) = rest.split_at(usize::try_from(length).unwrap());
            bodies.push(&message[20..]);
            rest = following;
        }
        bodies
    }

    #[test]
    fn an_element_is_named_by_table_set_and_key() {
        let batch = batch(&edits());
        assert_eq!(batch.last, 2);
        let bodies = bodies(&batch.bytes);
        assert_eq!(bodies.len(), 4);
        let mut expected = vec![11, 0, 1, 0];
        expected.extend(b"swarmr\0\0");
        expected.extend([13, 0, 2, 0]);
        expected.extend(b"backends\0\0\0\0");
        expected.extend([24, 0, 3, 0x80, 20, 0, 1, 0x80, 16, 0, 1, 0x80, 12, 0, 1, 0]);
        expected.extend([10, 0, 0, 9]);
        expected.extend(1_u32.to_ne_bytes());
        assert_eq!(bodies[1], expected);
        assert!(bodies[2].ends_with(&[12, 0, 2, 0x80, 8, 0, 1, 0, 1, 2, 3, 5]));
        assert!(bodies[0].is_empty() && bodies[3].is_empty());
    }

    #[test]
    fn answers_are_told_apart() {
        let mut error = Vec::new();
        message(&mut error, NLMSG_ERROR, 0, 7, (0, 0), |_| {});
        // The error number stands where the netfilter header would be.
        assert_eq!(answers(&error), [Answer::Done(7)]);
        error[16..20].copy_from_slice(&(-2_i32).to_ne_bytes());
        assert_eq!(answers(&error), [Answer::Error(2)]);
        let mut generation = Vec::new();
        message(&mut generation, NEW_GENERATION, 0, 0, (0, 0), |body| {
            attribute(body, 9, &[1]);
            attribute(body, GENERATION_ID, &77_u32.to_be_bytes());
        });
        assert_eq!(answers(&generation), [Answer::Generation(77)]);
        assert_eq!(answers(&generation[..20]), []);
        assert_eq!(answers(&[1, 2, 3]), []);
    }
}
