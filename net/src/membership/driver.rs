//! The task: inputs in, datagrams and questions out, the view published.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::kernel::Kernels;
use super::links::Links;
use super::{Members, Settings, Told, View};
use crate::gossip::{Fact, FactKey, Gossip, NodeId, Output, Time};
use crate::quic::{Connection, Peer, Pool};

#[derive(Debug)]
pub(super) enum Input {
    Connected(Connection),
    NotConnected(NodeId),
    Datagram { from: Arc<Peer>, datagram: Bytes },
    KernelAnswered(NodeId),
}

pub(super) struct Driver {
    gossip: Gossip,
    members: Arc<Members>,
    told: Arc<Told>,
    links: Links,
    kernels: Kernels,
    pool: Pool,
    view: View,
    published: watch::Sender<Arc<View>>,
    began: Instant,
    stop: CancellationToken,
}

/// Inputs that are taken in one breath.
const BREATH: usize = 64;
/// Where nothing is due, it is looked again all the same.
const LONGEST: Duration = Duration::from_secs(3_600);

impl Driver {
    pub(super) fn new(
        settings: Settings,
        pool: Pool,
        inputs: mpsc::Sender<Input>,
        published: watch::Sender<Arc<View>>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let Settings {
            me,
            start,
            seed,
            alpn,
            timing,
        } = settings;
        Self {
            gossip: Gossip::new(me, start, seed, timing, Time::ZERO),
            members: Arc::default(),
            told: Arc::default(),
            kernels: Kernels::new(inputs.clone(), tracker.clone()),
            links: Links::new(me, alpn, pool.clone(), inputs, tracker, stop.clone()),
            pool,
            view: View::default(),
            published,
            began: Instant::now(),
            stop,
        }
    }

    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut members: watch::Receiver<Arc<Members>>,
        mut told: watch::Receiver<Arc<Told>>,
    ) {
        members.mark_changed();
        told.mark_changed();
        let stop = self.stop.clone();
        loop {
            let wake = self.wake_at();
            tokio::select! {
                () = stop.cancelled() => return,
                changed = members.changed() => {
                    if changed.is_err() { return }
                    let news = members.borrow_and_update().clone();
                    self.meet(news);
                }
                changed = told.changed() => {
                    if changed.is_err() { return }
                    let news = told.borrow_and_update().clone();
                    self.say(news);
                }
                input = inputs.recv() => {
                    let mut next = input;
                    for _ in 0..BREATH {
                        let Some(input) = next else { break };
                        self.take(input);
                        next = inputs.try_recv().ok();
                    }
                    if let Some(input) = next {
                        self.take(input);
                    }
                }
                () = sleep_until(wake) => {
                    let now = self.now();
                    self.gossip.wake(now);
                }
            }
            self.act();
        }
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Connected(connection) => {
                let name = connection.peer().node_id().unwrap_or_default();
                match self.members.id(name) {
                    Some(node) => self.links.connected(node, connection),
                    // It may be a node that this one has not heard of yet: it is read all the same,
                    // and answered over a connection of our own once it is known.
                    None => tracing::debug!(name, "gossip from a node that is not known here"),
                }
            }
            Input::NotConnected(node) => self.links.not_connected(node),
            Input::Datagram { from, datagram } => {
                let from = from.node_id().and_then(|name| self.members.id(name));
                if let Some(from) = from {
                    self.gossip.receive(now, from, &datagram);
                }
            }
            Input::KernelAnswered(node) => self.gossip.kernel_answered(now, node),
        }
    }

    fn meet(&mut self, members: Arc<Members>) {
        for member in members.iter() {
            if let Some(address) = member.address {
                self.pool.set_address(&member.name, address);
            }
        }
        self.members = members;
        let now = self.now();
        self.gossip
            .set_members(now, Arc::clone(&self.members.roster));
        let members = &self.members;
        self.links.keep(|node| members.get(node).is_some());
        self.view.keep(&self.members);
        self.publish();
    }

    /// What this node says of its tasks from now on.
    fn say(&mut self, told: Arc<Told>) {
        let now = self.now();
        for task in self.told.keys().filter(|task| !told.contains_key(task)) {
            self.gossip.unset(now, FactKey::Task(*task));
        }
        for (task, phase) in told.iter() {
            if let Err(error) = self.gossip.set(now, Fact::Task(*task, *phase)) {
                tracing::warn!(%error, "others do not hear of all tasks that have died here");
                break;
            }
        }
        self.told = told;
    }

    /// Does what is to be done.
    fn act(&mut self) {
        let mut news = false;
        while let Some(output) = self.gossip.take() {
            match output {
                Output::Send { to, datagram } => {
                    if let Some(member) = self.members.get(to) {
                        self.links.send(to, &member.name, datagram);
                    }
                }
                Output::AskKernel { node } => {
                    let address = self.members.get(node).and_then(|it| it.address);
                    if let Some(address) = address {
                        self.kernels.ask(node, address);
                    }
                }
                Output::Event(event) => {
                    tracing::debug!(?event, "gossip");
                    self.view.take(event);
                    news = true;
                }
            }
        }
        if news {
            self.publish();
        }
    }

    fn publish(&self) {
        self.published.send_if_modified(|published| {
            let news = **published != self.view;
            if news {
                *published = Arc::new(self.view.clone());
            }
            news
        });
    }

    fn now(&self) -> Time {
        let elapsed = self.began.elapsed().as_micros();
        Time::from_micros(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    fn wake_at(&self) -> Instant {
        let after = Duration::from_micros(self.gossip.wake_at().as_micros());
        let latest = self.began.elapsed().saturating_add(LONGEST);
        self.began + after.min(latest)
    }
}
