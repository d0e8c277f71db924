//! The tunnel of one host: its device, its socket, its threads.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::event::{EventfdFlags, eventfd};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::bundle::Socket;
use super::device;
use super::pair::LONGEST_CONTROL;
use super::peers::Peers;
use super::pump::{Shared, inward, outward};
use super::{DEVICE, TunnelWant};
use crate::overlay::NetlinkError;

/// Between two looks at what time has brought about. The protocol's own times
/// are seconds.
const TICK: Duration = Duration::from_millis(250);
/// Of the socket, in bytes each way: what comes while the threads wait for a
/// processor.
const BUFFER: usize = 4 << 20;

/// The tunnel is not as wanted.
#[derive(Debug, Error)]
pub enum TunnelError {
    #[error("the device {DEVICE} for encrypted networks cannot be made")]
    Device(#[source] io::Error),
    #[error("the device {DEVICE} for encrypted networks cannot be set up")]
    SetUp(#[source] NetlinkError),
    #[error("UDP port {port} for encrypted networks cannot be opened")]
    Port {
        port: u16,
        #[source]
        source: io::Error,
    },
    #[error("the tunnel's threads cannot be started")]
    Threads(#[source] io::Error),
}

/// A running tunnel. Dropping it ends it: the device goes too.
pub struct Tunnel {
    shared: Arc<Shared>,
    want: TunnelWant,
    threads: Vec<JoinHandle<()>>,
    _timer: AbortOnDropHandle<()>,
}

impl Tunnel {
    /// Starts it, in the network namespace of the calling thread, which must be
    /// in a tokio runtime.
    pub async fn start(want: &TunnelWant) -> Result<Self, TunnelError> {
        let device = device::make(want.mtu).map_err(TunnelError::Device)?;
        device::set_up(want).await.map_err(TunnelError::SetUp)?;
        let socket = open(want.port).map_err(|source| TunnelError::Port {
            port: want.port,
            source,
        })?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| TunnelError::Threads(error.into()))?;
        let shared = Arc::new(Shared {
            device,
            socket,
            peers: ArcSwap::default(),
            stop,
            mtu: want.mtu,
        });
        let mut tunnel = Self {
            _timer: AbortOnDropHandle::new(tokio::spawn(keep_time(Arc::clone(&shared)))),
            shared,
            want: want.clone(),
            threads: Vec::new(),
        };
        tunnel.run("tunnel-out", outward)?;
        tunnel.run("tunnel-in", inward)?;
        tunnel.set_peers(want);
        Ok(tunnel)
    }

    fn run(&mut self, name: &str, work: fn(&Arc<Shared>)) -> Result<(), TunnelError> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || work(&shared));
        self.threads.push(started.map_err(TunnelError::Threads)?);
        Ok(())
    }

    /// Whether `want` can be had without another device or socket.
    pub fn can_become(&self, want: &TunnelWant) -> bool {
        let shape = |it: &TunnelWant| (it.address, it.prefix, it.mtu, it.port);
        shape(&self.want) == shape(want)
    }

    /// Makes it `want`, which it must be able to [become](Self::can_become).
    /// Sessions with peers and keys that stay go on.
    pub async fn change(&mut self, want: &TunnelWant) -> Result<(), TunnelError> {
        device::set_up(want).await.map_err(TunnelError::SetUp)?;
        if self.want != *want {
            self.set_peers(want);
            self.want = want.clone();
        }
        Ok(())
    }

    fn set_peers(&self, want: &TunnelWant) {
        let before = self.shared.peers.load();
        let peers = Arc::new(Peers::new(want, &before));
        self.shared.peers.store(Arc::clone(&peers));
        // Sessions are there before packets are: whoever had one with a former
        // life of ours would otherwise go on using that.
        for (peer, pair) in peers.pairs().filter(|(_, pair)| !before.has(pair)) {
            let mut buffer = [0; LONGEST_CONTROL];
            let length = pair.greet(&mut buffer);
            let socket = &self.shared.socket;
            socket.send(peer.endpoint(), &buffer[..length], None);
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Cannot fail: nothing else writes to it.
        let _ = rustix::io::write(&self.shared.stop, &1u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("want", &self.want)
            .finish_non_exhaustive()
    }
}

fn open(port: u16) -> io::Result<Socket> {
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    // Without the right to more, the usual length serves too.
    let _ = setsockopt(&udp, sockopt::RcvBufForce, &BUFFER);
    let _ = setsockopt(&udp, sockopt::SndBufForce, &BUFFER);
    Socket::new(udp)
}

async fn keep_time(shared: Arc<Shared>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0u64;
    let mut buffer = [0; LONGEST_CONTROL];
    loop {
        ticks.tick().await;
        let peers = shared.peers.load_full();
        for (peer, pair) in peers.pairs() {
            let length = pair.tick(&mut buffer);
            if length > 0 {
                shared.socket.send(peer.endpoint(), &buffer[..length], None);
            }
        }
        count += 1;
        if count.is_multiple_of(4) {
            peers.renew_limits();
        }
    }
}
