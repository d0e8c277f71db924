//! The cluster's certificate authority.
//!
//! Managers hold it; `issue` is how a node gets and renews its certificate.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use super::name::{NameError, check, server_name, spiffe_id};
use super::{BACKDATE, Role, peer, sha256};

const ROOT_VALIDITY: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// Longest signing request that is looked at, bytes of PEM.
const MAX_CSR: usize = 16 * 1024;

/// A root certificate and its key.
pub struct Ca {
    root_pem: String,
    root: CertificateDer<'static>,
    root_ends: SystemTime,
    key: KeyPair,
}

/// Why a certificate authority could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CaError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the root certificate cannot be used: {reason}")]
    Root { reason: String },
    #[error("the root's key cannot be used: {reason}")]
    Key { reason: String },
    #[error("the key is not that of the root certificate")]
    KeyOfAnother,
}

/// Why a certificate was not issued.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IssueError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the signing request cannot be used: {reason}")]
    Request { reason: String },
    #[error("signing failed: {reason}")]
    Sign { reason: String },
}

impl Ca {
    /// A new root on P-256, named swarm-ca, valid from an hour before `now` for 20 years.
    pub fn create(cluster_id: &str, now: SystemTime) -> Result<Self, CaError> {
        check("cluster id", cluster_id)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| CaError::Key {
            reason: error.to_string(),
        })?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, cluster_id);
        params
            .distinguished_name
            .push(DnType::CommonName, "swarm-ca");
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + ROOT_VALIDITY).into();
        params.serial_number = Some(random_serial());
        // One level below it, so that it can cross-sign its successor.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).map_err(|error| CaError::Root {
            reason: error.to_string(),
        })?;
        Self::from_pem(&root.pem(), &key.serialize_pem())
    }

    /// From what `root_pem` and `key_pem` gave.
    pub fn from_pem(root_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let unusable = |reason: String| CaError::Root { reason };
        let root = CertificateDer::from_pem_slice(root_pem.as_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| CaError::Key {
            reason: error.to_string(),
        })?;
        let parsed = peer::parse(&root).map_err(|error| unusable(error.to_string()))?;
        if !parsed.is_ca() {
            return Err(unusable("it may not sign others".to_owned()));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(CaError::KeyOfAnother);
        }
        let root_ends = parsed.validity().not_after.to_datetime().into();
        Ok(Self {
            root_pem: root_pem.to_owned(),
            root_ends,
            root,
            key,
        })
    }

    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root's private key. Whoever has it can be any node.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// SHA-256 of the root's DER, as it stands in join tokens.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.root)
    }

    /// Signs the public key in `csr_pem` as that of `node_id`, valid from an hour
    /// before `now` until `validity` after it, but not longer than the root.
    ///
    /// Of the request only the key is used. Gives the chain in PEM, the node's
    /// certificate first and the root last: one who joins needs to see the root.
    pub fn issue(
        &self,
        csr_pem: &str,
        node_id: &str,
        role: Role,
        cluster_id: &str,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, IssueError> {
        check("node id", node_id)?;
        check("cluster id", cluster_id)?;
        let request = read_request(csr_pem)?;
        let mut params = leaf_params(node_id, role, cluster_id)?;
        params.not_before = (now - BACKDATE).into();
        let end = now.checked_add(validity).unwrap_or(self.root_ends);
        params.not_after = end.min(self.root_ends).into();
        let certificate = Issuer::from_ca_cert_der(&self.root, &self.key)
            .and_then(|issuer| params.signed_by(&request.public_key, &issuer))
            .map_err(sign_error)?;
        Ok(format!("{}{}", certificate.pem(), self.root_pem))
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca")
            .field("root_pem", &self.root_pem)
            .finish_non_exhaustive()
    }
}

/// Checks that whoever made the request holds the key in it.
fn read_request(csr_pem: &str) -> Result<CertificateSigningRequestParams, IssueError> {
    let unusable = |reason: String| IssueError::Request { reason };
    if csr_pem.len() > MAX_CSR {
        return Err(unusable(format!(
            "it has {} bytes, allowed are {MAX_CSR}",
            csr_pem.len()
        )));
    }
    let request = CertificateSigningRequestParams::from_pem(csr_pem)
        .map_err(|error| unusable(error.to_string()))?;
    let key = &request.public_key;
    // 0x04 and two coordinates of 32 bytes: an uncompressed point on P-256.
    let is_p256 = *key.algorithm() == PKCS_ECDSA_P256_SHA256
        && key.der_bytes().len() == 65
        && key.der_bytes()[0] == 4;
    if !is_p256 {
        return Err(unusable("its key is not a P-256 key".to_owned()));
    }
    Ok(request)
}

