//! Whether the node that answered is the one we called.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::identity::{PeerIdentity, Role, provider, server_name, sha256};

/// Whom we expect at the other end.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// This node of our cluster.
    Node(String),
    /// Any manager of our cluster.
    Manager,
    /// Any manager of the cluster whose root has this SHA-256.
    ManagerUnder([u8; 32]),
}

/// Whom we trust, taken from our own identity.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) cluster: String,
}

/// What was wrong with the certificate that we were shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    NotTrusted { reason: String },
    WrongNode { got: String },
    NotManager { got: String },
    WrongRoot,
}

/// Judges one server's certificate and keeps what it found, because TLS itself
/// only tells that something was wrong.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    expect: Expect,
    /// `None` only with [`Expect::ManagerUnder`].
    trust: Option<Trust>,
    finding: OnceLock<Finding>,
}

impl Expect {
    /// The server name to ask for.
    pub(crate) fn server_name(&self) -> String {
        match self {
            Self::Node(id) => server_name(id),
            Self::Manager | Self::ManagerUnder(_) => "manager".to_owned(),
        }
    }
}

impl PeerVerifier {
    pub(crate) fn new(expect: Expect, trust: Option<Trust>) -> Arc<Self> {
        Arc::new(Self {
            expect,
            trust,
            finding: OnceLock::new(),
        })
    }

    pub(crate) fn finding(&self) -> Option<&Finding> {
        self.finding.get()
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Finding> {
        match &self.expect {
            Expect::ManagerUnder(digest) => {
                let roots = pinned_root(intermediates, digest)?;
                verify_chain(end_entity, intermediates, &roots, now)?;
                must_be_manager(&identity(end_entity)?)
            }
            Expect::Manager => must_be_manager(&self.member(end_entity, intermediates, now)?),
            Expect::Node(expected) => {
                let peer = self.member(end_entity, intermediates, now)?;
                if peer.node_id == *expected {
                    return Ok(());
                }
                Err(Finding::WrongNode { got: peer.node_id })
            }
        }
    }

    fn member(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<PeerIdentity, Finding> {
        let trust = self.trust.as_ref().ok_or_else(|| not_trusted("no roots"))?;
        verify_chain(end_entity, intermediates, &trust.roots, now)?;
        let peer = identity(end_entity)?;
        if peer.cluster != trust.cluster {
            return Err(not_trusted(format!("it is of cluster {}", peer.cluster)));
        }
        Ok(peer)
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The server name was derived from `expect`, which is what we check.
        self.judge(end_entity, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|finding| {
                let alert = finding.alert();
                self.finding.get_or_init(|| finding);
                alert
            })
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Finding {
    fn alert(&self) -> Error {
        Error::InvalidCertificate(match self {
            Self::NotTrusted { .. } | Self::WrongRoot => CertificateError::UnknownIssuer,
            Self::WrongNode { .. } => CertificateError::NotValidForName,
            Self::NotManager { .. } => CertificateError::ApplicationVerificationFailure,
        })
    }
}

/// The root with this digest, out of what the server itself sent. That it sent
/// the root proves nothing; that its own certificate hangs on it does.
fn pinned_root(sent: &[CertificateDer<'_>], digest: &[u8; 32]) -> Result<RootCertStore, Finding> {
    let root = sent
        .iter()
        .find(|certificate| sha256(certificate) == *digest)
        .ok_or(Finding::WrongRoot)?;
    let mut store = RootCertStore::empty();
    store
        .add(root.clone().into_owned())
        .map_err(|error| not_trusted(error.to_string()))?;
    Ok(store)
}

fn verify_chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
) -> Result<(), Finding> {
    ParsedCertificate::try_from(end_entity)
        .and_then(|parsed| {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                provider().signature_verification_algorithms.all,
            )
        })
        .map_err(|error| not_trusted(error.to_string()))
}

fn identity(end_entity: &CertificateDer<'_>) -> Result<PeerIdentity, Finding> {
    PeerIdentity::from_chain(std::slice::from_ref(end_entity))
        .map_err(|error| not_trusted(error.to_string()))
}

/// A worker must not pass for a manager: it would learn join secrets.
fn must_be_manager(peer: &PeerIdentity) -> Result<(), Finding> {
    if peer.role == Role::Manager {
        return Ok(());
    }
    Err(Finding::NotManager {
        got: peer.node_id.clone(),
    })
}

fn not_trusted(reason: impl Into<String>) -> Finding {
    Finding::NotTrusted {
        reason: reason.into(),
    }
}
