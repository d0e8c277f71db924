//! What a member is told at start.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::StartError;
use crate::member::MemberId;

/// Settings of one member.
#[derive(Clone, Debug)]
pub struct Config {
    pub id: MemberId,
    /// Directory of the log and the snapshots; created if absent, locked while in use.
    pub dir: PathBuf,
    pub timing: Timing,
    /// A snapshot is taken after this many entries since the last one.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, so that a member that lags a little needs no snapshot.
    pub keep_behind: u64,
    /// A log segment is closed at this size, and later deleted as a whole.
    pub segment_bytes: u64,
}

/// How fast a silent leader is replaced. All members should have the same.
///
/// Followers give no vote for `election_max` after they last heard a leader, then wait a random
/// time between `election_min` and `election_max`: a failover costs about
/// `election_max + election_min` plus two round trips and two disk flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub heartbeat: Duration,
    pub election_min: Duration,
    pub election_max: Duration,
}

impl Timing {
    /// Members in one building: failover in about 200 ms.
    pub const fn lan() -> Self {
        Self {
            heartbeat: Duration::from_millis(20),
            election_min: Duration::from_millis(60),
            election_max: Duration::from_millis(100),
        }
    }

    /// Members on different continents: round trips up to 300 ms, failover in about 4 s.
    pub const fn wan() -> Self {
        Self {
            heartbeat: Duration::from_millis(400),
            election_min: Duration::from_millis(1500),
            election_max: Duration::from_millis(2500),
        }
    }

    /// How long a piece of work with a quorum may take before its caller is told something.
    pub(crate) fn patience(&self) -> Duration {
        (self.election_max * 20).clamp(Duration::from_secs(5), Duration::from_secs(60))
    }

    /// Deadline of a call that carries entries: long enough for a slow disk, short enough that a
    /// call into the void does not hold up what follows it.
    pub(crate) fn append_deadline(&self, bytes: usize) -> Duration {
        let transmission = Duration::from_micros(bytes as u64);
        (self.election_max * 3).max(Duration::from_millis(500)) + transmission
    }

    /// Deadline of a call that carries a piece of a snapshot.
    pub(crate) fn bulk_deadline(&self) -> Duration {
        (self.election_max * 10).clamp(Duration::from_secs(1), Duration::from_secs(20))
    }

    /// How old a quorum's acknowledgement may be for a read to rest on it.
    ///
    /// Strictly inside the time in which no follower can have helped another leader, also one
    /// that restarted in between; the remaining quarter is for clocks that run unevenly.
    pub(crate) fn lease(&self) -> Duration {
        self.election_min * 3 / 4
    }
}

impl Config {
    pub(crate) fn openraft(&self) -> Result<openraft::Config, StartError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = openraft::Config {
            cluster_name: "raft".into(),
            heartbeat_interval: millis(self.timing.heartbeat),
            election_timeout_min: millis(self.timing.election_min),
            election_timeout_max: millis(self.timing.election_max),
            install_snapshot_timeout: millis(self.timing.bulk_deadline()),
            max_payload_entries: 4096,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep_behind,
            purge_batch_size: 64,
            replication_lag_threshold: 1024,
            enable_pre_vote: Some(true),
            // A leader sends entries before they are on its own disk. If it crashed and led on in
            // the same term it could give the same position to another entry, so it must be
            // elected anew.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            ..openraft::Config::default()
        };
        if self.snapshot_every == 0 || self.segment_bytes == 0 || millis(self.timing.heartbeat) == 0
        {
            return Err(StartError::Config(
                "snapshot_every, segment_bytes and heartbeat must be above zero".into(),
            ));
        }
        config
            .validate()
            .map_err(|error| StartError::Config(error.to_string()))
    }
}
