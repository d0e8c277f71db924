//! What a container is called by its engine.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of an id as engines make them.
const LENGTH: usize = 32;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// An engine's id of a container. They are 64 hex digits; kept as the bytes that these stand for, a
/// third of what the text takes up. What is written otherwise is kept as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct ContainerId(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Digest([u8; LENGTH]),
    Other(Box<str>),
}

impl ContainerId {
    fn digest(text: &str) -> Option<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        if text.len() != 2 * LENGTH {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = digits else { return None };
            *byte = value(*high)? << 4 | value(*low)?;
        }
        Some(bytes)
    }
}

/// Capitals are none, or an id would not be written as it was read.
const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl From<&str> for ContainerId {
    fn from(text: &str) -> Self {
        Self(Self::digest(text).map_or_else(|| Kind::Other(text.into()), Kind::Digest))
    }
}

impl Default for ContainerId {
    fn default() -> Self {
        Self::from("")
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Digest(bytes) => {
                let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                let mut digits = digits.filter_map(|digit| DIGITS.get(usize::from(digit)));
                digits.try_for_each(|digit| fmt::Write::write_char(f, char::from(*digit)))
            }
            Kind::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::from(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_written_as_it_was_read() {
        let usual = "4a9f".repeat(16);
        for text in [
            usual.as_str(),
            &usual.to_uppercase(),
            &usual[1..],
            &"g".repeat(64),
            &"é".repeat(32),
            "",
        ] {
            let id = ContainerId::from(text);
            assert_eq!(id.to_string(), text);
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(serde_json::from_str::<ContainerId>(&json).unwrap(), id);
        }
        assert_ne!(ContainerId::from(usual.as_str()), ContainerId::default());
    }
}
