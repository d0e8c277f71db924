//! The durable log: entries, votes and the commit position in one stream of checksummed records,
//! in segment files that are deleted as a whole.
//!
//! `segment` and `record` say what bytes mean, `recover` reads a directory, `index` is what the
//! log contains in memory, `writer` is the thread that owns the files, and this file is what
//! openraft sees of them.

mod index;
pub(crate) mod payload;
mod record;
mod recover;
mod segment;
mod stats;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds, RangeInclusive};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::{Semaphore, oneshot};

use self::index::{Found, Index};
use self::record::Record;
use self::stats::Counters;
pub use self::stats::LogStats;
use self::writer::{Command, Hooks, RecoveredEnd, Writer};
use crate::error::StartError;
use crate::store_dir::at;
use crate::threads;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Payloads kept in memory for members that follow closely.
const CACHE_BYTES: usize = 32 << 20;

/// Entries on their way to the disk, at most: the queue's bound.
const QUEUE_BYTES: usize = 64 << 20;

/// Granularity of that bound.
const ROOM_UNIT_BYTES: usize = 1024;

/// Entries read at once for one message, unless a single one is larger.
const READ_BYTES: usize = 1 << 20;

/// The log of one directory. Dropping it lets the writer finish what it has, then end.
#[derive(Debug)]
pub(crate) struct Log {
    reader: LogReader,
    commands: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
}

/// A view of the log for others' tasks.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    index: Arc<Mutex<Index>>,
}

/// What outlives the log's handle.
#[derive(Debug)]
pub(crate) struct LogThread {
    pub(crate) thread: JoinHandle<()>,
    counters: Arc<Counters>,
}

impl LogThread {
    /// Reads the counters of the writer, at any time.
    pub(crate) fn stats(&self) -> impl Fn() -> LogStats + Send + Sync + 'static {
        let counters = self.counters.clone();
        move || counters.read()
    }
}

impl Log {
    /// Recovers the log of a directory and starts its writer. Blocks on the disk.
    pub(crate) fn open(dir: &Path, segment_bytes: u64) -> Result<(Self, LogThread), StartError> {
        Self::open_with(dir, segment_bytes, CACHE_BYTES, Hooks::default())
    }

    fn open_with(
        dir: &Path,
        segment_bytes: u64,
        cache_bytes: usize,
        hooks: Hooks,
    ) -> Result<(Self, LogThread), StartError> {
        let recovered = recover::recover(dir, cache_bytes)?;
        let (index, end) = RecoveredEnd::split(recovered);
        let index = Arc::new(Mutex::new(index));
        let counters = Arc::new(Counters::default());
        let writer = Writer::open(
            dir.to_owned(),
            segment_bytes,
            index.clone(),
            end,
            counters.clone(),
            hooks,
        )
        .map_err(at(dir))?;
        let (commands, receiver) = mpsc::channel();
        let thread = threads::spawn("raft-log", move || writer.run(&receiver)).map_err(at(dir))?;
        let log = Self {
            reader: LogReader { index },
            commands,
            room: Arc::new(Semaphore::new(QUEUE_BYTES / ROOM_UNIT_BYTES)),
        };
        Ok((log, LogThread { thread, counters }))
    }

    fn send(&self, command: Command) -> io::Result<()> {
        self.commands
            .send(command)
            .map_err(|_| io::Error::other("the log's writer has stopped"))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let index = self.reader.lock();
        Ok(LogState {
            last_purged_log_id: index.purged(),
            last_log_id: index.last_id(),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, written) = oneshot::channel();
        self.send(Command::Vote { vote: *vote, done })?;
        written
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the log's writer has stopped")))?;
        self.reader.lock().set_vote(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(id) = committed {
            self.reader.lock().set_committed(id);
            self.send(Command::Committed(id))?;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.reader.lock().committed())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let bytes: usize = entries.iter().map(wire_bytes).sum();
        let units = (bytes / ROOM_UNIT_BYTES + 1).min(QUEUE_BYTES / ROOM_UNIT_BYTES);
        let room = self
            .room
            .clone()
            .acquire_many_owned(u32::try_from(units).expect("bounded by the queue's size"))
            .await
            .map_err(io::Error::other)?;
        {
            let mut index = self.reader.lock();
            for entry in &entries {
                index.push(entry.clone(), None)?;
            }
        }
        self.send(Command::Append {
            entries,
            done: callback,
            room,
        })
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.reader.lock().truncate_after(last_log_id);
        self.send(Command::Truncate(last_log_id))
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.reader.lock().purge(log_id);
        self.send(Command::Purge(log_id))
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read(to_range(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, READ_BYTES).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().vote())
    }

    async fn get_key_log_ids(
        &mut self,
        range: RangeInclusive<LogId>,
    ) -> Result<Vec<LogId>, io::Error> {
        let (first, last) = (range.start().index, range.end().index);
        // The trait's text asks for the first of each leader; openraft's own code and suite have
        // and want the last.
        Ok(self.lock().last_of_each_leader(first, last))
    }
}

impl LogReader {
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("no panic while holding the index")
    }

    async fn read(&self, range: Range<u64>, limit_bytes: usize) -> io::Result<Vec<Entry>> {
        let found = self.lock().find(range, limit_bytes)?;
        if found.iter().all(|found| matches!(found, Found::Here(_))) {
            return found.into_iter().map(fetch).collect();
        }
        tokio::task::spawn_blocking(|| found.into_iter().map(fetch).collect())
            .await
            .map_err(io::Error::other)?
    }
}

/// Reads an entry from its segment unless it is in memory. Blocks on the disk.
fn fetch(found: Found) -> io::Result<Entry> {
    let (id, place, file) = match found {
        Found::Here(entry) => return Ok(entry),
        Found::There { id, place, file } => (id, place, file),
    };
    let bad = |what: String| {
        let name = segment::file_name(place.segment);
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("entry {id} in {name} at offset {}: {what}", place.offset),
        )
    };
    let mut bytes = vec![0; place.bytes as usize];
    file.read_exact_at(&mut bytes, place.offset)?;
    let stored = record::decode(&bytes, place.segment, place.offset)
        .map_err(|fault| bad(format!("{fault:?}")))?;
    match stored.record {
        Record::Entry(entry) if entry.log_id == id => Ok(entry),
        _ => Err(bad("another record stands there".into())),
    }
}

fn wire_bytes(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        openraft::EntryPayload::Normal(data) => data.0.len(),
        _ => 0,
    };
    record::HEADER_BYTES + payload
}

fn to_range(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}
