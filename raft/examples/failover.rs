//! Measures three members in one process, with real files and calls that cost nothing: writes per
//! second, how long a cluster is without a leader after a crash, what idleness costs, and whether
//! a busy machine makes members stand for election without need.
//!
//! `failover [heartbeat_ms election_min_ms election_max_ms [rounds]]`; the LAN timing otherwise.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use raft::{CallKind, Config, Machine, Member, MemberId, Raft, Timing, Transport, TransportError};

type Failure = Box<dyn std::error::Error>;

const VALUE_BYTES: usize = 256;

/// Counts what it is given.
struct Counter(u64);

impl Machine for Counter {
    fn apply(&mut self, _: u64, _: u64, _: &[u8]) -> Bytes {
        self.0 += 1;
        Bytes::new()
    }

    fn published(&mut self, _: u64) {}

    fn snapshot(&self) -> Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send> {
        let count = self.0;
        Box::new(move || Ok(count.to_le_bytes().to_vec()))
    }

    fn restore(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        let bytes = bytes.try_into().map_err(io::Error::other)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// The members that can be called.
#[derive(Clone, Default)]
struct Switch(Arc<Mutex<BTreeMap<MemberId, Raft>>>);

impl Switch {
    fn get(&self, id: MemberId) -> Option<Raft> {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.get(&id).cloned()
    }

    fn set(&self, id: MemberId, raft: Option<Raft>) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match raft {
            Some(raft) => members.insert(id, raft),
            None => members.remove(&id),
        };
    }
}

impl Transport for Switch {
    fn call(
        &self,
        to: &Member,
        _: CallKind,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let target = self.get(to.id);
        async move {
            let Some(raft) = target else {
                // As with a machine that lost its power: no answer, not even a refusal.
                tokio::time::sleep(deadline).await;
                return Err(TransportError::TimedOut);
            };
            let serving = raft.serve(request);
            let answer = tokio::time::timeout(deadline, serving).await;
            answer.map_err(|_| TransportError::TimedOut)
        }
        .boxed()
    }
}

async fn start(switch: &Switch, dir: &Path, id: MemberId, timing: Timing) -> Result<Raft, Failure> {
    let config = Config {
        id,
        dir: dir.join(id.to_string()),
        timing,
        snapshot_every: 100_000,
        keep_behind: 10_000,
        segment_bytes: 16 << 20,
    };
    let raft = Raft::start(config, Counter(0), Arc::new(switch.clone())).await?;
    switch.set(id, Some(raft.clone()));
    Ok(raft)
}

fn member(id: MemberId) -> Member {
    Member {
        id,
        label: id.to_string(),
        addr: String::new(),
    }
}

/// The member that leads and can write, as soon as there is one.
async fn leader(switch: &Switch) -> Raft {
    loop {
        for id in 1..=3 {
            let Some(raft) = switch.get(id) else { continue };
            if raft.status().is_leader() && raft.propose(value()).await.is_ok() {
                return raft;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn value() -> Bytes {
    Bytes::from_static(&[7; VALUE_BYTES])
}

async fn throughput(raft: &Raft, proposers: usize, time: Duration) -> u64 {
    let before = raft.log_stats();
    let end = Instant::now() + time;
    let tasks: Vec<_> = (0..proposers)
        .map(|_| {
            let raft = raft.clone();
            tokio::spawn(async move {
                let mut done = 0u64;
                while Instant::now() < end {
                    done += u64::from(raft.propose(value()).await.is_ok());
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap_or(0);
    }
    let after = raft.log_stats();
    let flushes = (after.flushes - before.flushes).max(1);
    let flush = (after.flush_total - before.flush_total) / u32::try_from(flushes).unwrap_or(1);
    println!(
        "{proposers:>4} proposers: {:>7.0} writes/s, {:.1} entries per flush, a flush takes {flush:?}",
        done as f64 / time.as_secs_f64(),
        done as f64 / flushes as f64,
    );
    done
}

/// Processor time of this process so far, in hundredths of a second.
fn processor_time() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split(' ').collect();
    Ok(fields[12].parse::<u64>()? + fields[13].parse::<u64>()?)
}

async fn failovers(
    switch: &Switch,
    dir: &Path,
    timing: Timing,
    rounds: u32,
) -> Result<Vec<Duration>, Failure> {
    let mut gaps = Vec::new();
    for round in 0..rounds {
        let old = leader(switch).await;
        let id = old.status().id;
        // A different moment between two heartbeats each time.
        tokio::time::sleep(timing.election_max * 2 + timing.heartbeat * (round % 10) / 10).await;
        switch.set(id, None);
        let crash = Instant::now();
        old.abort();
        drop(old);
        leader(switch).await;
        gaps.push(crash.elapsed());
        start(switch, dir, id, timing).await?;
    }
    gaps.sort_unstable();
    Ok(gaps)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .map_while(|a| a.parse().ok())
        .collect();
    let timing = match numbers[..] {
        [heartbeat, min, max, ..] => Timing {
            heartbeat: Duration::from_millis(heartbeat),
            election_min: Duration::from_millis(min),
            election_max: Duration::from_millis(max),
        },
        _ => Timing::lan(),
    };
    let rounds = numbers.get(3).map_or(60, |rounds| *rounds as u32);
    println!("{timing:?}");
    let dir = tempfile::tempdir()?;
    let switch = Switch::default();
    let first = start(&switch, dir.path(), 1, timing).await?;
    first.initialize(member(1)).await?;
    for id in 2..=3 {
        start(&switch, dir.path(), id, timing).await?;
        first
            .add_member(member(id), Duration::from_secs(10))
            .await?;
    }
    let term = first.status().term;
    for proposers in [1, 8, 64, 512] {
        throughput(&first, proposers, Duration::from_secs(3)).await;
    }
    let (begin, busy) = (Instant::now(), processor_time()?);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let share = (processor_time()? - busy) as f64 / begin.elapsed().as_secs_f64() / 3.0;
    println!("idle: {share:.2} % of a processor per member");
    println!(
        "elections without need: {}",
        leader(&switch).await.status().term - term
    );
    drop(first);
    let gaps = failovers(&switch, dir.path(), timing, rounds).await?;
    let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share) as usize];
    println!(
        "failover, crash to next acknowledged write, {rounds} times: p50 {:?} p90 {:?} p99 {:?} max {:?}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    Ok(())
}
