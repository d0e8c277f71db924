//! What this node shows of itself and whom it trusts, replaceable while in use.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use crate::identity::{IdentityError, NodeIdentity, provider};

/// A shared cell with the node's identity, or none yet. Handshakes that begin
/// after `replace` show the new certificate; connections that are up stay.
#[derive(Clone)]
pub struct Credentials {
    material: Arc<ArcSwapOption<Material>>,
}

/// An identity and what handshakes need of it, made once.
pub(crate) struct Material {
    pub(crate) identity: Arc<NodeIdentity>,
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) client_verifier: Arc<dyn ClientCertVerifier>,
}

impl Credentials {
    pub fn new(identity: NodeIdentity) -> Result<Self, IdentityError> {
        let credentials = Self::anonymous();
        credentials.replace(identity)?;
        Ok(credentials)
    }

    /// Of a node that has no certificate yet: it can dial to join, and refuses
    /// to be dialled.
    pub fn anonymous() -> Self {
        Self {
            material: Arc::new(ArcSwapOption::empty()),
        }
    }

    /// A renewed certificate, a new role, more or fewer roots.
    pub fn replace(&self, identity: NodeIdentity) -> Result<(), IdentityError> {
        let material = Material::new(identity)?;
        self.material.store(Some(Arc::new(material)));
        Ok(())
    }

    pub fn identity(&self) -> Option<Arc<NodeIdentity>> {
        self.current()
            .map(|material| Arc::clone(&material.identity))
    }

    pub(crate) fn current(&self) -> Option<Arc<Material>> {
        self.material.load_full()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = self.current();
        let subject = material
            .as_ref()
            .map(|material| material.identity.subject());
        f.debug_tuple("Credentials").field(&subject).finish()
    }
}

impl Material {
    fn new(identity: NodeIdentity) -> Result<Self, IdentityError> {
        let certified = Arc::new(identity.certified_key()?);
        let roots = identity.root_store()?;
        let client_verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
                .clear_root_hint_subjects()
                .allow_unauthenticated()
                .build()
                .map_err(|error| IdentityError::Untrusted {
                    reason: error.to_string(),
                })?;
        Ok(Self {
            identity: Arc::new(identity),
            certified,
            roots,
            client_verifier,
        })
    }
}
