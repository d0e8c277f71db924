//! What a node needs to be itself: certificate, key, and the roots it trusts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use thiserror::Error;

use super::key::{KeyError, NodeKey};
use super::peer::{self, CertificateError, PeerIdentity};
use super::{BACKDATE, Role, files, provider, sha256};

/// Key and chain together, so that a crash cannot leave one without the other.
const NODE_FILE: &str = "node.pem";
const ROOTS_FILE: &str = "ca.pem";

/// A node's certificate chain, its key, and the roots it trusts.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    subject: PeerIdentity,
    chain_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: NodeKey,
    roots_pem: String,
    roots: Vec<CertificateDer<'static>>,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// Why an identity could not be put together, read or written.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("{what} holds no certificate")]
    Empty { what: &'static str },
    #[error("{what} is not valid PEM: {reason}")]
    Pem { what: &'static str, reason: String },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the key is not the one the certificate was issued for")]
    KeyOfAnother,
    #[error("the certificate was not issued by a root that this node trusts: {reason}")]
    Untrusted { reason: String },
    #[error("{path} cannot be {action}")]
    File {
        path: PathBuf,
        action: &'static str,
        #[source]
        source: io::Error,
    },
}

impl NodeIdentity {
    /// Checks that key, chain and roots belong together. Whether the certificate
    /// is still valid is not checked: see `not_after`.
    ///
    /// `chain_pem`: the node's certificate first. `roots_pem`: one or more roots.
    pub fn from_pem(chain_pem: &str, key: NodeKey, roots_pem: &str) -> Result<Self, IdentityError> {
        let chain = certificates("the certificate chain", chain_pem)?;
        let roots = certificates("the list of roots", roots_pem)?;
        let parsed = peer::parse(&chain[0])?;
        let subject = PeerIdentity::from_certificate(&parsed)?;
        let not_before = parsed.validity().not_before.to_datetime().into();
        let not_after = parsed.validity().not_after.to_datetime().into();
        let identity = Self {
            subject,
            chain_pem: chain_pem.to_owned(),
            key,
            roots_pem: roots_pem.to_owned(),
            not_before,
            not_after,
            chain,
            roots,
        };
        identity.certified_key()?;
        identity.check_issuer()?;
        Ok(identity)
    }

    pub fn node_id(&self) -> &str {
        &self.subject.node_id
    }

    pub fn role(&self) -> Role {
        self.subject.role
    }

    pub fn cluster_id(&self) -> &str {
        &self.subject.cluster
    }

    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    pub fn roots_pem(&self) -> &str {
        &self.roots_pem
    }

    /// Whether a root with this SHA-256 is among those trusted. One who joins
    /// asks this with the digest of its token before it keeps what it was sent.
    pub fn trusts(&self, digest: &[u8; 32]) -> bool {
        self.roots.iter().any(|root| sha256(root) == *digest)
    }

    /// The moment from which others refuse the certificate.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// When to renew: at 50 to 80 % of the time from signing to expiry, as
    /// `fraction` goes from 0 to 1. Drawn at random by the caller, so that nodes
    /// that joined together do not renew together.
    pub fn renew_at(&self, fraction: f64) -> SystemTime {
        let signed = (self.not_before + BACKDATE).min(self.not_after);
        let life = self
            .not_after
            .duration_since(signed)
            .unwrap_or(Duration::ZERO);
        signed + life.mul_f64(0.5 + 0.3 * fraction.clamp(0.0, 1.0))
    }

    /// Writes two files into `directory`, which must exist: the key with the
    /// chain, readable by the owner only, and the roots. Each is replaced whole
    /// and is on disk when this returns. Blocks.
    pub fn save(&self, directory: &Path) -> Result<(), IdentityError> {
        let write = |name: &str, mode, contents: &str| {
            files::write_atomically(directory, name, mode, contents).map_err(|source| {
                IdentityError::File {
                    path: directory.join(name),
                    action: "written",
                    source,
                }
            })
        };
        // Roots first: new roots with the old certificate still work.
        write(ROOTS_FILE, 0o644, &self.roots_pem)?;
        let node = format!("{}{}", self.key.to_pem(), self.chain_pem);
        write(NODE_FILE, 0o600, &node)
    }

    /// What `save` wrote, or `None` when nothing was saved there. Blocks.
    pub fn load(directory: &Path) -> Result<Option<Self>, IdentityError> {
        let read = |name: &str| {
            let path = directory.join(name);
            files::read_if_present(&path).map_err(|source| IdentityError::File {
                path,
                action: "read",
                source,
            })
        };
        let Some(node) = read(NODE_FILE)? else {
            return Ok(None);
        };
        let roots = read(ROOTS_FILE)?.unwrap_or_default();
        let start = node.find("-----BEGIN CERTIFICATE").unwrap_or(node.len());
        let (key, chain) = node.split_at(start);
        Self::from_pem(chain, NodeKey::from_pem(key)?, &roots).map(Some)
    }

    pub(crate) fn subject(&self) -> &PeerIdentity {
        &self.subject
    }

    pub(crate) fn root_store(&self) -> Result<Arc<RootCertStore>, IdentityError> {
        let mut store = RootCertStore::empty();
        for root in &self.roots {
            store.add(root.clone()).map_err(untrusted)?;
        }
        Ok(Arc::new(store))
    }

    /// The chain with its key, as the handshake wants it.
    pub(crate) fn certified_key(&self) -> Result<CertifiedKey, IdentityError> {
        CertifiedKey::from_der(self.chain.clone(), self.key.private_der(), &provider())
            .map_err(|_| IdentityError::KeyOfAnother)
    }

    /// As of the certificate's first second: an expired one still loads, so that
    /// whoever loads it can say so.
    fn check_issuer(&self) -> Result<(), IdentityError> {
        let leaf = ParsedCertificate::try_from(&self.chain[0]).map_err(untrusted)?;
        let first_second = self
            .not_before
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &*self.root_store()?,
            &self.chain[1..],
            UnixTime::since_unix_epoch(first_second),
            provider().signature_verification_algorithms.all,
        )
        .map_err(untrusted)
    }
}

