//! Passing listening sockets from one process to its successor, so that no
//! connection is refused in between.
//!
//! Each socket goes with a record of fixed length that says what it is; a
//! record of zeros ends the list.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::message::{Ask, encode};
use crate::balance::{HeldSocket, Protocol};

/// What the other process may take for each socket.
const DEADLINE: Duration = Duration::from_secs(5);
/// More sockets than a process may have. Beyond it something is wrong.
const MOST: usize = 200_000;
const RECORD: usize = 4;

/// Sends all of `sockets`. Blocks.
pub(super) fn give(stream: &UnixStream, sockets: &[(HeldSocket, OwnedFd)]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(DEADLINE))?;
    for (socket, descriptor) in sockets {
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent = sendmsg(
            stream,
            &[IoSlice::new(&record(*socket))],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        if sent != RECORD {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    let mut stream = stream;
    stream.write_all(&[0; RECORD])
}

/// Asks the process that listens at `path` for its sockets. Blocks.
pub(super) fn take(path: &Path) -> io::Result<Vec<(HeldSocket, OwnedFd)>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(&encode(&Ask::HandOver)?)?;
    let mut sockets = Vec::new();
    while sockets.len() < MOST {
        match take_one(&stream)? {
            (Some(socket), Some(descriptor)) => sockets.push((socket, descriptor)),
            (None, _) => return Ok(sockets),
            // A kind of a newer generation, or a descriptor that did not fit
            // into our table of open files.
            (Some(_), None) => {}
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn take_one(stream: &UnixStream) -> io::Result<(Option<HeldSocket>, Option<OwnedFd>)> {
    let mut bytes = [0; RECORD];
    let mut filled = 0;
    let mut descriptor = None;
    while filled < RECORD {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            stream,
            &mut [IoSliceMut::new(&mut bytes[filled..])],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last().or(descriptor);
            }
        }
        match received.bytes {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => filled += some,
        }
    }
    Ok((socket_of(bytes), descriptor))
}

fn record(socket: HeldSocket) -> [u8; RECORD] {
    let [high, low] = socket.port.to_be_bytes();
    let protocol = match socket.protocol {
        Protocol::Tcp => 1,
        Protocol::Udp => 2,
        Protocol::Sctp => 3,
    };
    let family = if socket.ipv6 { 6 } else { 4 };
    [protocol, family, high, low]
}

fn socket_of([protocol, family, high, low]: [u8; RECORD]) -> Option<HeldSocket> {
    Some(HeldSocket {
        protocol: match protocol {
            1 => Protocol::Tcp,
            2 => Protocol::Udp,
            3 => Protocol::Sctp,
            _ => return None,
        },
        port: u16::from_be_bytes([high, low]),
        ipv6: family == 6,
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_are_the_same_at_the_other_end() {
        let (giving, taking) = UnixStream::pair().unwrap();
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let sockets: Vec<_> = listeners
            .iter()
            .map(|listener| {
                let socket = HeldSocket {
                    protocol: Protocol::Tcp,
                    port: listener.local_addr().unwrap().port(),
                    ipv6: false,
                };
                (socket, OwnedFd::from(listener.try_clone().unwrap()))
            })
            .collect();
        give(&giving, &sockets).unwrap();
        for (wanted, _) in &sockets {
            let (socket, descriptor) = take_one(&taking).unwrap();
            assert_eq!(socket, Some(*wanted));
            let listener = TcpListener::from(descriptor.unwrap());
            assert_eq!(listener.local_addr().unwrap().port(), wanted.port);
        }
        let (end, descriptor) = take_one(&taking).unwrap();
        assert!(end.is_none() && descriptor.is_none());
    }
}
