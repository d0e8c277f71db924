//! Snapshots in files: written beside, flushed, then renamed, so that a crash leaves the old one
//! or the new one. The last two are kept.
//!
//! ```text
//!  0 "RAFTSNAP"            20 length of state u64
//!  8 version u32           28 crc32c of state u32
//! 12 length of meta u32    32 crc32c of bytes 0..32 and meta u32
//! 16 zero u32              36 meta, then the machine's state
//! ```
//! The same bytes are what one member sends another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::StartError;
use crate::log::payload;
use crate::store_dir::{at, sync_dir};
use crate::types::SnapshotMeta;

const MAGIC: &[u8; 8] = b"RAFTSNAP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 36;
const KEPT: usize = 2;

/// An open snapshot file. Readable for as long as it is held, also when its name is gone.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
    /// Set while it is not one of the store's own.
    received: Option<Arc<Received>>,
}

/// A file that is being received, or was. Gone with its last holder, unless it was adopted and
/// has another name by then.
#[derive(Debug)]
pub(crate) struct Received {
    path: PathBuf,
    file: File,
}

impl Received {
    /// Where to put what is received.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // Mostly it is not there any more; what a crash leaves is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// The snapshots of one directory.
#[derive(Debug)]
pub(crate) struct SnapshotStore {
    dir: PathBuf,
    /// Numbers the files that are received.
    receptions: AtomicU64,
    newest: Mutex<Option<(SnapshotMeta, SnapshotFile)>>,
}

impl SnapshotFile {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads a piece. Blocks on the disk.
    pub(crate) fn piece(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(limit)];
        self.file.read_exact_at(&mut piece, offset)?;
        Ok(piece)
    }

    fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            path,
            bytes,
            received: None,
        })
    }

    /// Reads and checks all of it. Blocks on the disk.
    pub(crate) fn load(&self) -> io::Result<(SnapshotMeta, Vec<u8>)> {
        let (meta, head) = self.check_head()?;
        let state = self.piece(head.state_at, usize::MAX)?;
        if state.len() as u64 != head.state_bytes || crc32c::crc32c(&state) != head.state_sum {
            return Err(self.bad("its state fails the checksum"));
        }
        Ok((meta, state))
    }

    fn check_head(&self) -> io::Result<(SnapshotMeta, Head)> {
        let fixed = self.piece(0, HEADER_BYTES)?;
        if fixed.len() < HEADER_BYTES || &fixed[..8] != MAGIC {
            return Err(self.bad("it is no snapshot"));
        }
        if le_u32(&fixed[8..12]) != VERSION {
            return Err(self.bad("it was written by another version"));
        }
        let meta_bytes = le_u32(&fixed[12..16]) as usize;
        let meta = self.piece(HEADER_BYTES as u64, meta_bytes)?;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&fixed[..32]), &meta);
        if le_u32(&fixed[32..36]) != sum {
            return Err(self.bad("its header fails the checksum"));
        }
        let head = Head {
            state_at: (HEADER_BYTES + meta_bytes) as u64,
            state_bytes: u64::from_le_bytes(fixed[20..28].try_into().expect("eight bytes")),
            state_sum: le_u32(&fixed[28..32]),
        };
        let meta = payload::decode_meta(&meta).map_err(|error| self.bad(&error.to_string()))?;
        Ok((meta, head))
    }

    fn bad(&self, what: &str) -> io::Error {
        let path = self.path.display();
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("snapshot {path}: {what}"),
        )
    }
}

struct Head {
    state_at: u64,
    state_bytes: u64,
    state_sum: u32,
}

