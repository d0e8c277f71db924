//! Ids of everything replicated: 128 bits, written as Docker writes them, 25 characters of base 36.
//!
//! One newtype per kind, so that a node's id cannot be passed where a task's is meant. Ids are
//! minted by whoever proposes a change (from real randomness) or by the planner (from [`Ids`],
//! a pure sequence), never inside `apply`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Characters in a written id.
pub const ID_LENGTH: usize = 25;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not an id: want {ID_LENGTH} characters of 0-9 and a-z")]
pub struct ParseIdError {
    got: String,
}

fn write_base36(mut value: u128) -> [u8; ID_LENGTH] {
    let mut text = [b'0'; ID_LENGTH];
    for place in text.iter_mut().rev() {
        // The remainder is below 36, so the cast and the index cannot fail.
        *place = DIGITS[(value % 36) as usize];
        value /= 36;
    }
    text
}

fn read_base36(text: &str) -> Result<u128, ParseIdError> {
    let wrong = || ParseIdError {
        got: text.to_owned(),
    };
    if text.len() != ID_LENGTH {
        return Err(wrong());
    }
    text.bytes().try_fold(0u128, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return Err(wrong()),
        };
        value
            .checked_mul(36)
            .and_then(|value| value.checked_add(u128::from(digit)))
            .ok_or_else(wrong)
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64, u64);

        impl $name {
            /// An id of these 128 bits; they come from randomness or from [`Ids`].
            pub const fn from_bits(bits: u128) -> Self {
                // Two words, the greater first: as a u128 it would be aligned to 16 bytes, and
                // everything that holds one padded. The halves are cut off on purpose.
                Self((bits >> 64) as u64, bits as u64)
            }

            /// The 128 bits.
            pub const fn bits(self) -> u128 {
                (self.0 as u128) << 64 | self.1 as u128
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in write_base36(self.bits()) {
                    fmt::Write::write_char(f, char::from(byte))?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                read_base36(text).map(Self::from_bits)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.bits().to_be_bytes())
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(IdText).map(Self::from_bits)
                } else {
                    deserializer.deserialize_bytes(IdBytes).map(Self::from_bits)
                }
            }
        }
    };
}

id!(
    /// One cluster.
    ClusterId
);
id!(
    /// One node: a machine that joined once. A machine that leaves and joins again is a new node.
    NodeId
);
id!(
    /// One service.
    ServiceId
);
id!(
    /// One task: a slot's attempt to run, never re-run and never moved.
    TaskId
);
id!(
    /// One overlay network.
    NetworkId
);
id!(
    /// One config.
    ConfigId
);
id!(
    /// One request to run a job: the same request, repeated, starts no second run.
    RequestId
);

/// What the ids of a service's tasks end with: the second half of its own. So a task is found from
/// its id alone, and among few, without an index of all tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family(u64);

impl ServiceId {
    /// The family of its tasks.
    pub const fn family(self) -> Family {
        Family(self.1)
    }
}

impl TaskId {
    /// The id of a service's task. `bits` are the half that tells it from the service's others; it
    /// comes first, for people tell tasks apart by the start of their ids.
    pub const fn of(service: ServiceId, bits: u64) -> Self {
        Self(bits, service.1)
    }

    /// The family of the service that it is of.
    pub const fn family(self) -> Family {
        Family(self.1)
    }
}

struct IdText;

impl de::Visitor<'_> for IdText {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id of {ID_LENGTH} characters")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u128, E> {
        read_base36(text).map_err(E::custom)
    }
}

struct IdBytes;

impl de::Visitor<'_> for IdBytes {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("16 bytes of an id")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<u128, E> {
        let bytes: [u8; 16] = bytes
            .try_into()
            .map_err(|_| E::invalid_length(bytes.len(), &self))?;
        Ok(u128::from_be_bytes(bytes))
    }
}

/// A pure sequence of ids: the same seed gives the same ids, so that the same plan is made twice.
#[derive(Debug, Clone)]
pub struct Ids {
    state: u64,
}

impl Ids {
    /// A sequence for one planning pass. `seed` is the cluster's own entropy, `revision` the
    /// state the pass looks at: two passes over different states never share an id.
    pub const fn new(seed: u64, revision: u64) -> Self {
        Self {
            // Mixed twice: neighbouring revisions must not start neighbouring sequences.
            state: mix(seed ^ mix(revision)),
        }
    }

    /// The next 128 bits.
    pub fn next_bits(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }

    /// The next 64 bits. SplitMix64, as its authors published it: every output of a period of 2^64
    /// appears once.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }
}

const fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for bits in [0, 1, u128::from(u64::MAX), u128::MAX] {
            let id = TaskId::from_bits(bits);
            assert_eq!(id.to_string().len(), ID_LENGTH);
            assert_eq!(id.to_string().parse(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<TaskId>(&json).unwrap(), id);
            let packed = rmp_serde::to_vec_named(&id).unwrap();
            assert_eq!(rmp_serde::from_slice::<TaskId>(&packed).unwrap(), id);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "abc",
            "ABCDEFGHIJKLMNOPQRSTUVWXY",
            "zzzzzzzzzzzzzzzzzzzzzzzzz",
            "0123456789abcdefghijklmnop",
        ] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn passes_over_different_revisions_share_no_id() {
        let mut seen = std::collections::BTreeSet::new();
        for revision in 0..100 {
            let mut ids = Ids::new(7, revision);
            for _ in 0..100 {
                assert!(seen.insert(ids.next_bits()));
            }
        }
    }
}
