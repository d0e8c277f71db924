//! A cluster in one process: real members on real files, with a network that can be cut, slowed
//! and made to lose things, and a machine that holds numbers under keys.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use raft::{
    Applied, CallKind, Config, Machine, Member, MemberId, MembershipError, ProposeError, Raft,
    Role, Status, Timing, Transport, TransportError,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Slow enough for a busy machine: no test depends on how fast a failover is.
pub(crate) const CALM: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(600),
};

/// Longest wait for anything that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a test sees of a machine.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) values: BTreeMap<u64, u64>,
    pub(crate) published: u64,
    pub(crate) restores: u64,
}

pub(crate) type View = Arc<Mutex<Numbers>>;

/// Sets keys to values; replies with the value before.
pub(crate) struct Store {
    view: View,
    /// Encoding a snapshot waits for this.
    gate: Arc<Mutex<()>>,
}

impl Machine for Store {
    fn apply(&mut self, _index: u64, _term: u64, data: &[u8]) -> Bytes {
        let (key, value) = decode(data);
        let before = self.view.lock().unwrap().values.insert(key, value);
        Bytes::copy_from_slice(&before.unwrap_or(0).to_le_bytes())
    }

    fn published(&mut self, last_index: u64) {
        self.view.lock().unwrap().published = last_index;
    }

    fn snapshot(&self) -> Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send> {
        let values = self.view.lock().unwrap().values.clone();
        let gate = self.gate.clone();
        Box::new(move || {
            drop(gate.lock());
            let pairs = values.iter().flat_map(|(key, value)| [*key, *value]);
            Ok(pairs.flat_map(u64::to_le_bytes).collect())
        })
    }

    fn restore(&mut self, _last_index: u64, bytes: &[u8]) -> io::Result<()> {
        let mut view = self.view.lock().unwrap();
        view.values = bytes.chunks(16).map(decode).collect();
        view.restores += 1;
        Ok(())
    }
}

pub(crate) fn encode(key: u64, value: u64) -> Bytes {
    [key.to_le_bytes(), value.to_le_bytes()].concat().into()
}

fn decode(data: &[u8]) -> (u64, u64) {
    let number = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
    (number(0), number(8))
}

/// The network between the members of a test.
#[derive(Clone)]
pub(crate) struct Net {
    state: Arc<Mutex<NetState>>,
    runtime: Handle,
}

struct NetState {
    /// Who listens where.
    listening: BTreeMap<String, (MemberId, Raft)>,
    cut: HashSet<(MemberId, MemberId)>,
    delay: Duration,
    loss_percent: u32,
    random: StdRng,
}

/// One member's way into the network.
struct Wire {
    from: MemberId,
    net: Net,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        let state = NetState {
            listening: BTreeMap::new(),
            cut: HashSet::new(),
            delay: Duration::ZERO,
            loss_percent: 0,
            random: StdRng::seed_from_u64(seed),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            runtime: Handle::current(),
        }
    }

    fn state(&self) -> MutexGuard<'_, NetState> {
        self.state.lock().unwrap()
    }

    pub(crate) fn transport(&self, from: MemberId) -> Arc<dyn Transport> {
        let net = self.clone();
        Arc::new(Wire { from, net })
    }

    pub(crate) fn listen(&self, addr: &str, id: MemberId, raft: &Raft) {
        let entry = (id, raft.clone());
        self.state().listening.insert(addr.to_owned(), entry);
    }

    pub(crate) fn forget(&self, id: MemberId) {
        let gone: Vec<_> = {
            let mut state = self.state();
            let gone = state.listening.extract_if(.., |_, (other, _)| *other == id);
            gone.collect()
        };
        drop(gone);
    }

    /// Cuts both directions between one member and all others.
    pub(crate) fn isolate(&self, id: MemberId) {
        for other in 1..100 {
            self.state().cut.extend([(id, other), (other, id)]);
        }
    }

    pub(crate) fn heal(&self) {
        self.state().cut.clear();
    }

    pub(crate) fn degrade(&self, delay: Duration, loss_percent: u32) {
        let mut state = self.state();
        state.delay = delay;
        state.loss_percent = loss_percent;
    }

    /// How long something takes from one to the other; `None` if it never arrives.
    fn travel(&self, from: MemberId, to: MemberId) -> Option<Duration> {
        let mut state = self.state();
        let lost = state.random.random_range(0..100) < state.loss_percent;
        if lost || state.cut.contains(&(from, to)) {
            return None;
        }
        let share = state.random.random_range(0.0..1.0);
        Some(state.delay.mul_f64(share))
    }

    fn find(&self, to: &Member) -> Option<Raft> {
        let state = self.state();
        let (id, raft) = state.listening.get(&to.addr)?;
        (*id == to.id).then(|| raft.clone())
    }
}

