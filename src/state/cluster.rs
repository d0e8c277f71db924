//! The cluster itself: its certificate authority, its tokens, its settings.

use serde::{Deserialize, Serialize};

use super::object::Meta;
use crate::spec::network::Subnet;
use crate::spec::{ClusterId, ClusterSpec};

/// One cluster, made by `init`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub id: ClusterId,
    pub meta: Meta,
    pub spec: ClusterSpec,
    pub authority: Authority,
    pub join_tokens: JoinTokens,
    /// Pools that overlay subnets are cut from.
    pub address_pools: Vec<Subnet>,
    /// Length of the subnets cut from the pools.
    pub subnet_prefix: u8,
    /// UDP port of the overlay's VXLAN.
    pub data_path_port: u16,
    /// Entropy of this cluster, from which the planner's ids are drawn.
    pub seed: u64,
}

/// The certificate authority. Managers hold its key, workers never see it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    pub root_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// The secrets that let a node join, in Docker's written form.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokens {
    pub worker: String,
    pub manager: String,
}

impl std::fmt::Debug for JoinTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinTokens").finish_non_exhaustive()
    }
}
