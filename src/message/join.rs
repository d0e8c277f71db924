//! Joining: from a token to a certificate, from a certificate to a place in the cluster.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::spec::{Availability, ClusterId, NodeId, Role};
use crate::state::assignment::ManagerAddr;
use crate::state::node::NodeDescription;

/// The first message of a joining node, which has nothing but a token.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// In Docker's written form.
    pub token: String,
    /// A certificate signing request, PEM. Its subject is ignored.
    pub csr_pem: String,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum JoinReply {
    Granted(Box<Grant>),
    /// The token is not (or no longer) this cluster's.
    Denied(String),
    Unavailable(String),
}

/// A certificate, and what goes with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grant {
    pub node: NodeId,
    pub cluster: ClusterId,
    pub role: Role,
    pub chain_pem: String,
    pub roots_pem: String,
    /// The joining node's address as the manager saw it: what it advertises unless told otherwise.
    pub observed: IpAddr,
}

/// The second message, under the new certificate, from a node that listens on its own address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdmitRequest {
    pub addr: String,
    pub data_path_addr: Ipv4Addr,
    pub availability: Availability,
    pub description: NodeDescription,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum AdmitReply {
    Admitted {
        managers: Vec<ManagerAddr>,
    },
    /// The manager could not dial the node back.
    Unreachable(String),
    Refused(String),
}
