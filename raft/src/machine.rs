//! The hole a program fills with its own state: what the replicated bytes mean.

use std::io;

use bytes::Bytes;

/// A deterministic state machine. Lives on a thread of its own; no two calls overlap.
pub trait Machine: Send + 'static {
    /// Applies one committed entry. Total and deterministic: the same entries give the same state
    /// and the same replies on every member. Returns the reply for the proposer.
    fn apply(&mut self, index: u64, term: u64, data: &[u8]) -> Bytes;

    /// Called once after every applied batch, before its proposers are answered, and after a
    /// restore, so that the machine can publish what changed. `last_index` may belong to an entry
    /// of the cluster's own.
    fn published(&mut self, last_index: u64);

    /// Captures the state cheaply; the closure encodes it later, on another thread, while `apply`
    /// goes on.
    fn snapshot(&self) -> Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>;

    /// Replaces the state with a snapshot that ends at `last_index`. An error leaves this member
    /// stopped, so it must be one that no retry cures.
    fn restore(&mut self, last_index: u64, bytes: &[u8]) -> io::Result<()>;
}
