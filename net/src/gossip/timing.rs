//! How fast everything goes. The defaults are for networks in which packets take milliseconds.

use std::time::Duration;

/// Settings that all nodes of a cluster share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats to one neighbour.
    pub beat: Duration,
    /// A neighbour that said nothing for so long is looked at closely.
    pub silence: Duration,
    /// Between two pings while it is; longer where the round trip is.
    pub round: Duration,
    /// Pings without an answer that make a suspicion, each beside a question to the kernel.
    pub rounds: u32,
    /// Neighbours that must agree that a node and its kernel are silent.
    pub confirmers: usize,
    /// A suspected node whose kernel answers (or never did) has so long, counted from the suspicion,
    /// once enough neighbours agree that it is silent itself;
    pub patience: Duration,
    /// and so long while nobody agrees.
    pub lone_patience: Duration,
    /// Between two attempts to find dead nodes again.
    pub knock: Duration,
    /// How long somebody else's other view may be news under way.
    pub settle: Duration,
    /// Between two comparisons of views that this node begins.
    pub compare: Duration,
    /// How long it is remembered that a fact is gone, for those who missed it.
    pub remember: Duration,
    /// The load of a node is told at most once in this time for each node of the cluster, and at
    /// most every five seconds.
    pub load: Duration,
    /// Bytes a second that news and comparisons may take in the long run,
    pub bytes_per_second: u32,
    /// and at once.
    pub burst_bytes: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(500),
            silence: Duration::from_millis(1_050),
            round: Duration::from_millis(40),
            rounds: 8,
            confirmers: 3,
            patience: Duration::from_secs(5),
            lone_patience: Duration::from_secs(10),
            knock: Duration::from_secs(5),
            settle: Duration::from_millis(50),
            compare: Duration::from_millis(250),
            remember: Duration::from_secs(60),
            load: Duration::from_millis(100),
            bytes_per_second: 128 << 10,
            burst_bytes: 64 << 10,
        }
    }
}
