//! The one cryptography provider, named explicitly everywhere.
//!
//! rustls panics when two providers are compiled in and none is chosen for the
//! process, so nothing in this crate asks for the process default.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use sha2::{Digest, Sha256};

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// aws-lc-rs, with the post-quantum key exchange first.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
