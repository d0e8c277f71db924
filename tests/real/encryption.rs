//! What is on the wire between hosts while containers talk.

use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use testhosts::{Host, Hosts, IMAGE_TOOLS, IMAGE_WEB_1, eventually};

use super::{PATIENCE, cluster, running};

const CANARY: &str = "canary-in-the-clear";
const ALL_PROTOCOLS: u16 = 3;

#[test]
fn containers_are_overheard_only_where_their_network_is_plain() {
    let hosts = cluster(2).unwrap();
    hosts.explain(overheard(&hosts)).unwrap();
}

fn overheard(hosts: &Hosts) -> Result<()> {
    for (network, options) in [
        ("secret", &[][..]),
        // This shows that the capture would see it.
        ("open", &["--opt", "encrypted=false"][..]),
    ] {
        let docker = |words: &[&str]| hosts[0].docker_on_swarmr(words)?.ok();
        let create = ["network", "create", "-d", "overlay"];
        docker(&[&create[..], options, &[network]].concat())?;
        docker(&service(network, "web", &[IMAGE_WEB_1]))?;
        docker(&service(
            network,
            "tools",
            &[IMAGE_TOOLS, "sleep", "1000000"],
        ))?;
        for name in ["web", "tools"] {
            running(hosts, &format!("{network}-{name}"), 2)?;
        }
        let capture = Capture::start(&hosts[0], hosts[1].address())?;
        eventually("both tasks answer", PATIENCE, || talk(&hosts[0], network))?;
        let packets = capture.end();
        let readable = holds(&packets, CANARY);
        println!(
            "{network}: {} packets, canary readable: {readable}",
            packets.len()
        );
        ensure!(packets.len() > 10, "{network}: {} packets", packets.len());
        ensure!(readable == (network == "open"), "{network}: {readable}");
    }
    Ok(())
}

/// One task on each host.
fn service(network: &str, name: &str, command: &[&'static str]) -> Vec<&'static str> {
    let leak = |text: String| &*text.leak();
    let words = [
        "service", "create", "--detach", "--mode", "global", "--name",
    ];
    let name = leak(format!("{network}-{name}"));
    let network = leak(network.to_owned());
    let more = [name, "--network", network, "--no-resolve-image"];
    [&words[..], &more, command].concat()
}

/// Has a container of `host` send the canary to every task.
fn talk(host: &Host, network: &str) -> Result<()> {
    let tools = host.service_containers(&format!("{network}-tools"))?;
    let tools = tools.first().context("no container to ask from")?;
    let script = format!(
        "set -e; found=$(getent ahostsv4 tasks.{network}-web | cut -d' ' -f1 | sort -u); \
         test $(echo \"$found\" | wc -l) = 2; \
         for it in $found; do wget -qO- --header 'X-Word: {CANARY}' http://$it/; done"
    );
    host.docker(&["exec", tools, "sh", "-c", &script])?.ok()?;
    Ok(())
}

/// The packets between two hosts, as one of them sees them.
struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Capture {
    fn start(host: &Host, other: Ipv4Addr) -> Result<Self> {
        let socket = host.inside(|| {
            let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
            Ok(Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?)
        })?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, ends) = (stop.clone(), [host.address(), other]);
        let thread = thread::spawn(move || listen(socket, ends, &stopped));
        Ok(Self { stop, thread })
    }

    fn end(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn listen(mut socket: Socket, ends: [Ipv4Addr; 2], stopped: &AtomicBool) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    // What came before the end is read to the end.
    loop {
        match socket.read(&mut buffer) {
            Ok(length) if is_between(&buffer[..length], ends) => {
                packets.push(buffer[..length].to_vec());
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if stopped.load(Ordering::Relaxed) => return packets,
            Err(_) => {}
        }
    }
}

/// Whether an IPv4 packet in an Ethernet frame goes from one end to the other.
fn is_between(frame: &[u8], ends: [Ipv4Addr; 2]) -> bool {
    let address = |at: usize| {
        let bytes = frame.get(at..at + 4).and_then(|it| it.first_chunk::<4>());
        bytes.map(|it| Ipv4Addr::from(*it))
    };
    let pair = [address(26), address(30)];
    frame.get(12..14) == Some(&[8, 0]) && ends.iter().all(|end| pair.contains(&Some(*end)))
}

fn holds(packets: &[Vec<u8>], text: &str) -> bool {
    let text = text.as_bytes();
    let mut windows = packets.iter().flat_map(|packet| packet.windows(text.len()));
    windows.any(|window| window == text)
}
