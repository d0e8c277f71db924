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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;
    use rustls::pki_types::pem::PemObject;

    use super::super::{Ca, NodeKey};
    use super::*;

    fn certificate() -> CertificateDer<'static> {
        let now = SystemTime::now();
        let csr = NodeKey::generate().unwrap().csr().unwrap();
        let chain = Ca::create("c1", now)
            .unwrap()
            .issue(&csr, "n1", Role::Worker, "c1", Duration::from_secs(60), now)
            .unwrap();
        CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_says_who_its_holder_is() {
        let identity = PeerIdentity::from_chain(&[certificate()]).unwrap();
        assert_eq!(identity.node_id, "n1");
        assert_eq!(identity.role, Role::Worker);
        assert_eq!(identity.cluster, "c1");
        assert_eq!(
            PeerIdentity::from_chain(&[]),
            Err(CertificateError::Missing)
        );
    }

    #[test]
    fn a_subject_that_its_names_do_not_bear_out_is_refused() {
        let mut der = certificate().to_vec();
        let subject = der.windows(2).position(|pair| pair == b"n1").unwrap();
        der[subject..subject + 2].copy_from_slice(b"n2");
        assert_eq!(
            PeerIdentity::from_chain(&[der.into()]),
            Err(CertificateError::Names {
                subject: "O=c1, OU=swarm-worker, CN=n2".to_owned()
            })
        );
    }

    #[test]
    fn a_root_names_no_node() {
        let ca = Ca::create("c1", SystemTime::now()).unwrap();
        let root = CertificateDer::from_pem_slice(ca.root_pem().as_bytes()).unwrap();
        assert_eq!(
            PeerIdentity::from_chain(&[root]),
            Err(CertificateError::Field { field: "role" })
        );
    }

    proptest! {
        #[test]
        fn damaged_certificates_never_make_the_reader_panic(
            at in 0_usize..400,
            byte: u8,
            cut in 0_usize..500,
        ) {
            let mut der = certificate().to_vec();
            let at = at % der.len();
            der[at] = byte;
            der.truncate(cut);
            let _ = PeerIdentity::from_chain(&[der.into()]);
        }
    }
}
