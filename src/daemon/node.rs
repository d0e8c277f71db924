//! What runs while this machine is part of a cluster: the door, the agent, its session, and the
//! manager when this node is one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use swarmr_net::identity::NodeIdentity;
use swarmr_net::membership::Membership;
use swarmr_net::quic::{Access, Connection, Door, Pool, PoolOptions, Refusal, Router, serve_calls};
use swarmr_raft::Timing;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::disk::{Settings, StateDirectory};
use super::engine::Engine;
use super::{gossip, lifecycle, role};
use crate::agent::Agent;
use crate::agent::session::{self, SessionConfig};
use crate::clock::Clock;
use crate::manager::authority::role_of;
use crate::manager::{Manager, ManagerConfig};
use crate::message::control::{Answer, Ask};
use crate::message::{ADMIT, CONTROL, GOSSIP, JOIN, RAFT, SESSION};
use crate::spec::{ClusterId, NodeId, Role};
use crate::state::assignment::ManagerAddr;
use crate::state::{State, codec};

/// A leader that is lost is replaced in about 600 ms, election and all: no vote is given for the
/// longest election time after its last heartbeat, and then an election time is waited. Faster is
/// possible on idle machines; on busy ones (containers start, images unpack) leaders would be taken
/// for lost that are not. Rare heartbeats cost an idle manager less, and a failover takes no longer for
/// them. They fit into the lease that reads rest on, three quarters of the shortest election time.
const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(150),
    election_min: Duration::from_millis(250),
    election_max: Duration::from_millis(300),
};
/// Calls of one node that are answered at once.
const CALLS_CONCURRENT: usize = 256;
const CALL_BYTES_MAX: usize = 8 << 20;

/// What a node is built from.
pub(super) struct NodeParts<'a> {
    pub(super) door: Door,
    pub(super) identity: Arc<NodeIdentity>,
    pub(super) settings: Settings,
    pub(super) disk: &'a StateDirectory,
    pub(super) engine: &'a Engine,
    pub(super) clock: Arc<dyn Clock>,
    /// Where the manager's states are published.
    pub(super) states: watch::Sender<Arc<State>>,
}

