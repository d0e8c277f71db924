//! One task of this node: asks [`step`] what to do, does it, looks, and asks again.
//!
//! Every task has a worker of its own, so a call that hangs holds up nobody else. All engine calls
//! have deadlines; one whose outcome is unknown is followed by a look.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::board::Board;
use super::container::container_want;
use super::limit::Limit;
use super::opening::{Look, Opening};
use super::order::{Order, Wanted, stage_of};
use super::progress::{Progress, Signals};
use super::runtime::{
    ContainerView, LABEL_CLUSTER, LABEL_TASK, ListedContainer, Phase, PullPolicy, Runtime,
    RuntimeError,
};
use super::step::{Facts, Init, NetworksReady, News, Sight, Situation, Step, step};
use crate::clock::Clock;
use crate::spec::{ClusterId, TaskId};
use crate::state::assignment::Want;
use crate::state::node::NodeDescription;
use crate::state::task::{ContainerStatus, TaskState};

/// How soon a call that failed for a passing reason is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How many times a create or start may time out before the task is given up.
const TIMEOUTS: u32 = 3;
/// What a container without an order gets between its stop signal and its end.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// What all workers of a node share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) cluster: ClusterId,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) board: Arc<Board>,
    pub(super) clock: Arc<dyn Clock>,
    /// Creates and starts at a time.
    pub(super) limit: Arc<Limit>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) machine: watch::Receiver<NodeDescription>,
    pub(super) signals: Arc<Signals>,
    /// How long an application may take to listen on its published ports.
    pub(super) listen_within: Duration,
}

pub(super) struct Worker {
    shared: Shared,
    task: TaskId,
    wanted: watch::Receiver<Wanted>,
    /// Counts events of the container.
    nudges: watch::Receiver<u64>,
    /// The container's id, or its name until that is known.
    container: Option<String>,
    /// Init containers that have completed and are not removed yet. They stay until the container
    /// after them is made: so an agent that starts anew knows that they have run.
    leftovers: Vec<String>,
    sight: Sight,
    facts: Facts,
    image: Image,
    timeouts: u32,
    backoff: Backoff,
    opening: Opening,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Image {
    Unknown,
    Missing,
    Pulled,
}

impl Worker {
    /// `listed` are the containers that the engine has for it: the one that matters, and perhaps
    /// the init container before it.
    pub(super) fn new(
        shared: Shared,
        task: TaskId,
        wanted: watch::Receiver<Wanted>,
        nudges: watch::Receiver<u64>,
        mut listed: Vec<ListedContainer>,
    ) -> Self {
        let mut facts = shared
            .board
            .facts_of(task)
            .unwrap_or_else(|| Facts::new(shared.clock.now()));
        listed.sort_by_key(|container| stage_of(&container.name));
        let newest = listed.pop();
        if let Some(newest) = &newest {
            facts.stage = stage_of(&newest.name);
        }
        let container = newest.map(|newest| newest.id);
        Self {
            leftovers: listed.into_iter().map(|former| former.id).collect(),
            sight: match container {
                Some(_) => Sight::Unknown,
                None => Sight::Absent,
            },
            shared,
            task,
            wanted,
            nudges,
            container,
            facts,
            image: Image::Unknown,
            timeouts: 0,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            opening: Opening::new(),
        }
    }

    /// Works until the task is forgotten and nothing of it is left.
    pub(super) async fn run(mut self) -> TaskId {
        loop {
            if self.nudges.has_changed().unwrap_or(false) {
                self.nudges.mark_unchanged();
                self.sight = Sight::Unknown;
            }
            let wanted = self.wanted.borrow_and_update().clone();
            let networks = match &wanted {
                Wanted::Assigned(order) => {
                    self.shared.progress.borrow_and_update().ready_for(order)
                }
                Wanted::Gone => NetworksReady::Ready,
            };
            let init = match &wanted {
                Wanted::Assigned(order) => init(order, self.facts.stage),
                Wanted::Gone => None,
            };
            let next = step(&Situation {
                init,
                want: wanted.want(),
                sight: &self.sight,
                facts: &self.facts,
                networks: &networks,
                image_missing: self.image == Image::Missing,
                open: self.opening.is_done(),
            });
            tracing::trace!(task = %self.task, ?next, "step");
            if next == Step::Forget {
                if let Err(error) = self.sweep().await {
                    self.retry_later(&error).await;
                    continue;
                }
                self.shared.board.remove(self.task);
                return self.task;
            }
            self.take(next, &wanted).await;
        }
    }

