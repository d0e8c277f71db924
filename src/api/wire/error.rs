//! What an error answers: Docker's `message`, and for programs a code and the single problems.

use serde::{Deserialize, Serialize};

use crate::spec::validate::Problem;

/// The body of every answer with a status of 400 and up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorBody {
    pub message: String,
    /// What kind of error, where the status alone does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// Every problem of a refused spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// Kinds of errors that share a status with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The managers cannot agree now: too few of them answer.
    NoQuorum,
    /// A write that may or may not have taken effect.
    OutcomeUnknown,
    NotInCluster,
    NotManager,
    AlreadyInCluster,
    /// The local Docker engine does not answer.
    EngineUnreachable,
    /// The other side of a join, or a port, cannot be reached.
    Unreachable,
    /// The token was refused.
    Denied,
    /// It would harm the cluster; `force` does it all the same.
    Unsafe,
    /// Another write came first.
    Stale,
    /// Something else is in the way and must change first: it is in use, it is the last manager.
    Conflict,
    /// Docker knows it, swarmr does not do it yet.
    NotBuilt,
}
