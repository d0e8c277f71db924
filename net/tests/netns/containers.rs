//! What runs in containers: small servers that say who they are and whom they
//! see, and clients that ask them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::lab::{enter, eventually, inside};

/// Long enough that only what is never answered takes it.
const DEADLINE: Duration = Duration::from_secs(5);

/// A TCP server that tells each client `NAME ADDRESS`: its own name and the
/// client's address as it sees it. Stops when dropped.
pub(crate) struct Server {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(space: &str, port: u16, name: &str) -> Self {
        let listener = inside(space, || TcpListener::bind(("0.0.0.0", port)).unwrap());
        let accepting = listener.try_clone().unwrap();
        let name = name.to_owned();
        let thread = thread::spawn(move || {
            while let Ok((mut client, address)) = accepting.accept() {
                let _ = write!(client, "{name} {}", address.ip());
            }
        });
        Self {
            listener,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A UDP server of the same kind; its answers are as long as the questions. Ends with its namespace.
pub(crate) fn start_udp(space: &str, port: u16, name: &str) {
    let socket = inside(space, || UdpSocket::bind(("0.0.0.0", port)).unwrap());
    let name = name.to_owned();
    thread::spawn(move || {
        let mut datagram = [0; 10_000];
        while let Ok((length, client)) = socket.recv_from(&mut datagram) {
            let mut answer = format!("{name} {}", client.ip()).into_bytes();
            answer.resize(answer.len().max(length), b' ');
            let _ = socket.send_to(&answer, client);
        }
    });
}

/// What the server at `address` says to a client in `space`.
pub(crate) fn call(space: &str, address: impl Into<IpAddr>, port: u16) -> io::Result<String> {
    let address = SocketAddr::from((address.into(), port));
    inside(space, || call_here(address))
}

/// The same for a thread that is in its namespace already.
pub(crate) fn call_here(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

/// What the server says, which must answer.
pub(crate) fn hear(space: &str, address: Ipv4Addr, port: u16) -> String {
    call(space, address, port)
        .unwrap_or_else(|error| panic!("{space} to {address}:{port}: {error}"))
}

/// A UDP client that keeps its port, so that it stays one flow.
pub(crate) struct Datagrams(UdpSocket);

impl Datagrams {
    pub(crate) fn new(space: &str, address: Ipv4Addr, port: u16) -> Self {
        let socket = inside(space, || UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect((address, port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    pub(crate) fn ask(&self) -> io::Result<String> {
        self.ask_long(1)
    }

    /// With a question of `length` bytes.
    pub(crate) fn ask_long(&self, length: usize) -> io::Result<String> {
        self.0.send(&vec![b'?'; length])?;
        let mut datagram = [0; 10_000];
        let length = self.0.recv(&mut datagram)?;
        let said = String::from_utf8_lossy(&datagram[..length]);
        Ok(said.trim_end().to_owned())
    }
}

/// A client whose first packet is on its way; nobody may have answered it.
pub(crate) struct Knock(Socket);

impl Knock {
    pub(crate) fn begin(space: &str, address: Ipv4Addr, port: u16) -> Self {
        inside(space, || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let begun = socket.connect(&SocketAddr::from((address, port)).into());
            assert_eq!(
                begun.unwrap_err().raw_os_error(),
                Some(nix::libc::EINPROGRESS)
            );
            socket.set_nonblocking(false).unwrap();
            Self(socket)
        })
    }

    /// What it hears in the end.
    pub(crate) fn hear(self) -> io::Result<String> {
        let mut stream = TcpStream::from(self.0);
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut said = String::new();
        // Waits for the connection, which may need the kernel's second attempt.
        eventually("connected", || stream.peer_addr().is_ok());
        stream.read_to_string(&mut said)?;
        Ok(said)
    }
}

/// Calls without pause from another thread until dropped or asked.
pub(crate) struct Load {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    calls: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    thread: JoinHandle<Vec<io::Result<String>>>,
}

impl Load {
    pub(crate) fn start(space: &str, address: Ipv4Addr, port: u16) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (space, stopped, ended) = (space.to_owned(), stop.clone(), calls.clone());
        let thread = thread::spawn(move || {
            enter(&space);
            let mut said = Vec::new();
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                said.push(call_here(SocketAddr::from((address, port))));
                ended.store(said.len(), std::sync::atomic::Ordering::Relaxed);
            }
            said
        });
        Self {
            stop,
            calls,
            thread,
        }
    }

    /// Calls that have ended, well or not.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Everything that was said.
    pub(crate) fn end(self) -> Vec<io::Result<String>> {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