    async fn take(&mut self, next: Step, wanted: &Wanted) {
        let order = match wanted {
            Wanted::Assigned(order) => Some(order),
            Wanted::Gone => None,
        };
        match (next, order) {
            (Step::Observe, _) => self.observe(wanted).await,
            (Step::Tell(news), _) => self.tell(news),
            (Step::Pull, Some(order)) => self.pull(order).await,
            (Step::Create, Some(order)) => self.create(order).await,
            (Step::Start, _) => self.start().await,
            (Step::Advance, Some(order)) => self.advance(order),
            (Step::Listen, Some(order)) => self.listen(order).await,
            (Step::GiveUp(fate), _) => self.give_up(fate),
            (Step::Stop, _) => self.stop(order.map(Arc::as_ref)).await,
            (Step::Remove, _) => self.remove().await,
            (Step::Wait(reason), _) => {
                self.explain(reason.unwrap_or_default());
                self.changed(None).await;
            }
            // `step` neither begins nor forgets what nobody ordered.
            (Step::Forget | Step::Pull | Step::Create | Step::Listen | Step::Advance, _) => {}
        }
    }

    async fn observe(&mut self, wanted: &Wanted) {
        let known = match (&self.container, wanted) {
            (Some(container), _) => container.clone(),
            (None, Wanted::Assigned(order)) => order.container_name(self.facts.stage),
            (None, Wanted::Gone) => {
                self.sight = Sight::Absent;
                return;
            }
        };
        match self.shared.runtime.inspect(&known).await {
            Ok(view) => {
                self.backoff.reset();
                self.see(view.filter(|view| self.is_ours(view)));
                self.sweep_what_is_over().await;
            }
            Err(error) => self.retry_later(&error).await,
        }
    }

    /// The next container's turn.
    fn advance(&mut self, order: &Order) {
        self.leftovers.extend(self.container.take());
        self.facts.stage += 1;
        self.facts.container = None;
        self.facts.err.clear();
        if order.init_at(self.facts.stage).is_none() {
            self.facts.message = "preparing".to_owned();
        }
        self.image = Image::Unknown;
        self.timeouts = 0;
        self.sight = Sight::Absent;
        self.shared.board.put(self.task, &self.facts);
    }

    /// Removes the init containers that another container has come after.
    async fn sweep_what_is_over(&mut self) {
        if matches!(self.sight, Sight::Present(_))
            && let Err(error) = self.sweep().await
        {
            tracing::warn!(task = %self.task, %error, "an init container stays for now");
        }
    }

