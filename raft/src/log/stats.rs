//! Counters of the log's work on disk.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What the log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    pub records: u64,
    pub bytes: u64,
    pub flushes: u64,
    /// Time spent in flushes, in all and in the longest.
    pub flush_total: Duration,
    pub flush_max: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    flushes: AtomicU64,
    flush_micros: AtomicU64,
    flush_max_micros: AtomicU64,
}

impl Counters {
    pub(super) fn wrote(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn flushed(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.flushes.fetch_add(1, Relaxed);
        self.flush_micros.fetch_add(micros, Relaxed);
        self.flush_max_micros.fetch_max(micros, Relaxed);
    }

    pub(super) fn read(&self) -> LogStats {
        LogStats {
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            flush_total: Duration::from_micros(self.flush_micros.load(Relaxed)),
            flush_max: Duration::from_micros(self.flush_max_micros.load(Relaxed)),
        }
    }
}
