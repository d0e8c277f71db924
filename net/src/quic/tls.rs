//! TLS settings of both sides: version 1.3 only, no resumption, no early data.
//!
//! A resumed session would skip the check of the certificate, and early data can
//! be replayed; both save a fraction of a millisecond on connections that stand
//! for days.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
};

use super::credentials::Credentials;
use super::verify::PeerVerifier;
use crate::identity::provider;

/// For all protocols at once; certificates and roots are looked up in
/// `credentials` at each handshake.
pub(crate) fn server_config(
    credentials: &Credentials,
    alpns: impl Iterator<Item = &'static str>,
) -> Result<quinn::ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Current(credentials.clone())))
        .with_cert_resolver(Arc::new(Current(credentials.clone())));
    config.alpn_protocols = alpns.map(|alpn| alpn.as_bytes().to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    let quic =
        QuicServerConfig::try_from(config).map_err(|error| Error::General(error.to_string()))?;
    Ok(quinn::ServerConfig::with_crypto(Arc::new(quic)))
}

/// For one dial. Without `credentials`, no certificate is shown.
pub(crate) fn client_config(
    credentials: Option<&Credentials>,
    verifier: Arc<PeerVerifier>,
    alpn: &'static str,
) -> Result<quinn::ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match credentials {
        Some(credentials) => {
            builder.with_client_cert_resolver(Arc::new(Current(credentials.clone())))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    let quic =
        QuicClientConfig::try_from(config).map_err(|error| Error::General(error.to_string()))?;
    Ok(quinn::ClientConfig::new(Arc::new(quic)))
}

/// rustls' questions, answered from whatever the credentials are at the moment.
#[derive(Debug)]
struct Current(Credentials);

impl Current {
    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        self.0
            .current()
            .map(|material| Arc::clone(&material.certified))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }
}

impl ResolvesClientCert for Current {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn has_certs(&self) -> bool {
        self.certified().is_some()
    }
}

/// One verifier for all protocols: no certificate is fine here, a bad one never.
/// Who needs one is the router's decision.
impl ClientCertVerifier for Current {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let material = self
            .0
            .current()
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        material
            .client_verifier
            .verify_client_cert(end_entity, intermediates, now)
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