fn certificates(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let list = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| IdentityError::Pem {
            what,
            reason: error.to_string(),
        })?;
    if list.is_empty() {
        return Err(IdentityError::Empty { what });
    }
    Ok(list)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that map_err wants"
)]
fn untrusted(error: rustls::Error) -> IdentityError {
    IdentityError::Untrusted {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Ca;
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn identity(ca: &Ca, now: SystemTime) -> NodeIdentity {
        let key = NodeKey::generate().unwrap();
        let chain = ca
            .issue(
                &key.csr().unwrap(),
                "n1",
                Role::Manager,
                "c1",
                10 * DAY,
                now,
            )
            .unwrap();
        NodeIdentity::from_pem(&chain, key, ca.root_pem()).unwrap()
    }

    #[test]
    fn an_identity_survives_its_directory_and_the_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        assert!(NodeIdentity::load(directory.path()).unwrap().is_none());
        let ca = Ca::create("c1", SystemTime::now()).unwrap();
        let saved = identity(&ca, SystemTime::now());
        saved.save(directory.path()).unwrap();
        saved.save(directory.path()).unwrap();

        let loaded = NodeIdentity::load(directory.path()).unwrap().unwrap();
        assert_eq!(loaded.subject(), saved.subject());
        assert_eq!(loaded.chain_pem(), saved.chain_pem());
        assert_eq!(loaded.not_after(), saved.not_after());
        assert!(loaded.trusts(&ca.digest()));
        let mode = std::fs::metadata(directory.path().join(NODE_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let names = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 2, "temporary files are gone");
    }

    #[test]
    fn a_key_or_root_of_another_is_refused() {
        let now = SystemTime::now();
        let (ca, other) = (
            Ca::create("c1", now).unwrap(),
            Ca::create("c1", now).unwrap(),
        );
        let mine = identity(&ca, now);
        let stranger = NodeKey::generate().unwrap();
        assert!(matches!(
            NodeIdentity::from_pem(mine.chain_pem(), stranger, ca.root_pem()),
            Err(IdentityError::KeyOfAnother)
        ));
        assert!(matches!(
            NodeIdentity::from_pem(mine.chain_pem(), mine.key().clone(), other.root_pem()),
            Err(IdentityError::Untrusted { .. })
        ));
        let both = format!("{}{}", other.root_pem(), ca.root_pem());
        let trusting = NodeIdentity::from_pem(mine.chain_pem(), mine.key().clone(), &both).unwrap();
        assert!(trusting.trusts(&other.digest()));
    }

    #[test]
    fn an_expired_certificate_still_loads() {
        let long_ago = SystemTime::now() - 100 * DAY;
        let ca = Ca::create("c1", long_ago).unwrap();
        assert!(identity(&ca, long_ago).not_after() < SystemTime::now());
    }

    #[test]
    fn renewal_falls_between_half_and_four_fifths_of_the_life() {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let ca = Ca::create("c1", now).unwrap();
        let identity = identity(&ca, now);
        assert_eq!(identity.renew_at(0.0), now + 5 * DAY);
        assert_eq!(identity.renew_at(1.0), now + 8 * DAY);
        assert_eq!(identity.renew_at(7.0), now + 8 * DAY);
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(NODE_FILE), "garbage").unwrap();
        assert!(matches!(
            NodeIdentity::load(directory.path()),
            Err(IdentityError::Key(_))
        ));
        std::fs::remove_file(directory.path().join(NODE_FILE)).unwrap();
        std::fs::create_dir(directory.path().join(NODE_FILE)).unwrap();
        let error = NodeIdentity::load(directory.path()).unwrap_err();
        assert!(error.to_string().contains(NODE_FILE));
    }
}
