//! Who a certificate says its holder is.

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

use super::name::{check, server_name, spiffe_id};
use super::role::Role;

/// The identity in a certificate that was verified before. Reading it proves
/// nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    pub node_id: String,
    pub role: Role,
    /// The id of the cluster whose root signed.
    pub cluster: String,
}

/// Why a certificate names no node.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    #[error("no certificate was shown")]
    Missing,
    #[error("the certificate cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("the certificate has no usable {field}")]
    Field { field: &'static str },
    #[error(
        "the certificate's subject is {subject}, but its alternative names are not those of that node"
    )]
    Names { subject: String },
}

impl PeerIdentity {
    /// Reads the first certificate of `chain`. Subject and alternative names
    /// must agree, so that no two readers see two different nodes.
    pub fn from_chain(chain: &[CertificateDer<'_>]) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::Missing)?;
        Self::from_certificate(&parse(leaf)?)
    }

    pub(crate) fn from_certificate(
        certificate: &X509Certificate<'_>,
    ) -> Result<Self, CertificateError> {
        let subject = certificate.subject();
        let identity = Self {
            node_id: only(subject.iter_common_name(), "common name")?,
            role: Role::from_unit(&only(subject.iter_organizational_unit(), "role")?)
                .ok_or(CertificateError::Field { field: "role" })?,
            cluster: only(subject.iter_organization(), "cluster id")?,
        };
        let unusable = |field| move |_| CertificateError::Field { field };
        check("node id", &identity.node_id).map_err(unusable("common name"))?;
        check("cluster id", &identity.cluster).map_err(unusable("cluster id"))?;
        if !identity.is_named_by(certificate) {
            return Err(CertificateError::Names {
                subject: show(subject),
            });
        }
        Ok(identity)
    }

    fn is_named_by(&self, certificate: &X509Certificate<'_>) -> bool {
        let Ok(Some(names)) = certificate.subject_alternative_name() else {
            return false;
        };
        let dns = server_name(&self.node_id);
        let uri = spiffe_id(&self.cluster, &self.node_id);
        let names = &names.value.general_names;
        let expected = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(got) => *got == dns,
            GeneralName::URI(got) => *got == uri,
            _ => false,
        };
        names.len() == 2 && names.iter().all(expected)
    }
}

pub(crate) fn parse<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertificateError> {
    let (rest, certificate) =
        X509Certificate::from_der(der.as_ref()).map_err(|error| CertificateError::Unreadable {
            reason: error.to_string(),
        })?;
    if !rest.is_empty() {
        return Err(CertificateError::Unreadable {
            reason: format!("{} bytes follow it", rest.len()),
        });
    }
    Ok(certificate)
}

/// The one value of a subject field: a field that stands twice could be read
/// as either.
fn only<'a>(
    mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
    field: &'static str,
) -> Result<String, CertificateError> {
    match (values.next(), values.next()) {
        (Some(value), None) => value
            .as_str()
            .map(str::to_owned)
            .map_err(|_| CertificateError::Field { field }),
        _ => Err(CertificateError::Field { field }),
    }
}

fn show(name: &X509Name<'_>) -> String {
    name.to_string().escape_debug().to_string()
}
