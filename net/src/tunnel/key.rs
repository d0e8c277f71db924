//! Keys of tunnel ends: X25519, as WireGuard has them.

use std::fmt;
use std::str::FromStr;

use boringtun::x25519;
use rand::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const LENGTH: usize = 32;

/// The secret half. Never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrivateKey([u8; LENGTH]);

/// The half that peers know a tunnel's end by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; LENGTH]);

/// Text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a tunnel key is {} hexadecimal digits", 2 * LENGTH)]
pub struct KeyError;

impl PrivateKey {
    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = [0; LENGTH];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(x25519::PublicKey::from(&self.secret()).to_bytes())
    }

    pub(super) fn secret(&self) -> x25519::StaticSecret {
        x25519::StaticSecret::from(self.0)
    }
}

impl PublicKey {
    pub(super) fn point(self) -> x25519::PublicKey {
        x25519::PublicKey::from(self.0)
    }

    pub(super) const fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<PrivateKey> for String {
    fn from(key: PrivateKey) -> Self {
        PublicKey(key.0).to_string()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for PrivateKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        parse(&text).map(Self)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        parse(&text).map(Self)
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).map(Self)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).map(Self)
    }
}

fn parse(text: &str) -> Result<[u8; LENGTH], KeyError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * LENGTH || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(KeyError);
    }
    let mut bytes = [0; LENGTH];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| KeyError)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| KeyError)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_after_being_written_and_read() {
        let key = PrivateKey::generate();
        let text = String::from(key.clone());
        assert_eq!(text.parse::<PrivateKey>().unwrap(), key);
        let public = key.public();
        assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
        assert_ne!(PrivateKey::generate().public(), public);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError), "{text:?}");
        }
    }

    #[test]
    fn the_secret_half_is_never_shown() {
        let key = PrivateKey::generate();
        let shown = format!("{key:?}");
        assert!(!shown.contains(&String::from(key)));
    }
}
