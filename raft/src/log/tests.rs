//! The log against a directory: what was written is read back, also after every kind of end.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use openraft::storage::RaftLogStorageExt as _;
use openraft::type_config::TypeConfigExt as _;
use openraft::vote::RaftVote as _;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::types::{LeaderId, log_id};

const SEGMENT: u64 = 2000;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(work)
}

fn open(dir: &Path) -> Result<(Log, LogThread), StartError> {
    Log::open_with(dir, SEGMENT, 500, Hooks::default())
}

/// Lets the writer finish, as when a member stops.
fn close((log, thread): (Log, LogThread)) {
    drop(log);
    thread.thread.join().unwrap();
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    Entry {
        log_id: log_id(term, 1, index),
        payload: payload::normal(Bytes::from(vec![index as u8; bytes])),
    }
}

fn vote(term: u64) -> Vote {
    Vote::from_leader_id(LeaderId { term, node_id: 1 }, true)
}

async fn all(log: &mut Log) -> Vec<Entry> {
    let mut reader = log.get_log_reader().await;
    reader.try_get_log_entries(..).await.unwrap()
}

/// A log of three entries, each flushed by itself, in one segment; and where that is.
fn three_entries() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    run(async {
        opened.0.save_vote(&vote(1)).await.unwrap();
        for index in 0..3 {
            let entries = [entry(1, index, 50)];
            opened.0.blocking_append(entries).await.unwrap();
        }
    });
    close(opened);
    let path = dir.path().join(segment::file_name(1));
    (dir, path)
}

#[test]
fn votes_entries_and_the_commit_position_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    let entries: Vec<_> = (0..100).map(|index| entry(1, index, 90)).collect();
    run(async {
        opened.0.save_vote(&vote(7)).await.unwrap();
        for part in entries.chunks(7) {
            opened.0.blocking_append(part.to_vec()).await.unwrap();
        }
        let committed = Some(log_id(1, 1, 60));
        opened.0.save_committed(committed).await.unwrap();
    });
    close(opened);
    assert!(fs::read_dir(dir.path()).unwrap().count() > 3, "segments");
    let mut opened = open(dir.path()).unwrap();
    run(async {
        let mut reader = opened.0.get_log_reader().await;
        assert_eq!(reader.read_vote().await.unwrap(), Some(vote(7)));
        assert_eq!(
            opened.0.read_committed().await.unwrap(),
            Some(log_id(1, 1, 60))
        );
        assert_eq!(all(&mut opened.0).await, entries);
    });
}

#[test]
fn the_last_record_cut_at_every_byte_costs_only_itself() {
    let (dir, path) = three_entries();
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - (record::HEADER_BYTES + 50);
    for len in last..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let mut opened = open(dir.path()).unwrap();
        run(async {
            assert_eq!(all(&mut opened.0).await.len(), 2, "cut at {len}");
            // What is written next takes the place of what was lost.
            let again = [entry(2, 2, 10)];
            opened.0.blocking_append(again).await.unwrap();
        });
        close(opened);
        let mut opened = open(dir.path()).unwrap();
        let entries = run(all(&mut opened.0));
        assert_eq!(entries.last(), Some(&entry(2, 2, 10)), "cut at {len}");
        close(opened);
        for extra in 2..5 {
            let _ = fs::remove_file(dir.path().join(segment::file_name(extra)));
        }
    }
}

#[test]
fn a_flipped_bit_refuses_the_start_and_says_where_and_what_to_do() {
    let (dir, path) = three_entries();
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - (record::HEADER_BYTES + 50);
    for byte in 0..last {
        let mut bad = whole.clone();
        bad[byte] ^= 1 << (byte % 8);
        fs::write(&path, &bad).unwrap();
        let error = open(dir.path()).unwrap_err();
        let StartError::Damaged { file, offset, .. } = &error else {
            panic!("byte {byte}: {error}");
        };
        assert_eq!(*file, path);
        assert!(*offset <= byte as u64, "{offset} for byte {byte}");
        let text = error.to_string();
        assert!(
            text.contains("offset") && text.contains("clear its directory"),
            "{text}"
        );
        assert_eq!(
            fs::read(&path).unwrap(),
            bad,
            "nothing is changed on refusal"
        );
    }
}

