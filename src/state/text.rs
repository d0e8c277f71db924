//! Short texts of which nearly all are one of a few.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What managers and agents say of tasks that are well. A million tasks say it without a copy each.
const USUAL: &[&str] = &[
    "",
    "pending task scheduling",
    "scheduler assigned task to node",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
    "started",
    "finished",
    "shutdown",
    "shut down before it was placed",
    "node removed",
];

/// A text that takes up two words, and nothing else where it is a usual one.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// Its place among the usual ones.
    Usual(u8),
    Other(Box<str>),
}

impl Text {
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Usual(place) => USUAL.get(usize::from(*place)).copied().unwrap_or_default(),
            Kind::Other(text) => text,
        }
    }

    fn usual(text: &str) -> Option<Self> {
        let place = USUAL.iter().position(|usual| *usual == text)?;
        Some(Self(Kind::Usual(u8::try_from(place).ok()?)))
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(Kind::Usual(0))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::usual(text).unwrap_or_else(|| Self(Kind::Other(text.into())))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::usual(&text).unwrap_or_else(|| Self(Kind::Other(text.into())))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_reads_as_it_was_written() {
        for text in USUAL.iter().copied().chain(["exit 1", "a rare one"]) {
            let kept = Text::from(text);
            assert_eq!(kept, text);
            assert_eq!(kept, Text::from(text.to_owned()));
            let json = serde_json::to_string(&kept).unwrap();
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), kept);
        }
        assert_eq!(Text::default(), "");
        assert_ne!(Text::from("started"), Text::from("starting"));
        assert_eq!(size_of::<Text>(), 16);
    }
}
