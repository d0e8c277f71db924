//! How a restarted node tells its peers that it knows nothing of their connections.
//!
//! A killed process cannot close its connections, and over UDP nobody else does it
//! for it: peers would wait for their idle timeout. QUIC's stateless reset cures
//! that if the process that comes back can prove to be the same node. So the key
//! of that proof is derived from the node's own private key.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::identity::NodeKey;

/// Bytes. Enough that no id is ever used twice: a repeated one would let whoever
/// saw its reset break the later connection.
const CONNECTION_ID_LEN: usize = 12;

/// Resets answer packets larger than themselves, so they amplify nothing, and a
/// manager that restarts owes one to each of thousands of nodes.
const MIN_RESET_INTERVAL: Duration = Duration::from_millis(1);

/// Endpoint settings. Without a key, peers of a process that was killed and
/// restarted fall back to their idle timeout.
pub(crate) fn endpoint_config(key: Option<&NodeKey>) -> EndpointConfig {
    let secret = key.map_or_else(rand::random, derive);
    let mut config = EndpointConfig::new(Arc::new(ResetKey(secret)));
    config
        .cid_generator(|| Box::new(RandomIds))
        .min_reset_interval(MIN_RESET_INTERVAL);
    config
}

fn derive(key: &NodeKey) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"swarmr stateless reset 1")
        .chain_update(key.private_der().secret_der())
        .finalize()
        .into()
}

/// SHA-256 over the secret and the connection id. Peers see only 16 bytes of it,
/// for ids of one length, so a keyed hash needs no more than that.
struct ResetKey([u8; 32]);

impl ResetKey {
    fn tag(&self, data: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.0)
            .chain_update(data)
            .finalize()
            .into()
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.tag(data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let same: bool = self.tag(data).as_slice().ct_eq(signature).into();
        same.then_some(()).ok_or(CryptoError)
    }
}

struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; CONNECTION_ID_LEN]>())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