#[test]
fn a_missing_segment_refuses_the_start() {
    for missing in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = open(dir.path()).unwrap();
        run(async {
            for index in 0..40 {
                let entries = [entry(1, index, 300)];
                opened.0.blocking_append(entries).await.unwrap();
            }
        });
        close(opened);
        fs::remove_file(dir.path().join(segment::file_name(missing))).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StartError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_purge_deletes_whole_segments_and_keeps_vote_and_commit_position() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    run(async {
        opened.0.save_vote(&vote(3)).await.unwrap();
        opened
            .0
            .save_committed(Some(log_id(1, 1, 5)))
            .await
            .unwrap();
        for index in 0..100 {
            let entries = [entry(1, index, 300)];
            opened.0.blocking_append(entries).await.unwrap();
        }
        opened.0.purge(log_id(1, 1, 89)).await.unwrap();
    });
    close(opened);
    assert!(!dir.path().join(segment::file_name(1)).exists());
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert!(left <= 4, "{left} segments are left");
    let mut opened = open(dir.path()).unwrap();
    run(async {
        let state = opened.0.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 1, 89)));
        assert_eq!(state.last_log_id, Some(log_id(1, 1, 99)));
        let entries = all(&mut opened.0).await;
        assert_eq!(entries.first().unwrap().log_id.index, 90);
        assert_eq!(entries.len(), 10);
        let mut reader = opened.0.get_log_reader().await;
        assert_eq!(reader.read_vote().await.unwrap(), Some(vote(3)));
        assert_eq!(
            opened.0.read_committed().await.unwrap(),
            Some(log_id(1, 1, 5))
        );
    });
}

#[test]
fn a_purge_beyond_the_end_leaves_an_empty_log_that_goes_on_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    run(async {
        opened.0.blocking_append([entry(1, 0, 10)]).await.unwrap();
        opened.0.purge(log_id(5, 1, 70)).await.unwrap();
        let entries = [entry(5, 71, 10)];
        opened.0.blocking_append(entries).await.unwrap();
    });
    close(opened);
    let mut opened = open(dir.path()).unwrap();
    assert_eq!(run(all(&mut opened.0)), vec![entry(5, 71, 10)]);
}

/// Hooks whose flush fails from the `nth` on, and what they saw.
fn failing_flush(nth: usize) -> (Hooks, Arc<AtomicBool>) {
    let (flushes, seen) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let told = seen.clone();
    let hooks = Hooks {
        flush: Arc::new(move |file| {
            if flushes.fetch_add(1, Ordering::SeqCst) >= nth {
                return Err(io::Error::from_raw_os_error(5));
            }
            file.sync_data()
        }),
        flush_failed: Arc::new(move |_| told.store(true, Ordering::SeqCst)),
    };
    (hooks, seen)
}

#[test]
fn a_failed_flush_acknowledges_nothing_any_more_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (hooks, seen) = failing_flush(1);
    let (mut log, thread) = Log::open_with(dir.path(), SEGMENT, 500, hooks).unwrap();
    run(async {
        log.blocking_append([entry(1, 0, 10)]).await.unwrap();
        assert!(log.blocking_append([entry(1, 1, 10)]).await.is_err());
        assert!(seen.load(Ordering::SeqCst), "the process would have ended");
        assert!(log.save_vote(&vote(9)).await.is_err());
    });
    thread.thread.join().unwrap();
}

#[test]
fn appends_that_wait_while_the_disk_works_share_one_flush() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Mutex::new(()));
    let hold = gate.clone();
    let hooks = Hooks {
        flush: Arc::new(move |file| {
            drop(hold.lock());
            file.sync_data()
        }),
        ..Hooks::default()
    };
    let (mut log, thread) = Log::open_with(dir.path(), 1 << 20, 500, hooks).unwrap();
    let closed = gate.lock().unwrap();
    let acknowledged = run(async {
        let mut acknowledged = Vec::new();
        for index in 0..100 {
            let (done, written) = TypeConfig::oneshot();
            let append = log.append([entry(1, index, 10)], IOFlushed::signal(done));
            append.await.unwrap();
            acknowledged.push(written);
        }
        assert_eq!(
            all(&mut log).await.len(),
            100,
            "readable before they are on disk"
        );
        acknowledged
    });
    drop(closed);
    for written in acknowledged {
        run(written).unwrap().unwrap();
    }
    let stats = thread.stats()();
    assert_eq!(stats.records, 100);
    assert!(stats.flushes <= 3, "{} flushes", stats.flushes);
    close((log, thread));
}

