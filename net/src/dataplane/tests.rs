//! The daemon's end and the process, in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::message::GENERATION;
use super::server::{serve_as, socket_in};
use super::{Launch, Remote, RemoteError};
use crate::balance::Protocol;
use crate::dns::{DnsNetwork, Table};

const PATIENCE: Duration = Duration::from_secs(20);

fn start(generation: u32, folder: &Path) -> (JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    let (folder, stopped) = (folder.to_owned(), stop.clone());
    let process = tokio::spawn(async move {
        serve_as(generation, &folder, stopped).await.unwrap();
    });
    (process, stop)
}

async fn until(what: &str, ready: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn listens(generation: u32, folder: &Path) {
    let path = socket_in(folder, generation);
    until("the process listens", || path.exists()).await;
}

/// A daemon's end that can start nothing.
fn remote(folder: &Path) -> Remote {
    let launch = Launch {
        program: "/nonexistent/swarmr".into(),
        arguments: vec!["dataplane".into()],
        folder: folder.to_owned(),
    };
    Remote::new(launch, Vec::new())
}

fn some_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A loopback address that no other test has.
fn some_gateway() -> Ipv4Addr {
    let [_, _, a, b] = rand::random::<u32>().to_be_bytes();
    Ipv4Addr::new(127, 77, a, b.clamp(1, 254))
}

fn names(gateway: Ipv4Addr, address: Ipv4Addr) -> Table {
    let network = DnsNetwork {
        id: "n".to_owned(),
        subnet: "127.0.0.0/8".parse().unwrap(),
        gateway,
        internal: true,
        names: BTreeMap::from([("web".to_owned(), vec![address.into()])]),
        pointers: BTreeMap::new(),
        served: BTreeMap::new(),
    };
    Table {
        networks: vec![network],
        callers: BTreeMap::new(),
    }
}

/// The address that the resolver at `gateway` says `web` has.
async fn resolve(gateway: Ipv4Addr) -> Ipv4Addr {
    tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";
        socket.send_to(question, (gateway, 53)).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        let address: [u8; 4] = answer[length - 4..length].try_into().unwrap();
        Ipv4Addr::from(address)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn what_was_told_stays_when_the_daemon_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (process, _stop) = start(GENERATION, folder.path());
    listens(GENERATION, folder.path()).await;
    let ports = BTreeSet::from([(Protocol::Tcp, some_port())]);
    let gateway = some_gateway();
    let mut daemon = remote(folder.path());
    let (held, problems) = daemon.hold(&ports).await.unwrap();
    assert_eq!((held, problems.len()), (ports.clone(), 0));
    daemon.release(&ports).await.unwrap();
    let table = names(gateway, Ipv4Addr::new(10, 0, 0, 1));
    assert!(daemon.name(&table).await.unwrap().is_empty());
    drop(daemon);
    assert_eq!(resolve(gateway).await, Ipv4Addr::new(10, 0, 0, 1));
    for (_, port) in &ports {
        assert!(TcpListener::bind(("0.0.0.0", *port)).is_err());
    }

    // The next daemon finds it, and ends it when nothing is wanted.
    let mut daemon = remote(folder.path());
    let table = names(gateway, Ipv4Addr::new(10, 0, 0, 2));
    assert!(daemon.name(&table).await.unwrap().is_empty());
    assert_eq!(resolve(gateway).await, Ipv4Addr::new(10, 0, 0, 2));
    daemon.release(&BTreeSet::new()).await.unwrap();
    daemon.name(&Table::default()).await.unwrap();
    tokio::time::timeout(PATIENCE, process)
        .await
        .unwrap()
        .unwrap();
    assert!(!socket_in(folder.path(), GENERATION).exists());
}

#[tokio::test]
async fn a_process_of_another_generation_hands_over() {
    let folder = tempfile::tempdir().unwrap();
    let older = GENERATION - 1;
    let (process, _stop) = start(older, folder.path());
    listens(older, folder.path()).await;
    let port = some_port();
    let ports = BTreeSet::from([(Protocol::Tcp, port), (Protocol::Udp, port)]);
    // As its own daemon would have told it.
    let path = socket_in(folder.path(), older);
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let ask = super::message::Ask::Hold(ports.clone());
    super::message::send(&mut stream, &ask).await.unwrap();
    super::message::receive::<super::message::Answer>(&mut stream)
        .await
        .unwrap();
    drop(stream);
    let through_old = TcpStream::connect((Ipv6Addr::LOCALHOST, port))
        .await
        .unwrap();

    let (successor, stop) = start(GENERATION, folder.path());
    listens(GENERATION, folder.path()).await;
    let mut daemon = remote(folder.path());
    let (held, problems) = daemon.hold(&ports).await.unwrap();
    assert_eq!((held, problems), (ports, Vec::new()));
    // The old one is told to retire, and waits for its last connection.
    until("the old one is out of sight", || {
        !socket_in(folder.path(), older).exists()
    })
    .await;
    TcpStream::connect((Ipv6Addr::LOCALHOST, port))
        .await
        .unwrap();
    assert!(!process.is_finished());
    let mut byte = [0];
    let open = through_old.try_read(&mut byte);
    assert_eq!(open.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(through_old);
    drop(daemon);
    stop.cancel();
    successor.await.unwrap();
    drop(process);
}

#[tokio::test]
async fn a_process_that_does_not_start_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = remote(folder.path());
    let ports = BTreeSet::from([(Protocol::Tcp, 1)]);
    let error = daemon.hold(&ports).await.unwrap_err();
    assert!(matches!(error, RemoteError::Start { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/swarmr"), "{error}");
}

#[tokio::test]
async fn a_daemon_that_breaks_off_or_talks_nonsense_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (process, stop) = start(GENERATION, folder.path());
    listens(GENERATION, folder.path()).await;
    let path = socket_in(folder.path(), GENERATION);
    for bytes in [&b"\0\0"[..], b"\xff\xff\xff\xff", b"\0\0\0\x03abc"] {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, bytes)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut stream)
            .await
            .unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
    }
    let mut daemon = remote(folder.path());
    let ports = BTreeSet::from([(Protocol::Tcp, some_port())]);
    assert_eq!(daemon.hold(&ports).await.unwrap().0, ports);
    stop.cancel();
    process.await.unwrap();
}
