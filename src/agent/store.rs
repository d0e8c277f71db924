//! What an agent keeps on disk: its last assignment and the facts of its tasks, so that it goes
//! on after a restart without any manager.
//!
//! Written behind the agent's back and coalesced: an assignment that is lost comes again, and a
//! fact that is lost is found again at the engine, so no step waits for a disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::step::Facts;
use super::tunnel_keys::TunnelKeys;
use crate::spec::TaskId;
use crate::state::assignment::Assignment;
use crate::state::codec;

/// The layout of the directory. Another one is refused, not guessed at.
const VERSION: &str = "1\n";
/// Changes within this time are one write.
const COALESCE: Duration = Duration::from_millis(200);

const ASSIGNMENT: &str = "assignment";
const TASKS: &str = "tasks";
/// Secret.
const TUNNEL: &str = "tunnel";

/// Why the agent's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{} says version {found:?}, this build reads {VERSION:?}: it belongs to another version \
         of swarmr",
        path.display()
    )]
    Version { path: PathBuf, found: String },
}

/// What was on disk.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) assignment: Option<Assignment>,
    pub(super) facts: BTreeMap<TaskId, Facts>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct KeptFacts {
    tasks: Vec<(TaskId, Facts)>,
}

/// The agent's directory.
#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens or makes `dir` and reads what is in it. A file that cannot be read is as good as
    /// absent: everything in it comes again from the managers and the engine.
    pub(super) fn open(dir: PathBuf) -> Result<(Self, Kept), StoreError> {
        fs::create_dir_all(&dir).map_err(|source| error("create", &dir, source))?;
        let store = Self { dir };
        store.check_version()?;
        let kept = Kept {
            assignment: store.read(ASSIGNMENT),
            facts: store
                .read::<KeptFacts>(TASKS)
                .unwrap_or_default()
                .tasks
                .into_iter()
                .collect(),
        };
        Ok((store, kept))
    }

    pub(super) fn read_keys(&self) -> Option<TunnelKeys> {
        self.read(TUNNEL)
    }

    pub(super) fn write_keys(&self, keys: &TunnelKeys) {
        self.write(TUNNEL, keys);
    }

    fn check_version(&self) -> Result<(), StoreError> {
        let path = self.dir.join("VERSION");
        match fs::read_to_string(&path) {
            Ok(found) if found == VERSION => Ok(()),
            Ok(found) => Err(StoreError::Version { path, found }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                write_whole(&path, VERSION.as_bytes())
                    .map_err(|source| error("write", &path, source))
            }
            Err(source) => Err(error("read", &path, source)),
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.dir.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot be read, starting without");
                return None;
            }
        };
        codec::decode(&bytes)
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "cannot be read, starting without");
            })
            .ok()
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) {
        let path = self.dir.join(name);
        let written = codec::encode(value)
            .map_err(io::Error::other)
            .and_then(|bytes| write_whole(&path, &bytes));
        if let Err(error) = written {
            tracing::error!(path = %path.display(), %error, "cannot be written");
        }
    }
}

fn error(what: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Replaces a file: after a crash at any time the old one or the new one is there, whole.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes what has changed since `written`, at most every [`COALESCE`], until cancelled, and then once more.
pub(super) async fn keep(
    store: Store,
    mut written: Option<Arc<Assignment>>,
    mut assignment: watch::Receiver<Option<Arc<Assignment>>>,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    let mut changes = board.changes();
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            Ok(()) = assignment.changed() => false,
            Ok(()) = changes.changed() => false,
            else => true,
        };
        if !stopping {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(COALESCE) => {}
            }
        }
        changes.mark_unchanged();
        let newest = assignment.borrow_and_update().clone();
        let news = match (&newest, &written) {
            (Some(newest), Some(written)) => !Arc::ptr_eq(newest, written),
            (newest, _) => newest.is_some(),
        };
        let facts = KeptFacts {
            tasks: board.facts().into_iter().collect(),
        };
        let to_write = newest.clone().filter(|_| news);
        let store = store.clone();
        let done = tokio::task::spawn_blocking(move || {
            if let Some(assignment) = to_write {
                store.write(ASSIGNMENT, &*assignment);
            }
            store.write(TASKS, &facts);
        })
        .await;
        if done.is_ok() {
            written = newest;
        }
        if stopping || stop.is_cancelled() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Timestamp;

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, kept) = Store::open(dir.path().join("agent")).unwrap();
        assert!(kept.assignment.is_none() && kept.facts.is_empty());
        let task = TaskId::from_bits(7);
        let facts = KeptFacts {
            tasks: vec![(task, Facts::new(Timestamp(3)))],
        };
        store.write(TASKS, &facts);
        let (_, kept) = Store::open(dir.path().join("agent")).unwrap();
        assert_eq!(kept.facts.get(&task), Some(&Facts::new(Timestamp(3))));
    }

    #[test]
    fn a_damaged_file_is_as_good_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path().to_owned()).unwrap();
        fs::write(store.dir.join(ASSIGNMENT), [1, 0xff, 3]).unwrap();
        let (_, kept) = Store::open(dir.path().to_owned()).unwrap();
        assert!(kept.assignment.is_none());
    }

    #[test]
    fn another_versions_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("VERSION"), "2\n").unwrap();
        let refused = Store::open(dir.path().to_owned()).unwrap_err();
        assert!(matches!(refused, StoreError::Version { .. }), "{refused}");
    }
}
