//! Signing certificates with the cluster's authority, and judging join tokens.

use std::time::{Duration, SystemTime};

use swarmr_net::identity::{Ca, Role as CertificateRole, Token};

use crate::spec::{NodeId, Role};
use crate::state::Cluster;

/// Docker's default: 90 days.
const VALIDITY: Duration = Duration::from_secs(2_160 * 3_600);

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    #[error("the cluster's authority cannot be used: {0}")]
    Authority(String),
    #[error("the certificate request cannot be signed: {0}")]
    Request(String),
}

/// A certificate chain in PEM for the key in the request, valid from now on.
pub(super) fn issue(
    cluster: &Cluster,
    csr_pem: &str,
    node: NodeId,
    role: Role,
) -> Result<String, AuthorityError> {
    let authority = Ca::from_pem(&cluster.authority.root_pem, &cluster.authority.key_pem)
        .map_err(|error| AuthorityError::Authority(error.to_string()))?;
    let validity = cluster
        .spec
        .ca_config
        .node_cert_expiry
        .map_or(VALIDITY, |expiry| expiry.to_std());
    let cluster_id = cluster.id.to_string();
    authority
        .issue(
            csr_pem,
            &node.to_string(),
            certificate_role(role),
            &cluster_id,
            validity,
            SystemTime::now(),
        )
        .map_err(|error| AuthorityError::Request(error.to_string()))
}

pub(crate) const fn certificate_role(role: Role) -> CertificateRole {
    match role {
        Role::Manager => CertificateRole::Manager,
        Role::Worker => CertificateRole::Worker,
    }
}

pub(crate) const fn role_of(role: CertificateRole) -> Role {
    match role {
        CertificateRole::Manager => Role::Manager,
        CertificateRole::Worker => Role::Worker,
    }
}

/// The role that a token grants in this cluster, or why it grants none.
pub(super) fn role_for_token(cluster: &Cluster, text: &str) -> Result<Role, String> {
    let token = Token::parse(text).map_err(|error| error.to_string())?;
    let ours = |text: &str| Token::parse(text).ok();
    let manager = ours(&cluster.join_tokens.manager);
    let worker = ours(&cluster.join_tokens.worker);
    // Both are compared, whichever matches, so that the time taken tells nothing.
    let is_manager = manager
        .as_ref()
        .is_some_and(|ours| ours.same_secret(&token));
    let is_worker = worker.as_ref().is_some_and(|ours| ours.same_secret(&token));
    let same_cluster = manager.is_some_and(|ours| ours.digest() == token.digest());
    match (same_cluster, is_manager, is_worker) {
        (false, ..) => Err("the join token belongs to another cluster: \
             get this one's with swarmr join-token worker (or manager) on a manager"
            .to_owned()),
        (true, true, _) => Ok(Role::Manager),
        (true, false, true) => Ok(Role::Worker),
        (true, false, false) => Err(
            "the join token is not valid (any more): it may have been rotated; \
             get the current one with swarmr join-token worker (or manager) on a manager"
                .to_owned(),
        ),
    }
}
