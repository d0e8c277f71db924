//! The thread that owns the log's files: takes what is waiting, writes it as one batch, flushes
//! once, and only then says that it is done.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openraft::storage::IOFlushed;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::index::Index;
use super::record::{self, Place, Record};
use super::recover::Recovered;
use super::segment::{self, SEGMENT_HEADER_BYTES};
use super::stats::Counters;
use crate::store_dir::sync_dir;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Commands are gathered into one batch up to about this size.
const BATCH_BYTES: usize = 4 << 20;

/// A commit position alone waits this long for something to be written with.
const COMMITTED_DELAY: Duration = Duration::from_secs(1);

/// One order to the writer. They take effect in the order they were sent.
pub(super) enum Command {
    Append {
        entries: Vec<Entry>,
        done: IOFlushed<TypeConfig>,
        /// Room in the queue, given back when written.
        room: OwnedSemaphorePermit,
    },
    Vote {
        vote: Vote,
        done: oneshot::Sender<io::Result<()>>,
    },
    Truncate(Option<LogId>),
    Committed(LogId),
    Purge(LogId),
}

type Flush = dyn Fn(&File) -> io::Result<()> + Send + Sync;

/// What tests replace: how a file is flushed, and what happens when that fails.
#[derive(Clone)]
pub(super) struct Hooks {
    pub(super) flush: Arc<Flush>,
    /// After a failed flush nobody knows what is on disk, and asking again may lie: the process
    /// must end, and the next one reads the disk afresh.
    pub(super) flush_failed: Arc<dyn Fn(&io::Error) + Send + Sync>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            flush: Arc::new(File::sync_data),
            flush_failed: Arc::new(|error| {
                tracing::error!(%error, "the log could not be flushed to disk: ending the process");
                std::process::abort();
            }),
        }
    }
}

pub(super) struct Writer {
    dir: PathBuf,
    segment_bytes: u64,
    index: Arc<Mutex<Index>>,
    counters: Arc<Counters>,
    hooks: Hooks,
    number: u64,
    file: Arc<File>,
    offset: u64,
    batch: u32,
    /// State as written so far, to head the next segment with.
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    /// A commit position that is not written yet.
    late_committed: Option<LogId>,
}

/// Whom to tell about a batch.
enum Waiting {
    Append(IOFlushed<TypeConfig>, OwnedSemaphorePermit),
    Vote(oneshot::Sender<io::Result<()>>),
}

impl Writer {
    /// Takes over a recovered log, and proves that the disk still takes and keeps writes.
    pub(super) fn open(
        dir: PathBuf,
        segment_bytes: u64,
        index: Arc<Mutex<Index>>,
        recovered: RecoveredEnd,
        counters: Arc<Counters>,
        hooks: Hooks,
    ) -> io::Result<Self> {
        let (vote, purged, committed) = {
            let index = index.lock().expect("no panic while holding the index");
            (index.vote(), index.purged(), index.committed())
        };
        let (number, file, offset) = match recovered.active {
            Some(active) => (active.number, active.file, active.bytes),
            None => {
                let file = create(&dir, recovered.next_segment, recovered.next_batch)?;
                let mut index = index.lock().expect("no panic while holding the index");
                index.add_file(recovered.next_segment, file.clone());
                (recovered.next_segment, file, SEGMENT_HEADER_BYTES as u64)
            }
        };
        let mut writer = Self {
            dir,
            segment_bytes,
            index,
            counters,
            hooks,
            number,
            file,
            offset,
            batch: recovered.next_batch,
            vote,
            purged,
            committed,
            late_committed: None,
        };
        writer.write(&writer.head())?;
        Ok(writer)
    }