impl Transport for Wire {
    fn call(
        &self,
        to: &Member,
        _kind: CallKind,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (net, from, to) = (self.net.clone(), self.from, to.clone());
        let trip = async move {
            let never = || futures::future::pending::<Result<Bytes, TransportError>>();
            let Some(delay) = net.travel(from, to.id) else {
                return never().await;
            };
            pause(delay).await;
            let Some(raft) = net.find(&to) else {
                return Err(TransportError::Unreachable("nobody listens".into()));
            };
            // What has arrived is worked on, also when the caller has given up.
            let serving = net.runtime.spawn(async move { raft.serve(request).await });
            let Ok(answer) = serving.await else {
                return never().await;
            };
            let Some(delay) = net.travel(to.id, from) else {
                return never().await;
            };
            pause(delay).await;
            Ok(answer)
        };
        async move {
            let answer = tokio::time::timeout(deadline, trip).await;
            answer.unwrap_or(Err(TransportError::TimedOut))
        }
        .boxed()
    }
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

/// A member of a test's cluster.
pub(crate) struct Node {
    pub(crate) raft: Raft,
    pub(crate) view: View,
    pub(crate) gate: Arc<Mutex<()>>,
}

/// The members of a test.
pub(crate) struct Cluster {
    pub(crate) net: Net,
    pub(crate) nodes: BTreeMap<MemberId, Node>,
    pub(crate) timing: Timing,
    pub(crate) snapshot_every: u64,
    pub(crate) keep_behind: u64,
    dir: Dir,
}

enum Dir {
    Own(TempDir),
    Given(PathBuf),
}

impl Cluster {
    pub(crate) fn new(timing: Timing) -> Self {
        Self::in_dir(timing, Dir::Own(tempfile::tempdir().unwrap()))
    }

    /// A cluster whose files outlive it.
    pub(crate) fn at(timing: Timing, dir: PathBuf) -> Self {
        Self::in_dir(timing, Dir::Given(dir))
    }

    fn in_dir(timing: Timing, dir: Dir) -> Self {
        Self {
            net: Net::new(7),
            nodes: BTreeMap::new(),
            timing,
            snapshot_every: 100_000,
            keep_behind: 1_000,
            dir,
        }
    }

    /// A cluster of this many voters.
    pub(crate) async fn of(size: u64, timing: Timing) -> Self {
        let mut cluster = Self::new(timing);
        cluster.form(size).await;
        cluster
    }

    pub(crate) async fn form(&mut self, size: u64) {
        self.start(1).await;
        self.nodes[&1].raft.initialize(member(1)).await.unwrap();
        for id in 2..=size {
            self.join(id).await;
        }
    }

    pub(crate) fn config(&self, id: MemberId) -> Config {
        let root = match &self.dir {
            Dir::Own(dir) => dir.path(),
            Dir::Given(path) => path.as_path(),
        };
        Config {
            id,
            dir: root.join(format!("member-{id}")),
            timing: self.timing,
            snapshot_every: self.snapshot_every,
            keep_behind: self.keep_behind,
            segment_bytes: 64 << 10,
        }
    }

    /// Starts a member, or starts it again.
    pub(crate) async fn start(&mut self, id: MemberId) {
        self.start_at(id, &member(id).addr).await;
    }

    pub(crate) async fn start_at(&mut self, id: MemberId, addr: &str) {
        let (view, gate) = (View::default(), Arc::new(Mutex::new(())));
        let machine = Store {
            view: view.clone(),
            gate: gate.clone(),
        };
        let transport = self.net.transport(id);
        let raft = Raft::start(self.config(id), machine, transport)
            .await
            .unwrap();
        self.net.listen(addr, id, &raft);
        self.nodes.insert(id, Node { raft, view, gate });
    }

