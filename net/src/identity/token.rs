//! The join token: which cluster, and the right to join it.
//!
//! Docker's format: `SWMTKN-1-<digest>-<secret>`, where the digest is the SHA-256
//! of the root certificate's DER as 50 base-36 digits and the secret 16 bytes as 25.
//! The joiner pins the root by the digest; a manager compares the secret and so
//! learns the role that the token grants.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;
use thiserror::Error;

use super::base36::{self, DecodeError};

const PREFIX: &str = "SWMTKN-1-";

/// A join token. Comparison takes the same time whether or not tokens differ;
/// `Debug` hides the secret, `Display` is the token itself.
#[derive(Clone, Eq)]
pub struct Token {
    digest: [u8; 32],
    secret: [u8; 16],
}

/// Why a text is no join token. No variant repeats the secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    #[error("a join token begins with \"SWMTKN-1-\", this one with {got:?}")]
    Prefix { got: String },
    #[error(
        "this join token is for a FIPS-mode cluster (SWMTKN-2), which is not supported; a join token begins with \"SWMTKN-1-\""
    )]
    Fips,
    #[error(
        "the join token's {part} has {got} characters instead of {expected}; was it copied whole?"
    )]
    Length {
        part: &'static str,
        got: usize,
        expected: usize,
    },
    #[error("the join token's {part} has {got:?} at character {position}; allowed are 0-9 and a-z")]
    Character {
        part: &'static str,
        /// Counted from 1 within the part.
        position: usize,
        got: char,
    },
    #[error("the join token's {part} stands for a number too large to be one; was it mistyped?")]
    TooLarge { part: &'static str },
}

impl Token {
    /// A new token for the cluster whose root has this digest ([`super::Ca::digest`]).
    pub fn generate(digest: [u8; 32]) -> Self {
        Self {
            digest,
            secret: rand::random(),
        }
    }

    /// Reads a token; white space around it is allowed.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return Err(wrong_prefix(text));
        };
        let (digest, secret) = rest.split_once('-').unwrap_or((rest, ""));
        Ok(Self {
            digest: part("digest", digest, base36::WIDTH_32)?,
            secret: part("secret", secret, base36::WIDTH_16)?,
        })
    }

    /// SHA-256 of the root certificate's DER.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether both carry the same secret, in constant time. The digests may
    /// differ: they do while the root is being rotated.
    pub fn same_secret(&self, other: &Self) -> bool {
        self.secret.ct_eq(&other.secret).into()
    }

    /// The same secret for another root, for when the root is rotated.
    #[must_use]
    pub fn with_digest(&self, digest: [u8; 32]) -> Self {
        Self {
            digest,
            secret: self.secret,
        }
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        (self.digest.ct_eq(&other.digest) & self.secret.ct_eq(&other.secret)).into()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = base36::encode(&self.digest, base36::WIDTH_32);
        let secret = base36::encode(&self.secret, base36::WIDTH_16);
        write!(f, "{PREFIX}{digest}-{secret}")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = base36::encode(&self.digest, base36::WIDTH_32);
        write!(f, "Token({PREFIX}{digest}-…)")
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::parse(text)
    }
}

fn wrong_prefix(text: &str) -> TokenError {
    if text.starts_with("SWMTKN-2-") {
        return TokenError::Fips;
    }
    TokenError::Prefix {
        got: text.chars().take(PREFIX.len()).collect(),
    }
}

fn part<const N: usize>(
    name: &'static str,
    text: &str,
    expected: usize,
) -> Result<[u8; N], TokenError> {
    let got = text.chars().count();
    if got != expected {
        return Err(TokenError::Length {
            part: name,
            got,
            expected,
        });
    }
    base36::decode(text).map_err(|error| match error {
        DecodeError::Character { position, got } => TokenError::Character {
            part: name,
            position: position + 1,
            got,
        },
        DecodeError::TooLarge => TokenError::TooLarge { part: name },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_survives_being_written_and_read(digest: [u8; 32], secret: [u8; 16]) {
            let token = Token { digest, secret };
            let text = token.to_string();
            prop_assert_eq!(Token::parse(&text), Ok(token));
        }

        #[test]
        fn every_truncation_is_refused(digest: [u8; 32], secret: [u8; 16], cut in 0_usize..85) {
            let text = Token { digest, secret }.to_string();
            prop_assert!(Token::parse(&text[..cut]).is_err());
            prop_assert!(Token::parse(&text[cut + 1..]).is_err());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = Token::parse(&text);
            let _ = Token::parse(&format!("{PREFIX}{text}"));
        }
    }

    #[test]
    fn the_text_has_dockers_shape() {
        let text = Token::generate([7; 32]).to_string();
        let parts: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(parts[..2], ["SWMTKN", "1"]);
        assert_eq!(lengths[2..], [50, 25]);
        assert_eq!(text.len(), 85);
    }

    #[test]
    fn a_token_as_docker_prints_it_is_read_and_written_back() {
        let text =
            "SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c";
        assert_eq!(Token::parse(text).unwrap().to_string(), text);
        assert!(Token::parse(&format!("  {text}\n")).is_ok());
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        let good = Token::generate([1; 32]).to_string();
        let error = |text: &str| Token::parse(text).unwrap_err();
        assert_eq!(
            error("hello"),
            TokenError::Prefix {
                got: "hello".to_owned()
            }
        );
        assert_eq!(error(&good.replace("-1-", "-2-")), TokenError::Fips);
        assert_eq!(
            error(&good[..84]),
            TokenError::Length {
                part: "secret",
                got: 24,
                expected: 25
            }
        );
        assert_eq!(
            error(&format!("{}A", &good[..84])),
            TokenError::Character {
                part: "secret",
                position: 25,
                got: 'A'
            }
        );
        assert_eq!(
            error(&format!("SWMTKN-1-{}-{}", "z".repeat(50), "0".repeat(25))),
            TokenError::TooLarge { part: "digest" }
        );
        assert!(error(&format!("{good}-more")).to_string().contains("25"));
    }

    #[test]
    fn tokens_of_one_cluster_share_the_digest_only() {
        let (one, two) = (Token::generate([3; 32]), Token::generate([3; 32]));
        assert_eq!(one.digest(), two.digest());
        assert!(!one.same_secret(&two));
        assert_ne!(one, two);
        assert!(one.same_secret(&one.with_digest([4; 32])));
    }

    #[test]
    fn debug_hides_the_secret() {
        let token = Token::generate([3; 32]);
        let text = token.to_string();
        let secret = text.rsplit('-').next().unwrap();
        assert!(!format!("{token:?}").contains(secret));
    }
}