    /// Works until every sender is gone, or the disk refuses a write.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        while let Some(batch) = self.gather(commands) {
            if let Err(error) = self.execute(batch) {
                tracing::error!(%error, file = %self.path().display(), "cannot write the log");
                return;
            }
        }
        if self.late_committed.is_some()
            && let Err(error) = self.write(&[])
        {
            tracing::warn!(%error, "the last commit position was not kept");
        }
    }

    /// Waits for work and takes all that is there; `None` when there will be no more.
    fn gather(&mut self, commands: &Receiver<Command>) -> Option<Vec<Command>> {
        let first = if self.late_committed.is_some() {
            match commands.recv_timeout(COMMITTED_DELAY) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        } else {
            Some(commands.recv().ok()?)
        };
        let Some(first) = first else {
            return Some(Vec::new());
        };
        let mut bytes = size_of(&first);
        let mut batch = vec![first];
        while bytes < BATCH_BYTES
            && let Ok(command) = commands.try_recv()
        {
            bytes += size_of(&command);
            batch.push(command);
        }
        Some(batch)
    }

    fn execute(&mut self, commands: Vec<Command>) -> io::Result<()> {
        let idle = commands.is_empty();
        let mut records = Vec::new();
        let mut waiting = Vec::new();
        let mut purged = false;
        for command in commands {
            match command {
                Command::Append {
                    entries,
                    done,
                    room,
                } => {
                    records.extend(entries.into_iter().map(Record::Entry));
                    waiting.push(Waiting::Append(done, room));
                }
                Command::Vote { vote, done } => {
                    records.push(Record::Vote(vote));
                    waiting.push(Waiting::Vote(done));
                }
                Command::Truncate(after) => records.push(Record::Truncated(after)),
                Command::Committed(id) => self.late_committed = Some(id),
                Command::Purge(id) => {
                    records.push(Record::Purged(id));
                    purged = true;
                }
            }
        }
        if records.is_empty() && waiting.is_empty() && !idle {
            return Ok(());
        }
        let result = self.write(&records);
        for waiter in waiting {
            waiter.tell(&result);
        }
        result?;
        if purged {
            self.remove_unused()?;
        }
        Ok(())
    }

    /// Writes records and a waiting commit position as one batch, and flushes.
    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        if self.offset >= self.segment_bytes {
            self.begin_segment()?;
        }
        let late = self.late_committed.take().map(Record::Committed);
        self.put(records, late.as_ref())
    }

    fn put(&mut self, records: &[Record], late: Option<&Record>) -> io::Result<()> {
        let count = records.len() + usize::from(late.is_some());
        if count == 0 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut places: Vec<(LogId, Place)> = Vec::new();
        for (position, record) in records.iter().chain(late).enumerate() {
            let offset = self.offset + bytes.len() as u64;
            let end = position + 1 == count;
            let place = record::encode(record, self.number, offset, self.batch, end, &mut bytes);
            match record {
                Record::Entry(entry) => places.push((entry.log_id, place)),
                Record::Vote(vote) => self.vote = Some(*vote),
                Record::Committed(id) => self.committed = Some(*id),
                Record::Purged(id) => self.purged = Some(*id),
                Record::Truncated(_) => {}
            }
        }
        if let Err(error) = self.file.write_all_at(&bytes, self.offset) {
            // Nothing of it is promised. Take back what was written, for the next start's sake.
            let _ = self.file.set_len(self.offset);
            return Err(error);
        }
        self.flush()?;
        self.offset += bytes.len() as u64;
        self.batch = self.batch.wrapping_add(1);
        self.counters.wrote(count, bytes.len());
        let mut index = self.index.lock().expect("no panic while holding the index");
        for (id, place) in places {
            index.placed(id, place);
        }
        index.evict();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let begin = Instant::now();
        if let Err(error) = (self.hooks.flush)(&self.file) {
            (self.hooks.flush_failed)(&error);
            return Err(error);
        }
        self.counters.flushed(begin.elapsed());
        Ok(())
    }

    /// Goes on in a new file. The old one is complete and on disk by now.
    fn begin_segment(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        let file = create(&self.dir, number, self.batch)?;
        self.index
            .lock()
            .expect("no panic while holding the index")
            .add_file(number, file.clone());
        self.number = number;
        self.file = file;
        self.offset = SEGMENT_HEADER_BYTES as u64;
        let head = self.head();
        self.put(&head, None)
    }

    /// What a reader of this segment alone must know.
    fn head(&self) -> Vec<Record> {
        let vote = self.vote.map(Record::Vote);
        let purged = self.purged.map(Record::Purged);
        let committed = self.committed.map(Record::Committed);
        vote.into_iter().chain(purged).chain(committed).collect()
    }

    /// Deletes the segments that a durable purge left without use, oldest first.
    fn remove_unused(&mut self) -> io::Result<()> {
        let unused = self
            .index
            .lock()
            .expect("no panic while holding the index")
            .unused_segments(self.number);
        for number in unused {
            fs::remove_file(self.dir.join(segment::file_name(number)))?;
            sync_dir(&self.dir)?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join(segment::file_name(self.number))
    }
}

/// The end of a recovered log, which the writer continues.
pub(super) struct RecoveredEnd {
    active: Option<super::recover::Active>,
    next_segment: u64,
    next_batch: u32,
}

impl RecoveredEnd {
    pub(super) fn split(recovered: Recovered) -> (Index, Self) {
        let end = Self {
            active: recovered.active,
            next_segment: recovered.next_segment,
            next_batch: recovered.next_batch,
        };
        (recovered.index, end)
    }
}

impl Waiting {
    fn tell(self, result: &io::Result<()>) {
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        match self {
            Self::Append(done, room) => {
                drop(room);
                done.io_completed(result);
            }
            // The asker may be gone with its runtime.
            Self::Vote(done) => drop(done.send(result)),
        }
    }
}

fn size_of(command: &Command) -> usize {
    match command {
        Command::Append { room, .. } => room.num_permits() * super::ROOM_UNIT_BYTES,
        _ => record::HEADER_BYTES,
    }
}

/// Creates a segment, durably: its header and its name.
fn create(dir: &std::path::Path, number: u64, first_batch: u32) -> io::Result<Arc<File>> {
    let path = dir.join(segment::file_name(number));
    let file = OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)?;
    file.write_all_at(&segment::encode_header(number, first_batch), 0)?;
    file.sync_all()?;
    sync_dir(dir)?;
    Ok(Arc::new(file))
}
