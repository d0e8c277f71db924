//! Connections to every survivor's published port, one after the other, all the time.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testhosts::{Client, Host, WEB_PORT};

/// The pause between two attempts at one host.
const BETWEEN: Duration = Duration::from_millis(10);
/// An answer takes less than this, or its backend is gone.
const DEADLINE: Duration = Duration::from_millis(150);

pub(crate) struct Connects {
    /// When each attempt was begun that got no answer.
    lost: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Connects {
    pub(crate) fn start<'a>(client: &Client, to: impl Iterator<Item = &'a Host>) -> Result<Self> {
        let lost = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for host in to {
            // Two at each, so that one that hangs does not hide the next.
            for _ in 0..2 {
                let target = SocketAddr::from((host.address(), WEB_PORT));
                let (lost, stop, pid) = (lost.clone(), stop.clone(), client.network_pid());
                threads.push(thread::spawn(move || {
                    let attempts = || {
                        attempt_until(&stop, target, &lost);
                        Ok(())
                    };
                    if let Err(error) = testhosts::inside(pid, attempts) {
                        eprintln!("connections to {target}: {error:#}");
                    }
                }));
            }
        }
        ensure!(!threads.is_empty(), "nobody to connect to");
        Ok(Self {
            lost,
            stop,
            threads,
        })
    }

    /// When the last attempt after `since` was begun that got no answer; `since` if there was none.
    pub(crate) fn last_lost(&self, since: Instant) -> Result<Instant> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let early = lost.iter().filter(|at| **at < since - DEADLINE).count();
        ensure!(early == 0, "{early} connections failed while all was well");
        Ok(lost.iter().max().copied().unwrap_or(since).max(since))
    }
}

impl Drop for Connects {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn attempt_until(stop: &AtomicBool, target: SocketAddr, lost: &Mutex<Vec<Instant>>) {
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        if TcpStream::connect_timeout(&target, DEADLINE).is_err() {
            let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.push(begun);
        }
        thread::sleep(BETWEEN);
    }
}