impl SnapshotStore {
    /// Finds the newest intact snapshot. One that is damaged is an error unless an older one and
    /// the log can do without it: `log_begins` is the first index the log still has.
    pub(crate) fn open(dir: &Path, log_begins: u64) -> Result<Self, StartError> {
        let store = Self {
            dir: dir.to_owned(),
            receptions: AtomicU64::new(0),
            newest: Mutex::new(None),
        };
        store.remove_leftovers().map_err(at(dir))?;
        let mut damage = None;
        for path in store.paths().map_err(at(dir))? {
            match SnapshotFile::open(path.clone()).and_then(|file| Ok((file.load()?.0, file))) {
                Ok((meta, file)) if next_index(&meta) >= log_begins => {
                    store.set_newest(meta, file);
                    return Ok(store);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "a snapshot cannot be used");
                    damage.get_or_insert((path, error));
                }
            }
        }
        match damage {
            Some((file, error)) if log_begins > 0 => Err(StartError::Damaged {
                file,
                offset: 0,
                what: format!("{error}, and the log begins only at entry {log_begins}"),
            }),
            _ => Ok(store),
        }
    }

    pub(crate) fn newest(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        self.newest
            .lock()
            .expect("no panic while holding it")
            .clone()
    }

    /// Writes a snapshot; it is the newest afterwards unless there is a newer one. Blocks on the
    /// disk.
    pub(crate) fn save(&self, meta: &SnapshotMeta, state: &[u8]) -> io::Result<SnapshotFile> {
        let temporary = self.dir.join(format!("{}.part", file_name(meta)));
        let mut file = File::create(&temporary)?;
        file.write_all(&encode_head(meta, state))?;
        file.write_all(state)?;
        file.sync_all()?;
        self.put_in_place(meta, &temporary)
    }

    /// Makes a received file the newest snapshot. Blocks on the disk.
    pub(crate) fn adopt(
        &self,
        meta: &SnapshotMeta,
        received: &SnapshotFile,
        state: &[u8],
    ) -> io::Result<()> {
        if received.path == self.dir.join(file_name(meta)) {
            return Ok(());
        }
        if received.received.is_some() && received.path.parent() == Some(&self.dir) {
            received.file.sync_all()?;
            self.put_in_place(meta, &received.path)?;
        } else {
            self.save(meta, state)?;
        }
        Ok(())
    }

    /// Creates a file to receive a snapshot in.
    pub(crate) fn receive(&self) -> io::Result<Received> {
        let number = self.receptions.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("received-{number}.part"));
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)?;
        Ok(Received { path, file })
    }

    /// What was received, checked, with its description: a bad one is refused here, where it costs
    /// no more than another transmission. Blocks on the disk.
    pub(crate) fn received(&self, received: Received) -> io::Result<(SnapshotMeta, SnapshotFile)> {
        let received = Arc::new(received);
        let mut file = SnapshotFile::open(received.path.clone())?;
        file.received = Some(received);
        let (meta, _) = file.load()?;
        Ok((meta, file))
    }

    fn put_in_place(&self, meta: &SnapshotMeta, temporary: &Path) -> io::Result<SnapshotFile> {
        let path = self.dir.join(file_name(meta));
        fs::rename(temporary, &path)?;
        sync_dir(&self.dir)?;
        let file = SnapshotFile::open(path)?;
        self.set_newest(meta.clone(), file.clone());
        for old in self.paths()?.into_iter().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(file)
    }

    fn set_newest(&self, meta: SnapshotMeta, file: SnapshotFile) {
        let mut newest = self.newest.lock().expect("no panic while holding it");
        if newest
            .as_ref()
            .is_none_or(|(known, _)| known.last_log_id <= meta.last_log_id)
        {
            *newest = Some((meta, file));
        }
    }

    /// The snapshots, newest first: their names sort by index.
    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "snap")
            {
                paths.push(path);
            }
        }
        paths.sort_unstable();
        paths.reverse();
        Ok(paths)
    }

    fn remove_leftovers(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "part")
            {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn next_index(meta: &SnapshotMeta) -> u64 {
    meta.last_log_id.map_or(0, |id| id.index + 1)
}

fn file_name(meta: &SnapshotMeta) -> String {
    let (index, term, leader) = meta.last_log_id.map_or((0, 0, 0), |id| {
        (id.index, id.leader_id.term, id.leader_id.node_id)
    });
    format!("{index:016x}-{term:016x}-{leader:016x}.snap")
}

fn encode_head(meta: &SnapshotMeta, state: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    payload::encode_meta(meta, &mut encoded);
    let meta_bytes = u32::try_from(encoded.len()).expect("a description is small");
    let mut head = Vec::with_capacity(HEADER_BYTES + encoded.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&meta_bytes.to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&(state.len() as u64).to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(state).to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&head), &encoded);
    head.extend_from_slice(&sum.to_le_bytes());
    head.extend_from_slice(&encoded);
    head
}

