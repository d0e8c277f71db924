//! What agents report of their tasks, proposed many at a time: while one batch is on its way to the
//! disks, the next one gathers.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::HereError;
use crate::manager::store::Store;
use crate::state::command::{Op, TaskReport};

/// Batches of reports that may wait. Agents repeat all they know on a new session, so one that
/// finds the queue full loses nothing but time.
const QUEUE: usize = 4_096;
/// Reports in one log entry.
const BATCH: usize = 2_000;

#[derive(Debug)]
pub(super) struct Reporter {
    queue: mpsc::Sender<Vec<TaskReport>>,
    over: CancellationToken,
}

impl Reporter {
    pub(super) fn start(store: Store, tracker: &TaskTracker, over: CancellationToken) -> Self {
        let (queue, batches) = mpsc::channel(QUEUE);
        tracker.spawn(run(store, batches, over.clone()));
        Self { queue, over }
    }

    pub(super) fn report(&self, reports: Vec<TaskReport>) {
        if reports.is_empty() {
            return;
        }
        if self.queue.try_send(reports).is_err() && !self.over.is_cancelled() {
            tracing::warn!("reports of tasks come faster than they can be written");
        }
    }
}

async fn run(store: Store, mut queue: mpsc::Receiver<Vec<TaskReport>>, over: CancellationToken) {
    loop {
        let first = tokio::select! {
            () = over.cancelled() => return,
            reports = queue.recv() => match reports {
                Some(reports) => reports,
                None => return,
            },
        };
        let mut batch = first;
        while batch.len() < BATCH {
            let Ok(more) = queue.try_recv() else { break };
            batch.extend(more);
        }
        // A batch that no quorum took is tried again as long as this term lasts: the agents believe
        // it was heard.
        while let Err(error) = store.propose_here(Op::Report(batch.clone())).await {
            tracing::debug!(?error, "reports were not taken");
            if matches!(error, HereError::NotLeader) || over.is_cancelled() {
                return;
            }
            tokio::time::sleep(super::RETRY_AFTER).await;
        }
    }
}