fn leaf_params(
    node_id: &str,
    role: Role,
    cluster_id: &str,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, cluster_id);
    subject.push(DnType::OrganizationalUnitName, role.unit());
    subject.push(DnType::CommonName, node_id);
    params.distinguished_name = subject;
    params.subject_alt_names = vec![
        SanType::DnsName(server_name(node_id).try_into().map_err(sign_error)?),
        SanType::URI(
            spiffe_id(cluster_id, node_id)
                .try_into()
                .map_err(sign_error)?,
        ),
    ];
    params.serial_number = Some(random_serial());
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    Ok(params)
}

/// Positive, at most 20 bytes and not to be guessed, as RFC 5280 and common sense ask.
fn random_serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that map_err wants"
)]
fn sign_error(error: rcgen::Error) -> IssueError {
    IssueError::Sign {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeKey, PeerIdentity};
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn leaf(chain_pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(chain_pem.as_bytes()).unwrap()
    }

    fn issue(ca: &Ca, csr: &str) -> Result<String, IssueError> {
        ca.issue(csr, "node-1", Role::Worker, "c1", DAY, SystemTime::now())
    }

    #[test]
    fn a_root_survives_its_pem() {
        let ca = Ca::create("c1", SystemTime::now()).unwrap();
        let again = Ca::from_pem(ca.root_pem(), &ca.key_pem()).unwrap();
        assert_eq!(ca.digest(), again.digest());
        let other = Ca::create("c1", SystemTime::now()).unwrap();
        assert_eq!(
            Ca::from_pem(ca.root_pem(), &other.key_pem()).unwrap_err(),
            CaError::KeyOfAnother
        );
    }

    #[test]
    fn a_root_lasts_twenty_years_and_is_named_swarm_ca() {
        let now = SystemTime::now();
        let ca = Ca::create("c1", now).unwrap();
        let parsed = peer::parse(&ca.root).unwrap();
        let name = parsed.subject().iter_common_name().next().unwrap();
        assert_eq!(name.as_str().unwrap(), "swarm-ca");
        assert!(ca.root_ends > now + Duration::from_secs(7299 * 24 * 3600));
        assert!(parsed.is_ca());
    }

    #[test]
    fn what_the_request_asks_to_be_is_ignored() {
        let ca = Ca::create("c1", SystemTime::now()).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut wish = CertificateParams::new(vec!["manager-1.swarmr".to_owned()]).unwrap();
        wish.distinguished_name
            .push(DnType::CommonName, "manager-1");
        wish.distinguished_name
            .push(DnType::OrganizationalUnitName, "swarm-manager");
        wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wish.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let csr = wish.serialize_request(&key).unwrap().pem().unwrap();

        let certificate = leaf(&issue(&ca, &csr).unwrap());
        let parsed = peer::parse(&certificate).unwrap();
        assert!(!parsed.is_ca());
        assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
        assert_eq!(
            PeerIdentity::from_certificate(&parsed),
            Ok(PeerIdentity {
                node_id: "node-1".to_owned(),
                role: Role::Worker,
                cluster: "c1".to_owned(),
            })
        );
        assert!(!String::from_utf8_lossy(&certificate).contains("manager-1"));
    }

    #[test]
    fn a_request_signed_by_another_key_or_of_another_kind_is_refused() {
        let ca = Ca::create("c1", SystemTime::now()).unwrap();
        assert!(matches!(
            issue(&ca, "nonsense"),
            Err(IssueError::Request { .. })
        ));
        assert!(matches!(
            issue(&ca, &"x".repeat(MAX_CSR + 1)),
            Err(IssueError::Request { .. })
        ));
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let csr = CertificateParams::default()
            .serialize_request(&p384)
            .unwrap();
        assert!(matches!(
            issue(&ca, &csr.pem().unwrap()),
            Err(IssueError::Request { .. })
        ));
    }

    #[test]
    fn ids_that_could_be_read_as_others_are_refused() {
        let ca = Ca::create("c1", SystemTime::now()).unwrap();
        let csr = NodeKey::generate().unwrap().csr().unwrap();
        for bad in ["", "a.b", "a/b", "A"] {
            let got = ca.issue(&csr, bad, Role::Worker, "c1", DAY, SystemTime::now());
            assert!(matches!(got, Err(IssueError::Name(_))), "{bad:?}");
        }
        assert!(Ca::create("a/b", SystemTime::now()).is_err());
    }

    #[test]
    fn a_certificate_never_outlives_its_root_and_serials_differ() {
        let now = SystemTime::now();
        let ca = Ca::create("c1", now).unwrap();
        let csr = NodeKey::generate().unwrap().csr().unwrap();
        let chain = ca
            .issue(&csr, "node-1", Role::Worker, "c1", Duration::MAX, now)
            .unwrap();
        let (one, two) = (leaf(&chain), leaf(&issue(&ca, &csr).unwrap()));
        let (one, two) = (peer::parse(&one).unwrap(), peer::parse(&two).unwrap());
        let ends: SystemTime = one.validity().not_after.to_datetime().into();
        assert_eq!(ends, ca.root_ends);
        assert_ne!(one.raw_serial(), two.raw_serial());
    }
}
