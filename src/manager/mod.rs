//! The manager half of a node: a member of the Raft group that leads when elected. Layer: shell.
//!
//! | task                 | owner        | what it does                                            |
//! |----------------------|--------------|---------------------------------------------------------|
//! | `follow_leadership`  | `Manager`    | starts and ends a `leader` as terms begin and end       |
//! | `leader::Leader`     | one term     | plan, propose, assign; nothing else decides             |
//! | `leader::members`    | one term     | keeps the Raft group in step with the nodes' roles      |
//! | `leader::reporter`   | one term     | proposes what agents report, in batches                 |
//! | `session`            | a connection | an agent's stream                                       |
//! | `join`, `control`    | a connection | nodes coming in; proposals and reads of other managers  |

pub(crate) mod authority;
mod control;
mod join;
mod leader;
mod machine;
pub(crate) mod peers;
mod session;
pub(crate) mod store;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use swarmr_net::membership::View;
use swarmr_net::quic::{Connection, Pool};
use swarmr_raft::{Config, Member, Raft, Timing};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::join::Grants;
use self::leader::LeaderHandle;
use self::machine::StateMachine;
use self::store::Store;
use self::transport::QuicTransport;
use crate::clock::Clock;
use crate::message::control::{Answer, Ask};
use crate::spec::{NodeId, Role};
use crate::state::command::{InitCluster, Op};
use crate::state::{Reply, State};

/// Entries between snapshots, as Docker's default.
const SNAPSHOT_EVERY: u64 = 10_000;
/// Entries kept behind a snapshot for members that lag.
const KEEP_BEHIND: u64 = 5_000;
const SEGMENT_BYTES: u64 = 16 << 20;
/// How long stopping may take before it is given up.
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// What a manager is started with.
#[derive(Debug, Clone)]
pub(crate) struct ManagerConfig {
    pub(crate) node: NodeId,
    /// Its number in the Raft group.
    pub(crate) raft_id: u64,
    /// Where the log and the snapshots are.
    pub(crate) dir: PathBuf,
    pub(crate) timing: Timing,
    /// Fresh randomness for ids.
    pub(crate) fresh_id: fn() -> u128,
}

/// A running manager.
pub(crate) struct Manager {
    config: ManagerConfig,
    store: Store,
    raft: watch::Sender<Option<Raft>>,
    leading: watch::Receiver<Option<LeaderHandle>>,
    grants: Arc<Grants>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Manager {
    /// Starts from what is on disk; a new member waits to be added.
    pub(crate) async fn start(
        config: ManagerConfig,
        pool: Pool,
        clock: Arc<dyn Clock>,
        view: watch::Receiver<Arc<View>>,
    ) -> Result<Arc<Self>, swarmr_raft::StartError> {
        let (machine, states) = StateMachine::new();
        let transport = Arc::new(QuicTransport::new(pool.clone()));
        let raft_config = Config {
            id: config.raft_id,
            dir: config.dir.clone(),
            timing: config.timing,
            snapshot_every: SNAPSHOT_EVERY,
            keep_behind: KEEP_BEHIND,
            segment_bytes: SEGMENT_BYTES,
        };
        let raft = Raft::start(raft_config, machine, transport).await?;
        let store = Store::new(raft.clone(), states, pool, clock.clone());
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let (lead, leading) = watch::channel(None);
        tracker.spawn(follow_leadership(
            store.clone(),
            clock,
            config.node,
            view,
            lead,
            tracker.clone(),
            stop.clone(),
        ));
        Ok(Arc::new(Self {
            config,
            store,
            raft: watch::Sender::new(Some(raft)),
            leading,
            grants: Arc::default(),
            tracker,
            stop,
        }))
    }

    /// Makes a Raft group of this one member and the cluster in it.
    pub(crate) async fn initialize(&self, addr: &str, init: InitCluster) -> Result<(), String> {
        let member = Member {
            id: self.config.raft_id,
            label: self.config.node.to_string(),
            addr: addr.to_owned(),
        };
        self.store
            .raft()
            .initialize(member)
            .await
            .map_err(|error| error.to_string())?;
        match self.store.propose(Op::InitCluster(Box::new(init))).await {
            Ok(Reply::Rejected(why)) => Err(why.to_string()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn raft_id(&self) -> u64 {
        self.config.raft_id
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.store.state()
    }

    pub(crate) async fn serve_raft(&self, connection: Connection) {
        transport::serve(connection, self.raft.subscribe()).await;
    }

    pub(crate) async fn serve_session(&self, connection: Connection) {
        session::serve(connection, self.store.clone(), self.leading.clone()).await;
    }

    pub(crate) async fn serve_join(&self, connection: Connection) {
        join::serve_join(
            connection,
            self.store.clone(),
            self.grants.clone(),
            self.config.fresh_id,
        )
        .await;
    }

    pub(crate) async fn serve_admit(&self, connection: Connection) {
        join::serve_admit(connection, self.store.clone(), self.grants.clone()).await;
    }

    /// Answers another node's call.
    pub(crate) async fn answer(&self, from: NodeId, role: Role, question: Ask) -> Answer {
        match question {
            Ask::PrepareMember { .. } => Answer::Prepared {
                raft_id: self.config.raft_id,
            },
            question => control::answer(&self.store, from, role, question).await,
        }
    }

    /// Hands leadership over if it has it, then stops.
    pub(crate) async fn stop(&self) {
        self.raft.send_replace(None);
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(STOP_DEADLINE, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("tasks of the manager did not end in time");
        }
        self.store.raft().leave_gracefully().await;
    }
}

/// Starts a leader when this member is elected, and ends it when the term is over.
async fn follow_leadership(
    store: Store,
    clock: Arc<dyn Clock>,
    me: NodeId,
    view: watch::Receiver<Arc<View>>,
    lead: watch::Sender<Option<LeaderHandle>>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let mut status = store.raft().watch();
    let mut current: Option<(u64, CancellationToken)> = None;
    loop {
        let (leads, term) = {
            let status = status.borrow_and_update();
            (status.is_leader(), status.term)
        };
        if current
            .as_ref()
            .is_some_and(|(led, _)| !leads || *led != term)
        {
            if let Some((_, over)) = current.take() {
                over.cancel();
            }
            lead.send_replace(None);
        }
        if leads && current.is_none() {
            let over = stop.child_token();
            let handle = leader::lead(
                store.clone(),
                clock.clone(),
                term,
                me,
                view.clone(),
                &tracker,
                over.clone(),
            );
            lead.send_replace(Some(handle));
            current = Some((term, over));
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = status.changed() => if changed.is_err() { break },
        }
    }
    if let Some((_, over)) = current {
        over.cancel();
    }
    lead.send_replace(None);
}
