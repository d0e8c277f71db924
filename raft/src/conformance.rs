//! openraft's own suite for stores, run against ours.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::driver::{self, Driver};
use crate::log::Log;
use crate::machine::Machine;
use crate::snapshot::SnapshotStore;
use crate::threads;
use crate::types::TypeConfig;

/// Counts what it applied.
struct Count(u64);

impl Machine for Count {
    fn apply(&mut self, _: u64, _: u64, _: &[u8]) -> Bytes {
        self.0 += 1;
        Bytes::new()
    }

    fn published(&mut self, _: u64) {}

    fn snapshot(&self) -> Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send> {
        let count = self.0;
        Box::new(move || Ok(count.to_le_bytes().to_vec()))
    }

    fn restore(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        let bytes = bytes.try_into().map_err(io::Error::other)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

struct Fresh;

impl StoreBuilder<TypeConfig, Log, Driver, TempDir> for Fresh {
    async fn build(&self) -> Result<(TempDir, Log, Driver), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log_dir, snapshot_dir) = (dir.path().join("log"), dir.path().join("snapshots"));
        std::fs::create_dir(&log_dir).unwrap();
        std::fs::create_dir(&snapshot_dir).unwrap();
        // Segments of one batch each, so that every test crosses their borders.
        let (log, _) = Log::open(&log_dir, 1).unwrap();
        let snapshots = Arc::new(SnapshotStore::open(&snapshot_dir, 0).unwrap());
        let (applied, _) = watch::channel(0);
        let (engine, driver) = driver::connect(Count(0), snapshots, applied);
        threads::spawn("machine", move || engine.run()).unwrap();
        Ok((dir, log, driver))
    }
}

#[test]
fn the_log_and_the_driver_pass_the_conformance_suite() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Suite::test_all(Fresh)).unwrap();
}
