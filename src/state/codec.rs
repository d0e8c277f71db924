//! Commands, replies and snapshots as bytes: a version byte, then MessagePack with named fields,
//! which reads both ways between neighbouring versions.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of everything encoded here.
const VERSION: u8 = 1;

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("no bytes")]
    Empty,
    #[error("format version {got}, this build reads {VERSION}: upgrade this node")]
    Version { got: u8 },
    #[error("malformed")]
    Malformed(#[from] rmp_serde::decode::Error),
}

/// Encodes; fails only for types that MessagePack cannot write, which ours are not.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value)?;
    Ok(bytes)
}

/// Decodes what [`encode`] wrote.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&VERSION, body)) => Ok(rmp_serde::from_slice(body)?),
        Some((&got, _)) => Err(DecodeError::Version { got }),
    }
}
