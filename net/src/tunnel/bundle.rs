//! Messages to the network, many in one call.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, poll};

/// Of all messages of one call, in bytes: less than a packet can have, which
/// is what the kernel makes of them first.
const MOST: usize = 60_000;
/// For the socket's buffer to have room. After it a message is dropped, as a
/// network does.
const PATIENCE: Duration = Duration::from_millis(20);

/// A UDP socket that sends and receives many messages in one call.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) udp: UdpSocket,
    pub(super) state: UdpSocketState,
}

impl Socket {
    pub(super) fn new(udp: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&udp))?;
        Ok(Self { udp, state })
    }

    /// Sends one message, or many of one length of which the last may be
    /// shorter. What cannot be sent is lost, as in any network.
    pub(super) fn send(&self, to: SocketAddr, contents: &[u8], segment_size: Option<usize>) {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size,
            src_ip: None,
        };
        let send = || self.state.try_send(UdpSockRef::from(&self.udp), &transmit);
        let mut sent = send();
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::WouldBlock
            && self.has_room()
        {
            sent = send();
        }
        if let Err(error) = sent {
            tracing::trace!(%error, %to, "not sent");
        }
    }

    fn has_room(&self) -> bool {
        let mut wait = [PollFd::new(&self.udp, PollFlags::OUT)];
        let patience = PATIENCE.try_into().ok();
        poll(&mut wait, patience.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

/// Messages to one peer, of one length.
#[derive(Debug)]
pub(super) struct Bundle {
    bytes: Vec<u8>,
    filled: usize,
    messages: usize,
    length: usize,
    to: Option<SocketAddr>,
}

impl Bundle {
    /// For messages of at most `longest` bytes.
    pub(super) fn new(longest: usize) -> Self {
        Self {
            bytes: vec![0; MOST + longest],
            filled: 0,
            messages: 0,
            length: 0,
            to: None,
        }
    }

    /// Adds what `write` makes in the buffer that it is given, and returns the
    /// length of; sends what was there before where the two do not go together.
    pub(super) fn add(
        &mut self,
        socket: &Socket,
        to: SocketAddr,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) {
        if self.to != Some(to) || self.filled >= MOST {
            self.flush(socket);
        }
        let length = write(&mut self.bytes[self.filled..]);
        if length == 0 {
            return;
        }
        if length > self.length && self.messages > 0 {
            // It stands behind the others and goes to the front of the next.
            let begin = self.filled;
            self.flush(socket);
            self.bytes.copy_within(begin..begin + length, 0);
        }
        if self.messages == 0 {
            self.length = length;
        }
        self.to = Some(to);
        self.filled += length;
        self.messages += 1;
        let full = self.messages >= socket.state.max_gso_segments();
        if length < self.length || full {
            self.flush(socket);
        }
    }

    pub(super) fn flush(&mut self, socket: &Socket) {
        if let Some(to) = self.to.take()
            && self.messages > 0
        {
            let size = (self.messages > 1).then_some(self.length);
            socket.send(to, &self.bytes[..self.filled], size);
        }
        self.filled = 0;
        self.messages = 0;
        self.length = 0;
    }
}