fn le_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("called with four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    fn meta(index: u64) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: Some(log_id(1, 1, index)),
            ..SnapshotMeta::default()
        }
    }

    #[test]
    fn the_newest_two_snapshots_are_kept_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(dir.path(), 0).unwrap();
        for index in [10, 20, 300] {
            store
                .save(&meta(index), format!("{index}").as_bytes())
                .unwrap();
        }
        assert_eq!(store.paths().unwrap().len(), 2);
        let store = SnapshotStore::open(dir.path(), 0).unwrap();
        let (found, file) = store.newest().unwrap();
        assert_eq!(found, meta(300));
        assert_eq!(file.load().unwrap(), (meta(300), b"300".to_vec()));
    }

    #[test]
    fn a_damaged_snapshot_is_passed_over_only_while_the_log_covers_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(dir.path(), 0).unwrap();
        store.save(&meta(10), b"ten").unwrap();
        let path = store.save(&meta(20), b"twenty").unwrap().path;
        let good = fs::read(&path).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            fs::write(&path, bad).unwrap();
            let store = SnapshotStore::open(dir.path(), 5).unwrap();
            assert_eq!(store.newest().unwrap().0, meta(10), "byte {byte}");
            let error = SnapshotStore::open(dir.path(), 15).unwrap_err();
            assert!(matches!(error, StartError::Damaged { .. }), "byte {byte}");
        }
    }

    #[test]
    fn an_interrupted_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(dir.path(), 0).unwrap();
        store.save(&meta(10), b"ten").unwrap();
        fs::write(dir.path().join("x.snap.part"), b"half").unwrap();
        std::mem::forget(store.receive().unwrap());
        let store = SnapshotStore::open(dir.path(), 0).unwrap();
        assert_eq!(store.newest().unwrap().0, meta(10));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_received_is_adopted_or_leaves_nothing_behind() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sender = SnapshotStore::open(there.path(), 0).unwrap();
        let sent = sender.save(&meta(20), b"twenty").unwrap();
        let store = SnapshotStore::open(here.path(), 0).unwrap();
        for adopted in [false, true] {
            let received = store.receive().unwrap();
            let bytes = sent.piece(0, usize::MAX).unwrap();
            received.file().write_all_at(&bytes, 0).unwrap();
            let (described, file) = store.received(received).unwrap();
            assert_eq!(described, meta(20));
            let damaged = store.receive().unwrap();
            damaged.file().write_all_at(&bytes, 1).unwrap();
            assert!(store.received(damaged).is_err());
            if adopted {
                store.adopt(&described, &file, b"twenty").unwrap();
            }
            drop(file);
            let files = fs::read_dir(here.path()).unwrap().count();
            assert_eq!(files, usize::from(adopted));
        }
        assert_eq!(store.newest().unwrap().1.load().unwrap().1, b"twenty");
    }

    #[test]
    fn a_snapshot_has_these_bytes_on_disk() {
        let head = encode_head(&meta(2), b"state");
        let mut described = Vec::new();
        payload::encode_meta(&meta(2), &mut described);
        let fixed = [
            &b"RAFTSNAP"[..],
            &1u32.to_le_bytes(),
            &(described.len() as u32).to_le_bytes(),
            &[0; 4],
            &5u64.to_le_bytes(),
            &crc32c::crc32c(b"state").to_le_bytes(),
        ]
        .concat();
        let sum = crc32c::crc32c(&[&fixed[..], &described].concat());
        assert_eq!(head, [&fixed[..], &sum.to_le_bytes(), &described].concat());
    }

    #[test]
    fn an_older_snapshot_does_not_replace_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(dir.path(), 0).unwrap();
        store.save(&meta(20), b"twenty").unwrap();
        store.save(&meta(10), b"ten").unwrap();
        assert_eq!(store.newest().unwrap().0, meta(20));
    }
}