/// One step of a life of a log, and of the list that models it.
#[derive(Clone, Debug)]
enum Step {
    Append { count: u64, bytes: usize },
    Truncate { back: u64 },
    Purge { share: u8 },
    Vote,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..6u64, 0..700usize).prop_map(|(count, bytes)| Step::Append { count, bytes }),
        1 => (1..5u64).prop_map(|back| Step::Truncate { back }),
        1 => any::<u8>().prop_map(|share| Step::Purge { share }),
        1 => Just(Step::Vote),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: VecDeque<Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    term: u64,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries
            .back()
            .map(|entry| entry.log_id)
            .or(self.purged)
    }

    async fn take(&mut self, log: &mut Log, step: &Step) {
        match step {
            Step::Append { count, bytes } => {
                let first = self.last().map_or(0, |id| id.index + 1);
                let new: Vec<_> = (first..first + count)
                    .map(|index| entry(self.term, index, *bytes))
                    .collect();
                self.entries.extend(new.clone());
                log.blocking_append(new).await.unwrap();
            }
            Step::Truncate { back } => {
                let keep = self.entries.len().saturating_sub(*back as usize);
                self.entries.truncate(keep);
                self.term += 1;
                log.truncate_after(self.last()).await.unwrap();
            }
            Step::Purge { share } => {
                let count = self.entries.len() * *share as usize / 255;
                for entry in self.entries.drain(..count) {
                    self.purged = Some(entry.log_id);
                }
                if let Some(purged) = self.purged {
                    log.purge(purged).await.unwrap();
                }
            }
            Step::Vote => {
                self.term += 1;
                self.vote = Some(vote(self.term));
                log.save_vote(&vote(self.term)).await.unwrap();
            }
            Step::Reopen => {}
        }
    }

    async fn check(&self, log: &mut Log) {
        assert_eq!(self.entries, all(log).await);
        let state = log.get_log_state().await.unwrap();
        assert_eq!(state.last_log_id, self.last());
        assert_eq!(state.last_purged_log_id, self.purged);
        let mut reader = log.get_log_reader().await;
        assert_eq!(reader.read_vote().await.unwrap(), self.vote);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_always_what_was_asked_of_it_and_so_it_is_after_a_restart(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = open(dir.path()).unwrap();
        let mut model = Model { term: 1, ..Model::default() };
        for step in steps.iter().chain([&Step::Reopen]) {
            if matches!(step, Step::Reopen) {
                close(opened);
                opened = open(dir.path()).unwrap();
            }
            run(async {
                model.take(&mut opened.0, step).await;
                model.check(&mut opened.0).await;
            });
        }
        close(opened);
    }

    #[test]
    fn a_log_cut_anywhere_in_its_last_write_keeps_everything_before(
        sizes in proptest::collection::vec(0..900usize, 1..12),
        cut in any::<u16>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, thread) = Log::open(dir.path(), 1 << 20).unwrap();
        let path = dir.path().join(segment::file_name(1));
        let mut before = 0;
        run(async {
            for (index, bytes) in sizes.iter().enumerate() {
                before = fs::metadata(&path).unwrap().len();
                let entries = [entry(1, index as u64, *bytes)];
                log.blocking_append(entries).await.unwrap();
            }
        });
        close((log, thread));
        let whole = fs::read(&path).unwrap();
        let lost = u64::from(cut) % (whole.len() as u64 - before) + 1;
        fs::write(&path, &whole[..whole.len() - lost as usize]).unwrap();
        let mut opened = open(dir.path()).unwrap();
        let entries = run(all(&mut opened.0));
        prop_assert_eq!(entries.len(), sizes.len() - 1);
        close(opened);
    }
}
