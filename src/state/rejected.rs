//! Why a command was refused. A refusal is part of the reply and leaves the state untouched.

use serde::{Deserialize, Serialize};

use crate::spec::network::Subnet;

/// A refusal: what, got, allowed, and what to do next, as far as the state knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejected {
    #[error("this node is not part of a swarm: run swarmr init or swarmr join")]
    NoCluster,
    #[error("this cluster exists already")]
    ClusterExists,
    #[error("{kind} {name} not found")]
    NotFound { kind: Kind, name: String },
    #[error("name conflicts with an existing object: {kind} {name} already exists")]
    NameTaken { kind: Kind, name: String },
    #[error(
        "update out of sequence: {kind} {name} is at version {current}, got {sent}; read it again and retry"
    )]
    Stale {
        kind: Kind,
        name: String,
        current: u64,
        sent: u64,
    },
    #[error("{kind} {name} is in use by {by}; remove that first")]
    InUse {
        kind: Kind,
        name: String,
        by: String,
    },
    #[error(
        "port {port}/{protocol} is already in use by service {by}; choose another published port"
    )]
    PortTaken {
        port: u16,
        protocol: String,
        by: String,
    },
    #[error("no free port between 30000 and 32767 for protocol {protocol}")]
    PortsExhausted { protocol: String },
    #[error("subnet {subnet} overlaps network {by} ({taken}); choose another subnet")]
    SubnetOverlaps {
        subnet: Subnet,
        by: String,
        taken: Subnet,
    },
    #[error(
        "no free subnet of length {prefix} in the address pools ({pools}); remove a network, or give --subnet"
    )]
    PoolExhausted { prefix: u8, pools: String },
    #[error("no free address in network {network} ({subnet})")]
    AddressesExhausted { network: String, subnet: Subnet },
    #[error("node {name} is the last manager: promote another node first")]
    LastManager { name: String },
    #[error("node {name} is a manager: demote it first, or use --force")]
    StillManager { name: String },
    #[error("node {name} is not down and can't be removed: stop it first, or use --force")]
    NodeNotDown { name: String },
    #[error("service {name} has no previous spec to roll back to")]
    NoPreviousSpec { name: String },
    #[error("service {name}: {problem}")]
    NotNow { name: String, problem: String },
    #[error("service {name} has no revision {revision}; swarmr service history {name} lists them")]
    NoSuchRevision { name: String, revision: u64 },
    #[error(
        "service {name} is no job, so it cannot be run; \
         \"swarmr service update --force {name}\" replaces its tasks"
    )]
    NotAJob { name: String },
    #[error(
        "run {run} of {name} goes on, and its schedule allows no other beside it: \
         wait until it has ended, or update the job with another --concurrency"
    )]
    RunGoesOn { name: String, run: u64 },
    #[error(
        "service {name}: {what} cannot be changed by an update; remove the service and create it again"
    )]
    Unchangeable { name: String, what: String },
    #[error("only updates to Labels are allowed: {kind} {name} is immutable")]
    Immutable { kind: Kind, name: String },
    #[error("invalid {field}: {problem}")]
    Invalid { field: String, problem: String },
    #[error("service {name} would wait for itself: {circle}: remove one of these dependencies")]
    DependencyCircle { name: String, circle: String },
    #[error("this leader's term {term} is over")]
    OldTerm { term: u64 },
}

/// The kinds of replicated objects, as messages name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    Cluster,
    Node,
    Service,
    Task,
    Network,
    Config,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cluster => "swarm",
            Self::Node => "node",
            Self::Service => "service",
            Self::Task => "task",
            Self::Network => "network",
            Self::Config => "config",
        })
    }
}
