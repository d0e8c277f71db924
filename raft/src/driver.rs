//! The machine on a thread of its own, and what openraft sees of it.
//!
//! openraft's task hands over batches and waits; the machine's thread applies them, lets the
//! machine publish, says how far it is, and answers the proposers. A snapshot is captured there
//! and encoded elsewhere, so that neither it nor a slow `apply` holds up a heartbeat.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use openraft::alias::SnapshotOf;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tokio::sync::{mpsc, oneshot, watch};

use crate::machine::Machine;
use crate::snapshot::{SnapshotFile, SnapshotStore};
use crate::types::{Entry, LogId, Payload, Reply, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries handed to the machine at once.
const BATCH: usize = 1024;

type Encode = Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>;

/// One piece of work for the machine's thread.
enum Job {
    Apply {
        entries: Vec<(Entry, Option<ApplyResponder<TypeConfig>>)>,
        done: oneshot::Sender<()>,
    },
    Capture {
        done: oneshot::Sender<Encode>,
    },
    Restore {
        last_index: u64,
        state: Vec<u8>,
        done: oneshot::Sender<io::Result<Vec<u8>>>,
    },
}

/// The machine's end: runs on its thread until the driver is gone.
pub(crate) struct Engine<M> {
    machine: M,
    jobs: mpsc::Receiver<Job>,
    applied: watch::Sender<u64>,
}

/// openraft's end.
#[derive(Debug)]
pub(crate) struct Driver {
    jobs: mpsc::Sender<Job>,
    snapshots: Arc<SnapshotStore>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

/// Connects a machine to openraft. `applied` gets the index of the last applied entry.
pub(crate) fn connect<M: Machine>(
    machine: M,
    snapshots: Arc<SnapshotStore>,
    applied: watch::Sender<u64>,
) -> (Engine<M>, Driver) {
    let (jobs, receiver) = mpsc::channel(4);
    let engine = Engine {
        machine,
        jobs: receiver,
        applied,
    };
    let driver = Driver {
        jobs,
        snapshots,
        last_applied: None,
        membership: StoredMembership::default(),
    };
    (engine, driver)
}

impl<M: Machine> Engine<M> {
    pub(crate) fn run(mut self) {
        while let Some(job) = self.jobs.blocking_recv() {
            match job {
                Job::Apply { entries, done } => {
                    self.apply(entries);
                    // Whoever does not wait any more is stopping.
                    let _ = done.send(());
                }
                Job::Capture { done } => {
                    let _ = done.send(self.machine.snapshot());
                }
                Job::Restore {
                    last_index,
                    state,
                    done,
                } => {
                    let result = self.machine.restore(last_index, &state);
                    if result.is_ok() {
                        self.machine.published(last_index);
                        self.applied.send_replace(last_index);
                    }
                    let _ = done.send(result.map(|()| state));
                }
            }
        }
    }

    fn apply(&mut self, entries: Vec<(Entry, Option<ApplyResponder<TypeConfig>>)>) {
        let mut replies = Vec::with_capacity(entries.len());
        let mut last_index = None;
        for (entry, responder) in entries {
            let id = entry.log_id;
            let reply = match &entry.payload {
                Payload::Normal(data) => self.machine.apply(id.index, id.leader_id.term, &data.0),
                Payload::Blank | Payload::Membership(_) => Bytes::new(),
            };
            replies.extend(responder.map(|responder| (responder, reply)));
            last_index = Some(id.index);
        }
        if let Some(index) = last_index {
            self.machine.published(index);
            self.applied.send_replace(index);
        }
        for (responder, reply) in replies {
            responder.send(Reply(reply));
        }
    }
}

impl Driver {
    /// Sends a job and waits for its outcome.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> io::Result<T> {
        let gone =
            || io::Error::other("the machine's thread has ended: it panicked or was stopped");
        let (done, outcome) = oneshot::channel();
        self.jobs.send(job(done)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())
    }

    /// The description of a snapshot of the state as it is now.
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
        }
    }
}

impl RaftStateMachine<TypeConfig> for Driver {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let entries = batch.into_iter().collect::<io::Result<Vec<_>>>()?;
            for (entry, _) in &entries {
                self.last_applied = Some(entry.log_id);
                if let Payload::Membership(membership) = &entry.payload {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                }
            }
            self.ask(|done| Job::Apply { entries, done }).await?;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let encode = self.ask(|done| Job::Capture { done }).await;
        Builder {
            encode: Mutex::new(Some(encode)),
            meta: self.meta(),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> io::Result<()> {
        let file = snapshot.clone();
        let (found, state) = blocking(move || file.load()).await?;
        if found != *meta {
            return Err(io::Error::other("the snapshot is not the one described"));
        }
        let last_index = meta.last_log_id.map_or(0, |id| id.index);
        let state = self
            .ask(|done| Job::Restore {
                last_index,
                state,
                done,
            })
            .await??;
        let (snapshots, described) = (self.snapshots.clone(), meta.clone());
        blocking(move || snapshots.adopt(&described, &snapshot, &state)).await?;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>> {
        let newest = self.snapshots.newest();
        Ok(newest.map(|(meta, snapshot)| openraft::Snapshot { meta, snapshot }))
    }
}

/// Turns a captured state into a snapshot file.
pub(crate) struct Builder {
    /// `None` once built. The lock is there for `Sync` only.
    encode: Mutex<Option<io::Result<Encode>>>,
    meta: SnapshotMeta,
    snapshots: Arc<SnapshotStore>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotFile>> {
        let encode = self
            .encode
            .get_mut()
            .expect("nothing panics while holding it")
            .take()
            .ok_or_else(|| io::Error::other("this snapshot was built already"))??;
        let (snapshots, meta) = (self.snapshots.clone(), self.meta.clone());
        let snapshot = blocking(move || snapshots.save(&meta, &encode()?)).await?;
        Ok(openraft::Snapshot {
            meta: self.meta.clone(),
            snapshot,
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