    /// Starts a member and makes it a voter.
    pub(crate) async fn join(&mut self, id: MemberId) {
        self.start(id).await;
        self.change(|raft| async move { raft.add_member(member(id), PATIENCE).await })
            .await;
    }

    /// Makes a change through whoever leads, as often as it takes on a machine so busy that
    /// leaders come and go. Returns who led at last.
    pub(crate) async fn change<F>(&self, change: impl Fn(Raft) -> F) -> MemberId
    where
        F: Future<Output = Result<(), MembershipError>>,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader().await;
            let error = match change(self.nodes[&leader].raft.clone()).await {
                Ok(()) => return leader,
                Err(error) => error,
            };
            let passing = matches!(
                error,
                MembershipError::NotLeader { .. }
                    | MembershipError::NoQuorum
                    | MembershipError::Unknown
                    | MembershipError::NotCaughtUp(_)
                    | MembershipError::TransferFailed
                    | MembershipError::WouldLoseQuorum { .. }
            );
            assert!(passing && Instant::now() < deadline, "{error}");
        }
    }

    /// Takes a member out; it is fine if an earlier try has done it. Returns who led at last.
    pub(crate) async fn remove(&self, id: MemberId) -> MemberId {
        self.change(|raft| async move {
            match raft.remove_member(id).await {
                Err(MembershipError::UnknownMember(_)) => Ok(()),
                result => result,
            }
        })
        .await
    }

    /// Ends a member without a word, as a crash would.
    pub(crate) fn kill(&mut self, id: MemberId) {
        self.net.forget(id);
        if let Some(node) = self.nodes.remove(&id) {
            node.raft.abort();
        }
    }

    /// Waits until one of the members leads and can decide; returns its id.
    pub(crate) async fn leader(&self) -> MemberId {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (id, node) in &self.nodes {
                if node.raft.status().is_leader()
                    && node.raft.read_barrier_confirmed().await.is_ok()
                {
                    return *id;
                }
            }
            assert!(
                Instant::now() < deadline,
                "no leader: {:#?}",
                self.statuses()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.nodes.values().map(|node| node.raft.status()).collect()
    }

    pub(crate) fn followers(&self) -> Vec<MemberId> {
        let followers = self
            .nodes
            .iter()
            .filter(|(_, node)| node.raft.status().role == Role::Follower);
        followers.map(|(id, _)| *id).collect()
    }

    /// Sets a key through whoever leads, as often as it takes to know that it is set.
    pub(crate) async fn set(&self, key: u64, value: u64) -> Applied {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader().await;
            match self.nodes[&leader].raft.propose(encode(key, value)).await {
                Ok(applied) => return applied,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        }
    }

    /// Waits until every member's machine shows the same, and returns that.
    pub(crate) async fn settled(&self) -> BTreeMap<u64, u64> {
        let leader = self.leader().await;
        let index = self.nodes[&leader].raft.read_barrier().await.unwrap();
        for node in self.nodes.values() {
            node.raft.wait_applied(index, PATIENCE).await.unwrap();
        }
        let wanted = self.values(leader);
        for id in self.nodes.keys() {
            assert_eq!(self.values(*id), wanted, "member {id} and leader {leader}");
        }
        wanted
    }

    pub(crate) fn values(&self, id: MemberId) -> BTreeMap<u64, u64> {
        self.nodes[&id].view.lock().unwrap().values.clone()
    }

    /// Waits for a condition on a member's status.
    pub(crate) async fn until(
        &self,
        id: MemberId,
        condition: impl FnMut(&Status) -> bool,
    ) -> Status {
        let mut status = self.nodes[&id].raft.watch();
        let seen = tokio::time::timeout(PATIENCE, status.wait_for(condition)).await;
        seen.expect("did not come").expect("stopped").clone()
    }
}

pub(crate) fn member(id: MemberId) -> Member {
    Member {
        id,
        label: format!("node-{id}"),
        addr: format!("member-{id}:1"),
    }
}

/// Whether a proposal was certainly not applied.
pub(crate) fn was_refused(error: &ProposeError) -> bool {
    !matches!(error, ProposeError::Unknown)
}

/// The leader an error points at.
pub(crate) fn pointed_at(error: &MembershipError) -> Option<MemberId> {
    match error {
        MembershipError::NotLeader { leader } => leader.as_ref().map(|leader| leader.id),
        _ => None,
    }
}
