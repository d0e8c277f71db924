//! An open-loop stream of requests: one every so often, whether or not the
//! earlier ones were answered, so that a pause is seen at its full length.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::bridge::Client;
use crate::http;
use crate::namespace::join_network;
use crate::wait::eventually;

/// After this time a request has failed.
const DEADLINE: Duration = Duration::from_secs(2);

/// Requests from the outside client that go on until this is dropped.
#[derive(Debug)]
pub struct Probe {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    targets: Mutex<Vec<SocketAddr>>,
    samples: Mutex<Vec<Sample>>,
    /// When each unanswered request was due, by its number.
    under_way: Mutex<BTreeMap<usize, Instant>>,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Request {
    number: usize,
    due: Instant,
    target: SocketAddr,
}

#[derive(Debug)]
struct Sample {
    due: Instant,
    took: Duration,
    answer: Result<http::Reply, String>,
}

/// What came of the requests of one stretch of time.
#[derive(Debug, Default, Clone)]
pub struct Window {
    pub sent: usize,
    pub failed: usize,
    /// From the first failed request to the last one, as they were due.
    pub failing: Duration,
    /// Failures by what was said, with how often.
    pub errors: BTreeMap<String, usize>,
    /// Values of `host=`, `version=` and `client=` in the answers.
    pub servers: BTreeSet<String>,
    pub versions: BTreeSet<String>,
    pub clients: BTreeSet<String>,
    /// Of the answered ones, from when they were due.
    pub p50: Duration,
    pub p99: Duration,
    pub slowest: Duration,
}

impl Probe {
    /// Begins to send `per_second` requests, in turn to each of `targets`.
    pub fn start(client: &Client, targets: Vec<SocketAddr>, per_second: u32) -> Result<Self> {
        ensure!(per_second > 0, "no rate");
        let shared = Arc::new(Shared {
            targets: Mutex::new(targets),
            samples: Mutex::default(),
            under_way: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        // Enough hands for every request of the longest time one can take.
        let hands = per_second as usize * (DEADLINE.as_secs() as usize * 2 + 1);
        let (give, take) = sync_channel(hands);
        let take = Arc::new(Mutex::new(take));
        let mut threads = Vec::new();
        for _ in 0..hands {
            let (shared, take, pid) =
                (Arc::clone(&shared), Arc::clone(&take), client.network_pid());
            threads.push(thread::spawn(move || {
                if join_network(pid).is_ok() {
                    shared.work(&take);
                }
            }));
        }
        let pace = Arc::clone(&shared);
        let between = Duration::from_secs(1) / per_second;
        threads.push(thread::spawn(move || pace.pace(&give, between)));
        Ok(Self { shared, threads })
    }

    /// Sends to these from now on.
    pub fn aim(&self, targets: Vec<SocketAddr>) {
        *lock(&self.shared.targets) = targets;
    }

    /// What came of all requests since the last call; waits for those under way.
    pub fn take(&self) -> Result<Window> {
        let until = Instant::now();
        eventually("requests under way end", DEADLINE * 5, || {
            let under_way = lock(&self.shared.under_way);
            let pending = under_way.values().filter(|due| **due <= until).count();
            ensure!(pending == 0, "{pending} under way");
            Ok(())
        })?;
        let mut samples = lock(&self.shared.samples);
        let (now, later) = std::mem::take(&mut *samples)
            .into_iter()
            .partition(|s| s.due <= until);
        *samples = later;
        Ok(Window::of(now))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Hands out a request at each tick of the clock.
    fn pace(&self, give: &SyncSender<Request>, between: Duration) {
        let mut due = Instant::now();
        for number in 0_usize.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let target = {
                let targets = lock(&self.targets);
                (!targets.is_empty()).then(|| targets[number % targets.len()])
            };
            if let Some(target) = target {
                lock(&self.under_way).insert(number, due);
                if give
                    .try_send(Request {
                        number,
                        due,
                        target,
                    })
                    .is_err()
                {
                    self.record(number, due, Err("every hand is busy".to_owned()));
                }
            }
            due += between;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn work(&self, take: &Mutex<Receiver<Request>>) {
        loop {
            let Ok(Request {
                number,
                due,
                target,
            }) = lock(take).recv()
            else {
                return;
            };
            let answer = http::get(target, "/", DEADLINE)
                .and_then(|reply| match reply.status {
                    200 => Ok(reply),
                    status => Err(anyhow!("status {status}")),
                })
                .map_err(|error| format!("{target}: {}", error.root_cause()));
            self.record(number, due, answer);
        }
    }

    fn record(&self, number: usize, due: Instant, answer: Result<http::Reply, String>) {
        lock(&self.samples).push(Sample {
            due,
            took: due.elapsed(),
            answer,
        });
        lock(&self.under_way).remove(&number);
    }
}

impl Window {
    fn of(samples: Vec<Sample>) -> Self {
        let mut window = Self {
            sent: samples.len(),
            ..Self::default()
        };
        let (mut took, mut failed_at) = (Vec::new(), Vec::new());
        for sample in samples {
            match sample.answer {
                Ok(reply) => {
                    took.push(sample.took);
                    window.servers.extend(reply.word("host"));
                    window.versions.extend(reply.word("version"));
                    window.clients.extend(reply.word("client"));
                }
                Err(error) => {
                    failed_at.push(sample.due);
                    *window.errors.entry(error).or_default() += 1;
                }
            }
        }
        window.failed = failed_at.len();
        if let (Some(first), Some(last)) = (failed_at.iter().min(), failed_at.iter().max()) {
            window.failing = *last - *first;
        }
        took.sort_unstable();
        let at = |part: usize| took.get(took.len() * part / 100).or(took.last()).copied();
        window.p50 = at(50).unwrap_or_default();
        window.p99 = at(99).unwrap_or_default();
        window.slowest = took.last().copied().unwrap_or_default();
        window
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(
            out,
            "{} requests, {} failed, p50 {:.1} ms, p99 {:.1} ms",
            self.sent,
            self.failed,
            ms(self.p50),
            ms(self.p99)
        )?;
        if self.failed > 0 {
            write!(out, ", failing over {:.1} s", self.failing.as_secs_f64())?;
        }
        for (error, times) in &self.errors {
            write!(out, "\n    {times} × {error}")?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_failures_and_how_long_they_lasted() {
        let begin = Instant::now();
        let sample = |ms: u64, answer: Result<&str, &str>| Sample {
            due: begin + Duration::from_millis(ms),
            took: Duration::from_millis(ms),
            answer: answer
                .map(|body| http::Reply {
                    status: 200,
                    body: body.as_bytes().to_vec(),
                })
                .map_err(str::to_owned),
        };
        let window = Window::of(vec![
            sample(0, Ok("version=1 host=a client=c")),
            sample(20, Err("refused")),
            sample(40, Ok("version=2 host=b client=c")),
            sample(60, Err("refused")),
        ]);
        assert_eq!((window.sent, window.failed), (4, 2));
        assert_eq!(window.failing, Duration::from_millis(40));
        assert_eq!(window.errors["refused"], 2);
        assert_eq!(window.versions.len(), 2);
        assert_eq!(window.slowest, Duration::from_millis(40));
    }
}
