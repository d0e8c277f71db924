//! A node's private key, which it makes itself and never sends.

use std::fmt;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

/// Why a key could not be made, read or used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("node key: {reason}; expected a P-256 private key in PKCS #8 PEM")]
pub struct KeyError {
    pub reason: String,
}

/// A P-256 key pair. Cheap to clone; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct NodeKey {
    pair: Arc<KeyPair>,
}

impl NodeKey {
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map(Self::from_pair)
            .map_err(key_error)
    }

    /// From PKCS #8 PEM, as `to_pem` gives it.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pair = KeyPair::from_pem(pem).map_err(key_error)?;
        if !pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(KeyError {
                reason: "another kind of key".to_owned(),
            });
        }
        Ok(Self::from_pair(pair))
    }

    /// The private key as PKCS #8 PEM.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// A signing request in PEM: the public key and a proof that we hold the
    /// private one. It names nobody, since the signer decides who we are.
    pub fn csr(&self) -> Result<String, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .serialize_request(&*self.pair)
            .and_then(|request| request.pem())
            .map_err(key_error)
    }

    pub(crate) fn private_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der()).into()
    }

    fn from_pair(pair: KeyPair) -> Self {
        Self {
            pair: Arc::new(pair),
        }
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(P-256)")
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that map_err wants"
)]
fn key_error(error: rcgen::Error) -> KeyError {
    KeyError {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_pem_and_never_shows_in_debug() {
        let key = NodeKey::generate().unwrap();
        let again = NodeKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(key.private_der(), again.private_der());
        assert_eq!(format!("{key:?}"), "NodeKey(P-256)");
    }

    #[test]
    fn text_that_is_no_key_is_refused() {
        assert!(NodeKey::from_pem("").is_err());
        assert!(
            NodeKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
                .is_err()
        );
    }
}