/// A running node.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) cluster: ClusterId,
    pub(super) door: Door,
    pub(super) pool: Pool,
    pub(super) disk: StateDirectory,
    clock: Arc<dyn Clock>,
    pub(super) agent: Arc<Agent>,
    membership: Arc<Membership>,
    settings: Mutex<Settings>,
    manager: watch::Sender<Option<Arc<Manager>>>,
    /// Where managers are, as the session learns it.
    managers: watch::Sender<Vec<ManagerAddr>>,
    states: watch::Sender<Arc<State>>,
    pub(super) tracker: TaskTracker,
    pub(super) stopping: CancellationToken,
    /// One start or stop of the manager at a time.
    changing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Starts everything. The door is bound already; it opens here.
    pub(super) async fn start(parts: NodeParts<'_>) -> anyhow::Result<Arc<Self>> {
        let NodeParts {
            door,
            identity,
            settings,
            disk,
            engine,
            clock,
            states,
        } = parts;
        let id: NodeId = identity
            .node_id()
            .parse()
            .context("the certificate names no node")?;
        let cluster: ClusterId = identity
            .cluster_id()
            .parse()
            .context("the certificate names no cluster")?;
        let pool = Pool::new(&door, PoolOptions::default());
        let agent = Arc::new(engine.start_agent(id, cluster, disk)?);
        let (tracker, stopping) = (TaskTracker::new(), CancellationToken::new());
        let membership = gossip::start(&agent, &pool, &tracker, &stopping);
        let node = Arc::new(Self {
            id,
            cluster,
            door: door.clone(),
            pool: pool.clone(),
            disk: disk.clone(),
            clock,
            agent: agent.clone(),
            membership,
            settings: Mutex::new(settings.clone()),
            manager: watch::Sender::new(None),
            managers: watch::Sender::new(settings.managers.clone()),
            states,
            tracker,
            stopping,
            changing: tokio::sync::Mutex::new(()),
        });
        if let Some(raft_id) = settings.raft_id {
            node.start_manager(raft_id).await?;
        }
        node.open_door()?;
        let assigned = watch::Sender::new(None);
        let config = SessionConfig {
            agent,
            pool,
            addr: settings.advertise.to_string(),
            managers: node.managers.clone(),
            assigned: assigned.clone(),
        };
        node.tracker
            .spawn(session::run(config, node.stopping.clone()));
        node.tracker.spawn(role::follow(
            Arc::downgrade(&node),
            node.managers.subscribe(),
            assigned.subscribe(),
            node.stopping.clone(),
        ));
        Ok(node)
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes what is remembered across restarts, on disk first.
    pub(super) fn remember(&self, change: impl FnOnce(&mut Settings)) -> anyhow::Result<()> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = settings.clone();
        change(&mut changed);
        if changed != *settings {
            self.disk.save_settings(&changed)?;
            *settings = changed;
        }
        Ok(())
    }

    /// Where managers are, as this node heard last.
    pub(super) fn known_managers(&self) -> Vec<ManagerAddr> {
        self.managers.borrow().clone()
    }

    pub(super) fn identity(&self) -> Option<Arc<NodeIdentity>> {
        self.door.credentials().identity()
    }

    /// What the certificate says now.
    pub(super) fn role(&self) -> Role {
        self.identity()
            .map_or(Role::Worker, |identity| role_of(identity.role()))
    }

    pub(super) fn manager(&self) -> Option<Arc<Manager>> {
        self.manager.borrow().clone()
    }

    /// Starts the manager under this number in the Raft group; one that runs already is left alone.
    pub(super) async fn start_manager(&self, raft_id: u64) -> anyhow::Result<Arc<Manager>> {
        let _one_at_a_time = self.changing.lock().await;
        if let Some(manager) = self.manager() {
            return Ok(manager);
        }
        let config = ManagerConfig {
            node: self.id,
            raft_id,
            dir: self.disk.raft(),
            timing: TIMING,
            fresh_id: lifecycle::fresh_id,
        };
        let manager = Manager::start(
            config,
            self.pool.clone(),
            self.clock.clone(),
            self.membership.view(),
        )
        .await
        .context("the replicated store cannot be started")?;
        self.remember(|settings| settings.raft_id = Some(raft_id))?;
        self.manager.send_replace(Some(manager.clone()));
        let (mut published, states) = (manager.store().watch(), self.states.clone());
        let stopping = self.stopping.clone();
        self.tracker.spawn(async move {
            loop {
                let state = published.borrow_and_update().clone();
                states.send_replace(state);
                tokio::select! {
                    () = stopping.cancelled() => return,
                    changed = published.changed() => if changed.is_err() { return },
                }
            }
        });
        Ok(manager)
    }

    /// Stops being a manager and forgets the log.
    pub(super) async fn stop_manager(&self) -> anyhow::Result<()> {
        let _one_at_a_time = self.changing.lock().await;
        let Some(manager) = self.manager.send_replace(None) else {
            return Ok(());
        };
        manager.stop().await;
        self.states.send_replace(Arc::new(State::default()));
        self.remember(|settings| settings.raft_id = None)?;
        self.disk.clear_raft()
    }

    /// Lets others in, each to the protocols its certificate allows.
    fn open_door(self: &Arc<Self>) -> anyhow::Result<()> {
        let router = Router::new()
            .route(
                JOIN,
                Access::Anonymous,
                self.handler(|manager, connection| async move {
                    manager.serve_join(connection).await;
                }),
            )
            .route(
                ADMIT,
                Access::Node,
                self.handler(|manager, connection| async move {
                    manager.serve_admit(connection).await;
                }),
            )
            .route(
                SESSION,
                Access::Node,
                self.handler(|manager, connection| async move {
                    manager.serve_session(connection).await;
                }),
            )
            .route(
                RAFT,
                Access::Manager,
                self.handler(|manager, connection| async move {
                    manager.serve_raft(connection).await;
                }),
            )
            .route(CONTROL, Access::Node, self.control_handler())
            .route(GOSSIP, Access::Node, {
                let membership = self.membership.clone();
                move |connection| membership.serve(connection)
            });
        let manager = self.manager.subscribe();
        self.door.set_admission(move |peer, access| {
            let manager = manager.borrow().clone();
            match manager {
                Some(manager) if access == Access::Manager => {
                    admit_manager(&manager, &peer.node_id)
                }
                _ => Ok(()),
            }
        });
        self.door
            .serve(router)
            .context("the QUIC port cannot be opened")
    }

    /// A protocol that only managers serve. A node that is none (yet) ends the connection.
    fn handler<F>(
        self: &Arc<Self>,
        serve: impl Fn(Arc<Manager>, Connection) -> F + Send + Sync + Clone + 'static,
    ) -> impl Fn(Connection) -> futures::future::BoxFuture<'static, ()> + Send + Sync + 'static
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let manager = self.manager.subscribe();
        move |connection| {
            let (manager, serve) = (manager.borrow().clone(), serve.clone());
            Box::pin(async move {
                match manager {
                    Some(manager) => serve(manager, connection).await,
                    None => connection.close("this node is not a manager"),
                }
            })
        }
    }

    fn control_handler(
        self: &Arc<Self>,
    ) -> impl Fn(Connection) -> futures::future::BoxFuture<'static, ()> + Send + Sync + 'static
    {
        let node = Arc::downgrade(self);
        move |connection| {
            let node = node.clone();
            Box::pin(async move {
                serve_calls(
                    connection,
                    CALLS_CONCURRENT,
                    CALL_BYTES_MAX,
                    move |peer, request| {
                        let node = node.upgrade();
                        async move {
                            let answer = match (node, &peer.identity) {
                                (Some(node), Some(identity)) => {
                                    node.answer(&identity.node_id, role_of(identity.role), &request)
                                        .await
                                }
                                _ => Answer::Refused("this node is stopping".to_owned()),
                            };
                            Bytes::from(codec::encode(&answer).unwrap_or_default())
                        }
                    },
                )
                .await;
            })
        }
    }

    async fn answer(&self, from: &str, role: Role, request: &[u8]) -> Answer {
        let Ok(from) = from.parse::<NodeId>() else {
            return Answer::Refused(format!("{from:?} is no node id"));
        };
        let question = match codec::decode::<Ask>(request) {
            Ok(question) => question,
            Err(error) => return Answer::Refused(format!("the call cannot be read: {error}")),
        };
        match (self.manager(), question) {
            (_, Ask::Ping) => Answer::Done,
            (_, Ask::Examine { mend }) if role == Role::Manager => {
                Answer::Examined(Box::new(self.agent.examine(mend).await))
            }
            // What runs here is about to stop and to forget its log: it must not be added again.
            (Some(_), Ask::PrepareMember { .. }) if self.role() == Role::Worker => {
                Answer::Refused("this node is just ceasing to be a manager".to_owned())
            }
            (Some(manager), question) => manager.answer(from, role, question).await,
            (None, Ask::PrepareMember { raft_id })
                if role == Role::Manager && self.role() == Role::Manager =>
            {
                match self.start_manager(raft_id).await {
                    Ok(_) => Answer::Done,
                    Err(error) => Answer::Refused(format!("{error:#}")),
                }
            }
            (None, Ask::Examine { .. }) => Answer::Refused(format!("node {from} is not a manager")),
            (None, _) => Answer::Refused("this node is not a manager".to_owned()),
        }
    }

    /// What a node that was just admitted learns: where the managers are.
    pub(super) fn meet(&self, managers: Vec<ManagerAddr>) -> anyhow::Result<()> {
        self.managers.send_replace(managers.clone());
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.managers = managers;
        self.disk.save_settings(&settings)
    }

    /// Ends everything; containers go on.
    pub(super) async fn stop(&self, deadline: Duration) {
        self.stopping.cancel();
        if let Some(manager) = self.manager.send_replace(None) {
            manager.stop().await;
        }
        if tokio::time::timeout(deadline, self.agent.close())
            .await
            .is_err()
        {
            tracing::warn!("tasks of the agent did not end in time");
        }
        self.door.close(deadline).await;
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("tasks of the node did not end in time");
        }
    }
}

/// The leader, which knows, turns away those that are managers no more; others may be behind, and
/// must not turn away a manager that they have not heard of.
fn admit_manager(manager: &Manager, peer: &str) -> Result<(), Refusal> {
    if !manager.store().status().is_leader() {
        return Ok(());
    }
    let state = manager.state();
    let node = peer.parse::<NodeId>().ok().and_then(|id| state.node(id));
    if node.is_some_and(|node| node.is_manager()) {
        Ok(())
    } else {
        Err(Refusal::not_admitted(format!(
            "node {peer} is not a manager any more"
        )))
    }
}
