//! The two threads that carry packets: from the device to the network and back.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use arc_swap::ArcSwap;
use nix::errno::Errno;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef};
use rustix::event::{PollFd, PollFlags, poll};
use tun_rs::SyncDevice;

use super::bundle::{Bundle, Socket};
use super::pair::{LONGEST_CONTROL, OVERHEAD, Received};
use super::peers::{Peers, Sorted};
use super::train::Train;

/// Packets that are read before what they became is sent.
const AT_ONCE: usize = 64;
/// Of what the kernel may give or put together in one piece, in bytes.
const LONGEST: usize = 1 << 16;
/// Between the length of a packet and that of its buffer.
const SLACK: usize = 64;

/// What both threads use.
pub(super) struct Shared {
    pub(super) device: SyncDevice,
    pub(super) socket: Socket,
    pub(super) peers: ArcSwap<Peers>,
    /// Readable when the threads are to end.
    pub(super) stop: OwnedFd,
    pub(super) mtu: u16,
}

impl Shared {
    /// Returns whether there is something to read; `false` at the end.
    fn wait(&self, source: &impl AsFd) -> bool {
        let mut both = [
            PollFd::new(source, PollFlags::IN),
            PollFd::new(&self.stop, PollFlags::IN),
        ];
        loop {
            match poll(&mut both, None) {
                Ok(_) => return both[1].revents().is_empty(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the tunnel cannot wait for packets");
                    return false;
                }
            }
        }
    }
}

/// From containers to other hosts.
pub(super) fn outward(shared: &Arc<Shared>) {
    let room = usize::from(shared.mtu) + SLACK;
    let mut whole = vec![0; LONGEST + SLACK];
    let mut packets = vec![vec![0; room]; tun_rs::IDEAL_BATCH_SIZE];
    let mut sizes = vec![0; packets.len()];
    let mut bundle = Bundle::new(room + OVERHEAD + LONGEST_CONTROL);
    while shared.wait(&shared.device) {
        let peers = shared.peers.load();
        for _ in 0..AT_ONCE {
            let read = shared
                .device
                .recv_multiple(&mut whole, &mut packets, &mut sizes, 0);
            let count = match read {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Somebody has removed the device; another one is made.
                Err(error) if error.raw_os_error() == Some(Errno::EBADFD as i32) => return,
                Err(error) => {
                    tracing::debug!(%error, "a packet cannot be read");
                    break;
                }
            };
            for (packet, size) in packets.iter().zip(&sizes).take(count) {
                send(shared, &peers, &packet[..*size], &mut bundle);
            }
        }
        bundle.flush(&shared.socket);
    }
}

fn send(shared: &Shared, peers: &Peers, packet: &[u8], bundle: &mut Bundle) {
    let Some(peer) = destination(packet).and_then(|to| peers.at(to)) else {
        return;
    };
    if let Some(pair) = peer.pair() {
        bundle.add(&shared.socket, peer.endpoint(), |buffer| {
            pair.seal(packet, buffer)
        });
    }
}

/// From other hosts to containers.
pub(super) fn inward(shared: &Arc<Shared>) {
    let mut buffers = vec![vec![0; LONGEST]; BATCH_SIZE];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut receiver = Receiver {
        shared: Arc::clone(shared),
        plain: vec![0; LONGEST],
        train: Train::default(),
    };
    while shared.wait(&shared.socket.udp) {
        let received = {
            let mut slices: Vec<_> = buffers.iter_mut().map(|it| IoSliceMut::new(it)).collect();
            let udp = UdpSockRef::from(&shared.socket.udp);
            shared.socket.state.recv(udp, &mut slices, &mut metas)
        };
        // An error of a message that was sent is told here too.
        let Ok(count) = received else { continue };
        let peers = shared.peers.load();
        for (buffer, meta) in buffers.iter().zip(&metas).take(count) {
            for message in buffer[..meta.len].chunks(meta.stride.max(1)) {
                receiver.receive(&peers, message, meta.addr);
            }
        }
        receiver.flush();
    }
}

struct Receiver {
    shared: Arc<Shared>,
    plain: Vec<u8>,
    train: Train,
}

impl Receiver {
    fn receive(&mut self, peers: &Peers, message: &[u8], from: SocketAddr) {
        let socket = &self.shared.socket;
        let (peer, pair) = match peers.sort(message, from.ip(), &mut self.plain) {
            Sorted::For(peer, pair) => (peer, pair),
            Sorted::Answer(length) => return socket.send(from, &self.plain[..length], None),
            Sorted::Nobody => return,
        };
        let answer = |answer: &[u8]| socket.send(from, answer, None);
        match pair.open(message, from, &mut self.plain, answer) {
            Received::Packet(length) => {
                peer.heard_at(from);
                if source(&self.plain[..length]) == Some(peer.address) {
                    self.pass_on(length);
                }
            }
            Received::Control => peer.heard_at(from),
            Received::Refused => {}
        }
    }

    fn pass_on(&mut self, length: usize) {
        if !self.train.push(&self.plain[..length]) {
            self.flush();
            // An empty train takes any packet.
            self.train.push(&self.plain[..length]);
        }
    }

    fn flush(&mut self) {
        if self.train.is_empty() {
            return;
        }
        if let Err(error) = self.shared.device.send(self.train.finish()) {
            tracing::trace!(%error, "a packet was not taken");
        }
    }
}

fn source(packet: &[u8]) -> Option<Ipv4Addr> {
    address_at(packet, 12)
}

fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    address_at(packet, 16)
}

/// Of an IPv4 packet.
fn address_at(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    let header = packet.first_chunk::<20>()?;
    let address: [u8; 4] = header[at..at + 4].try_into().ok()?;
    (header[0] >> 4 == 4).then(|| address.into())
}