    async fn sweep(&mut self) -> Result<(), RuntimeError> {
        while let Some(container) = self.leftovers.last() {
            let stopped = self.shared.runtime.stop(container, ORPHAN_GRACE).await;
            let removed = match stopped {
                Ok(()) => self.shared.runtime.remove(container).await,
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) | Err(RuntimeError::NoSuchContainer(_)) => self.leftovers.pop(),
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// A name proves nothing: what lacks our labels is somebody else's.
    fn is_ours(&self, view: &ContainerView) -> bool {
        let label = |name, value: String| view.labels.get(name) == Some(&value);
        label(LABEL_TASK, self.task.to_string())
            && label(LABEL_CLUSTER, self.shared.cluster.to_string())
    }

    fn see(&mut self, view: Option<ContainerView>) {
        self.sight = match view {
            None => Sight::Absent,
            Some(view) => {
                self.facts.container = Some(ContainerStatus {
                    id: view.id.as_str().into(),
                    pid: view.pid,
                    exit_code: match view.phase {
                        Phase::Exited { code, .. } => code,
                        Phase::Created | Phase::Running(_) => 0,
                    },
                });
                self.container = Some(view.id);
                Sight::Present(view.phase)
            }
        };
        let runs = matches!(self.sight, Sight::Present(Phase::Running(_)));
        let doomed = self.facts.has_ended() || self.facts.fate.is_some();
        if runs || self.facts.was_started() {
            self.shared.board.set_dead(self.task, !runs || doomed);
        }
    }

    fn tell(&mut self, news: News) {
        tracing::debug!(task = %self.task, state = ?news.state, err = %news.err, "task");
        self.facts.state = news.state;
        self.facts.at = self.shared.clock.now();
        self.facts.message = news.message.into_owned();
        self.facts.err = news.err;
        self.shared.board.put(self.task, &self.facts);
    }

    /// Says why the task is not further. Nothing waits without a reason.
    fn explain(&mut self, reason: String) {
        if !self.facts.has_ended() && self.facts.err != reason {
            self.facts.err = reason;
            self.shared.board.put(self.task, &self.facts);
        }
    }

    /// It cannot run: rejected if nothing was started yet, failed if it was.
    fn fail(&mut self, err: String) {
        let (state, message) = match self.facts.state {
            state if state < TaskState::Starting => (TaskState::Rejected, "preparing"),
            TaskState::Starting => (TaskState::Failed, "starting"),
            _ => (TaskState::Failed, "started"),
        };
        self.tell(News {
            state,
            message: message.into(),
            err,
        });
    }

    async fn pull(&mut self, order: &Arc<Order>) {
        let image = order.container_at(self.facts.stage).image;
        let runtime = self.shared.runtime.clone();
        let pulling = runtime.pull(&image, PullPolicy::Missing);
        let result = tokio::select! {
            result = pulling => result,
            // A pull takes long, and a task that is not wanted any more need not wait for it.
            () = unwanted(&mut self.wanted) => return,
        };
        match result {
            Ok(()) => self.image = Image::Pulled,
            Err(error @ RuntimeError::Unavailable(_)) => self.retry_later(&error).await,
            Err(error) => self.fail(error.to_string()),
        }
    }

    async fn create(&mut self, order: &Arc<Order>) {
        let machine = self.shared.machine.borrow().clone();
        let want = match container_want(order, &machine, self.facts.stage) {
            Ok(want) => want,
            Err(error) => return self.fail(error.to_string()),
        };
        let runtime = self.shared.runtime.clone();
        let result = self.shared.limit.run(runtime.create(&want)).await;
        match result {
            Ok(id) => {
                self.facts.container = Some(ContainerStatus {
                    id: id.as_str().into(),
                    ..ContainerStatus::default()
                });
                self.container = Some(id);
                self.sight = Sight::Present(Phase::Created);
                self.sweep_what_is_over().await;
            }
            Err(RuntimeError::NoSuchImage(_)) if self.image == Image::Unknown => {
                self.image = Image::Missing;
            }
            Err(RuntimeError::NameInUse(message)) => self.adopt(&want.name, message).await,
            Err(error) => self.create_failed(error).await,
        }
    }

    /// There is a container of that name: it is this task's own, or the name is taken.
    async fn adopt(&mut self, name: &str, message: String) {
        match self.shared.runtime.inspect(name).await {
            Ok(Some(view)) if self.is_ours(&view) => self.see(Some(view)),
            Ok(Some(_)) => self.fail(message),
            // Somebody is just removing it.
            Ok(None) => self.retry_later(&RuntimeError::NameInUse(message)).await,
            Err(error) => self.retry_later(&error).await,
        }
    }

    async fn create_failed(&mut self, error: RuntimeError) {
        match error {
            RuntimeError::Unavailable(_) => self.retry_later(&error).await,
            RuntimeError::NoSuchNetwork(_) | RuntimeError::Deadline { .. } if self.may_retry() => {
                // Somebody removed the network, or the engine was too slow: look, then try again.
                self.shared.signals.missing.notify_one();
                self.retry_later(&error).await;
            }
            error => self.fail(error.to_string()),
        }
    }

    async fn start(&mut self) {
        let Some(container) = self.container.clone() else {
            self.sight = Sight::Unknown;
            return;
        };
        let runtime = self.shared.runtime.clone();
        let result = self.shared.limit.run(runtime.start(&container)).await;
        match result {
            Ok(()) => {
                self.backoff.reset();
                self.sight = Sight::Unknown;
            }
            Err(RuntimeError::NoSuchContainer(_)) => self.sight = Sight::Unknown,
            Err(error @ RuntimeError::Unavailable(_)) => self.retry_later(&error).await,
            Err(error @ (RuntimeError::NoSuchNetwork(_) | RuntimeError::Deadline { .. }))
                if self.may_retry() =>
            {
                self.shared.signals.missing.notify_one();
                self.retry_later(&error).await;
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    async fn listen(&mut self, order: &Order) {
        let pid = self.facts.container.as_ref().map_or(0, |it| it.pid);
        let (runtime, within) = (self.shared.runtime.clone(), self.shared.listen_within);
        match self.opening.look(&*runtime, order, pid, within).await {
            Look::Open => {}
            Look::Unseen { until } => {
                self.changed(Some(until)).await;
                self.sight = Sight::Unknown;
            }
            Look::Closed { reason, until } => {
                self.explain(reason);
                self.changed(Some(until)).await;
            }
        }
    }

    const fn may_retry(&mut self) -> bool {
        self.timeouts += 1;
        self.timeouts < TIMEOUTS
    }

    /// Remembers why it is stopped, before it is stopped: whoever goes on after a crash must know.
    fn give_up(&mut self, fate: &str) {
        self.facts.fate = Some(fate.to_owned());
        self.shared.board.put(self.task, &self.facts);
        self.shared.board.set_dead(self.task, true);
    }

    async fn stop(&mut self, order: Option<&Order>) {
        let grace = order.map_or(ORPHAN_GRACE, |order| {
            let spec = &order.spec.task_template.container_spec;
            spec.stop_grace_period().to_std()
        });
        let Some(container) = self.container.clone() else {
            self.sight = Sight::Unknown;
            return;
        };
        match self.shared.runtime.stop(&container, grace).await {
            Ok(()) | Err(RuntimeError::NoSuchContainer(_)) => self.sight = Sight::Unknown,
            Err(error) => self.retry_later(&error).await,
        }
    }

    async fn remove(&mut self) {
        let Some(container) = self.container.clone() else {
            self.sight = Sight::Unknown;
            return;
        };
        match self.shared.runtime.remove(&container).await {
            Ok(()) | Err(RuntimeError::NoSuchContainer(_)) => {
                self.container = None;
                self.sight = Sight::Absent;
                self.shared.signals.released.notify_one();
            }
            Err(error) => self.retry_later(&error).await,
        }
    }

    /// A call failed for a reason that may pass: after a pause, or when something changes, the
    /// container is looked at again.
    async fn retry_later(&mut self, error: &RuntimeError) {
        tracing::warn!(task = %self.task, %error, "trying again");
        // An engine that is away is the node's trouble, not that of every task that runs on.
        if self.facts.state < TaskState::Running || !matches!(error, RuntimeError::Unavailable(_)) {
            self.explain(error.to_string());
        }
        self.sight = Sight::Unknown;
        let until = Instant::now() + self.backoff.pause();
        self.changed(Some(until)).await;
    }

    /// Waits until something that a step depends on changes.
    async fn changed(&mut self, until: Option<Instant>) {
        let watches_networks = self.facts.state < TaskState::Running && until.is_none();
        tokio::select! {
            Ok(()) = self.wanted.changed() => {}
            Ok(()) = self.nudges.changed() => self.sight = Sight::Unknown,
            Ok(()) = self.shared.progress.changed(), if watches_networks => {}
            () = sleep_until(until) => {}
        }
    }
}

/// The init container whose turn it is, if it is one's.
fn init(order: &Order, stage: u32) -> Option<Init<'_>> {
    let init = order.init_at(stage)?;
    Some(Init {
        name: &init.name,
        place: stage + 1,
        total: order.inits().len(),
    })
}

/// Returns when the task is not to run any more.
async fn unwanted(wanted: &mut watch::Receiver<Wanted>) {
    let runs = |want: Option<Want>| matches!(want, Some(Want::Ready | Want::Running));
    // An error means that the agent stops, and this worker with it.
    let _ = wanted.wait_for(|wanted| !runs(wanted.want())).await;
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
