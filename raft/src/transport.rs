//! The hole a program fills with its own connections: how bytes reach another member.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::member::Member;

/// What a call carries, so that a carrier can keep urgent ones out of the queue behind large ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Log entries: up to some MiB, often.
    Append,
    /// Empty and urgent: late ones cost the leader its lease.
    Heartbeat,
    /// Elections: small and urgent.
    Vote,
    /// One piece (about 1 MiB) of a snapshot; many in a row.
    Snapshot,
    /// Leader transfer and read indexes: small.
    Other,
}

/// Why a call has no answer. Whether it was received is unknown.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransportError {
    #[error("no answer before the deadline")]
    TimedOut,
    #[error("unreachable: {0}")]
    Unreachable(String),
}

/// Sends one request to a member and returns its answer.
///
/// Must honour the deadline, and must reach the member it was told to (check its identity, not
/// just its address). The other side passes the request to [`Raft::serve`](crate::Raft::serve).
pub trait Transport: Send + Sync + 'static {
    fn call(
        &self,
        to: &Member,
        kind: CallKind,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}
