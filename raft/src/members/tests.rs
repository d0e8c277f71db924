//! What a crashed leader leaves behind, which no public operation can produce at will.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;
use crate::{CallKind, Config, Machine, Raft, Transport, TransportError};

const PATIENCE: Duration = Duration::from_secs(60);
const CALM: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(600),
};

struct Nothing;

impl Machine for Nothing {
    fn apply(&mut self, _: u64, _: u64, _: &[u8]) -> Bytes {
        Bytes::new()
    }
    fn published(&mut self, _: u64) {}
    fn snapshot(&self) -> Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send> {
        Box::new(|| Ok(Vec::new()))
    }
    fn restore(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Switch(Arc<Mutex<BTreeMap<MemberId, Raft>>>);

impl Transport for Switch {
    fn call(
        &self,
        to: &Member,
        _: CallKind,
        request: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let target = self.0.lock().unwrap().get(&to.id).cloned();
        async move {
            let nobody = || TransportError::Unreachable("nobody is there".into());
            Ok(target.ok_or_else(nobody)?.serve(request).await)
        }
        .boxed()
    }
}

impl Switch {
    async fn start(&self, dir: &Path, id: MemberId) -> Raft {
        let config = Config {
            id,
            dir: dir.join(id.to_string()),
            timing: CALM,
            snapshot_every: 1000,
            keep_behind: 100,
            segment_bytes: 1 << 20,
        };
        let raft = Raft::start(config, Nothing, Arc::new(self.clone())).await;
        let raft = raft.unwrap();
        self.0.lock().unwrap().insert(id, raft.clone());
        raft
    }

    fn kill(&self, id: MemberId) {
        let raft = self.0.lock().unwrap().remove(&id);
        raft.unwrap().abort();
    }
}

fn member(id: MemberId) -> Member {
    Member {
        id,
        label: id.to_string(),
        addr: String::new(),
    }
}

async fn until(raft: &Raft, condition: impl FnMut(&Status) -> bool) {
    let mut status = raft.watch();
    let seen = tokio::time::timeout(PATIENCE, status.wait_for(condition)).await;
    let seen = seen.map(|seen| seen.map(|_| ()));
    seen.unwrap_or_else(|_| panic!("did not come: {:#?}", raft.status()))
        .expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_a_crashed_leader_left_half_done_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let switch = Switch::default();
    let first = switch.start(dir.path(), 1).await;
    first.initialize(member(1)).await.unwrap();
    for id in 2..=4 {
        switch.start(dir.path(), id).await;
        first.add_member(member(id), PATIENCE).await.unwrap();
    }
    // With 2 and 3 away, the removal of 4 reaches 4, but cannot be decided.
    switch.kill(2);
    switch.kill(3);
    let consensus = first.consensus().clone();
    let removal = ChangeMembers::RemoveVoters(BTreeSet::from([4]));
    let removal = tokio::spawn(async move {
        let _ = consensus.change_membership(removal, false).await;
    });
    let fourth = switch.0.lock().unwrap()[&4].clone();
    until(&fourth, |status| status.changing).await;
    switch.kill(1);
    removal.await.unwrap();
    // Now 4 has the longest log, so it leads, and finishes what 1 began: its own removal.
    let second = switch.start(dir.path(), 2).await;
    let third = switch.start(dir.path(), 3).await;
    let rest: Vec<Member> = (1..=3).map(member).collect();
    for raft in [&second, &third] {
        until(raft, |status| !status.changing && status.members == rest).await;
    }
    until(&second, |status| {
        let leader = status.leader.as_ref();
        leader.is_some_and(|leader| [2, 3].contains(&leader.id))
    })
    .await;
}
