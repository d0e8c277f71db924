//! The UDP socket.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Binds, with larger buffers where the kernel lets us: a burst from many peers
/// that overflows the default 200 kB is loss for all of them.
pub(crate) fn bind(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        // The wildcard then serves IPv4 too.
        socket.set_only_v6(false)?;
    }
    enlarge(&socket, buffer);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// With CAP_NET_ADMIN beyond the system's maximum, else up to it.
fn enlarge(socket: &Socket, buffer: usize) {
    let receive = setsockopt(socket, sockopt::RcvBufForce, &buffer)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &buffer));
    let send = setsockopt(socket, sockopt::SndBufForce, &buffer)
        .or_else(|_| setsockopt(socket, sockopt::SndBuf, &buffer));
    if let Err(error) = receive.and(send) {
        tracing::debug!(%error, buffer, "UDP buffers stay at the system's default");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_bound_and_its_buffers_are_no_smaller_than_by_default() {
        let plain = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let ours = bind("127.0.0.1:0".parse().unwrap(), 4 << 20).unwrap();
        assert_ne!(ours.local_addr().unwrap().port(), 0);
        let ours = Socket::from(ours);
        assert!(ours.recv_buffer_size().unwrap() >= plain.recv_buffer_size().unwrap());
    }
}
