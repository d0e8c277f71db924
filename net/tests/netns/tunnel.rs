//! Encrypted overlays: what is on the wire between hosts, and what is let in.

use std::io::Read;
use std::net::{Ipv4Addr, UdpSocket};
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use net::overlay::mac_of;
use net::tunnel::{DEVICE, PrivateKey};
use socket2::{Domain, Protocol, Socket, Type};

use crate::containers::{Datagrams, Load, Server, hear, start_udp};
use crate::lab::{Lab, can_build, eventually, exec, inside, ip};
use crate::overlay::pair;
use crate::wants::{Overlay, key, tunnel, want};

const CANARY: &str = "canary-in-the-clear";
const ALL_PROTOCOLS: u16 = 3;

/// Everything that passes the switch.
struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Capture {
    fn start(lab: &Lab) -> Self {
        let mut socket = inside(&lab.switch(), || {
            let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
            Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap()
        });
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut packets = Vec::new();
            let mut buffer = vec![0; 1 << 16];
            // What came before the end is read to the end.
            loop {
                match socket.read(&mut buffer) {
                    Ok(length) => packets.push(buffer[..length].to_vec()),
                    Err(_) if stopped.load(Ordering::Relaxed) => return packets,
                    Err(_) => {}
                }
            }
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn holds(packets: &[Vec<u8>], text: &str) -> bool {
    let text = text.as_bytes();
    packets
        .iter()
        .any(|packet| packet.windows(text.len()).any(|it| it == text))
}

/// UDP packets to a port, over IPv4 in Ethernet.
fn to_port(packets: &[Vec<u8>], port: u16) -> usize {
    let is_udp =
        |packet: &&Vec<u8>| packet.get(12..14) == Some(&[8, 0]) && packet.get(23) == Some(&17);
    let to = |packet: &&Vec<u8>| packet.get(36..38) == Some(&port.to_be_bytes());
    packets.iter().filter(is_udp).filter(to).count()
}

#[test]
fn nothing_of_an_encrypted_network_is_readable_between_hosts() {
    if !can_build() {
        return;
    }
    // What is plain shows that the capture would see it.
    for encrypted in [false, true] {
        let (lab, overlay, first, second) = pair(encrypted);
        let capture = Capture::start(&lab);
        let _server = Server::start(&second, 8080, CANARY);
        for _ in 0..20 {
            let said = hear(&first, overlay.ip(21), 8080);
            assert_eq!(said, format!("{CANARY} 10.0.1.11"));
        }
        start_udp(&second, 9, CANARY);
        let datagrams = Datagrams::new(&first, overlay.ip(21), 9);
        for length in [1, 1000, 5000] {
            assert!(datagrams.ask_long(length).unwrap().starts_with(CANARY));
        }
        let packets = capture.end();
        assert!(packets.len() > 100, "{} packets", packets.len());
        assert_eq!(holds(&packets, CANARY), !encrypted);
        assert_eq!(to_port(&packets, 4789) > 0, !encrypted);
        assert_eq!(to_port(&packets, 2378) > 0, encrypted);
        println!(
            "encrypted={encrypted}: {} packets between hosts, {} to 4789, {} to 2378, canary readable: {}",
            packets.len(),
            to_port(&packets, 4789),
            to_port(&packets, 2378),
            holds(&packets, CANARY)
        );
    }
}

/// A UDP packet in an Ethernet frame in a VXLAN packet.
fn vxlan(overlay: &Overlay, from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let vni = 4096 + u32::from(overlay.number);
    let mut packet = vec![8, 0, 0, 0];
    packet.extend((vni << 8).to_be_bytes());
    packet.extend(mac_of(to).0);
    packet.extend(mac_of(from).0);
    packet.extend([8, 0]);
    let mut header = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let words = header.chunks_exact(2);
    let sum: u32 = words
        .map(|it| u32::from(u16::from_be_bytes([it[0], it[1]])))
        .sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(header);
    packet.extend(7777u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend([0, 9, 0, 0, b'!']);
    packet
}

#[test]
fn plain_packets_are_not_let_into_an_encrypted_network() {
    if !can_build() {
        return;
    }
    for encrypted in [false, true] {
        let (lab, overlay, first, second) = pair(encrypted);
        let socket = inside(&second, || UdpSocket::bind("0.0.0.0:9").unwrap());
        socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let mut buffer = [0; 64];
        let forged = vxlan(&overlay, overlay.ip(11), overlay.ip(21), 9);
        // By the other host itself, which a plain network's filter lets through.
        inside(&lab.hosts[0].space, || {
            let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
            for _ in 0..10 {
                sender.send_to(&forged, "192.168.77.2:4789").unwrap();
            }
        });
        let got = socket.recv(&mut buffer);
        assert_eq!(got.is_ok(), !encrypted, "{got:?}");
        println!(
            "encrypted={encrypted}: forged plain VXLAN got in: {}",
            got.is_ok()
        );
        // What is sent the right way arrives.
        let datagram = inside(&first, || UdpSocket::bind("0.0.0.0:0").unwrap());
        datagram.send_to(b"?", (overlay.ip(21), 9)).unwrap();
        let arrived = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(arrived.1.ip(), overlay.ip(11));
    }
}

#[test]
fn a_container_cannot_forge_its_hosts_tunnel_packets() {
    if !can_build() {
        return;
    }
    for encrypted in [false, true] {
        let (lab, overlay, first, second) = pair(encrypted);
        // As an engine has it for what leaves its networks.
        let masquerade = "-t nat -A POSTROUTING -s 10.0.1.0/24 ! -o dpbr1 -j MASQUERADE";
        exec(&lab.hosts[0].space, "iptables", masquerade);
        let socket = inside(&second, || UdpSocket::bind("0.0.0.0:9").unwrap());
        socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let forged = vxlan(&overlay, overlay.ip(99), overlay.ip(21), 9);
        let sender = inside(&first, || UdpSocket::bind("0.0.0.0:0").unwrap());
        for end in ["192.168.77.2:4789", "240.83.0.2:4789"] {
            for _ in 0..10 {
                // Refusals that come back are errors of the next one.
                let _ = sender.send_to(&forged, end);
            }
        }
        let got = socket.recv(&mut [0; 64]);
        assert!(got.is_err(), "encrypted={encrypted}: it got in");
    }
}

#[test]
fn without_its_device_nothing_leaves_and_it_is_made_again() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, first, second) = pair(true);
    // Everything else would go by the default route.
    ip(&lab.hosts[0].space, "route add default via 192.168.77.99");
    let _server = Server::start(&second, 8080, CANARY);
    hear(&first, overlay.ip(21), 8080);
    let capture = Capture::start(&lab);
    lab.hosts[0].stop();
    let gone = || !exec(&lab.hosts[0].space, "ip", "-o link").contains(DEVICE);
    eventually("the device is gone", gone);
    let datagram = inside(&first, || UdpSocket::bind("0.0.0.0:0").unwrap());
    for _ in 0..50 {
        let canary = CANARY.as_bytes();
        datagram.send_to(canary, (overlay.ip(21), 9)).unwrap();
    }
    lab.hosts[0].apply(want(from_ref(&overlay), 0, 2));
    assert_eq!(
        hear(&first, overlay.ip(21), 8080),
        format!("{CANARY} 10.0.1.11")
    );
    ip(&lab.hosts[0].space, &format!("link del {DEVICE}"));
    eventually("the tunnel is there again", || {
        crate::containers::call(&first, overlay.ip(21), 8080).is_ok()
    });
    let packets = capture.end();
    assert!(!holds(&packets, CANARY), "it left in the clear");
    assert_eq!(to_port(&packets, 4789), 0);
    assert!(to_port(&packets, 2378) > 0);
}

#[test]
fn keys_change_under_load_and_nothing_is_lost() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, first, second) = pair(true);
    let _server = Server::start(&second, 8080, "b");
    hear(&first, overlay.ip(21), 8080);
    let load = Load::start(&first, overlay.ip(21), 8080);
    let wanted = |host: usize, keys: &[PrivateKey; 2], ours: &[usize], theirs: &[usize]| {
        let mut wanted = want(from_ref(&overlay), host, 2);
        let mut tunnel = tunnel(host, 2);
        let own = |which: &usize| keys[*which].clone();
        match host {
            0 => tunnel.keys = ours.iter().map(own).collect(),
            _ => tunnel.peers[0].keys = theirs.iter().map(|it| own(it).public()).collect(),
        }
        wanted.tunnel = Some(tunnel);
        wanted
    };
    let mut keys = [key(0), PrivateKey::generate()];
    for _ in 0..3 {
        // The host has a new one; then its peer knows it; then the old one goes.
        for (ours, theirs) in [
            (&[1, 0][..], &[0][..]),
            (&[1, 0], &[1, 0]),
            (&[1], &[1, 0]),
            (&[1], &[1]),
        ] {
            for host in 0..2 {
                lab.hosts[host].apply(wanted(host, &keys, ours, theirs));
                // One that began after the change, besides the one under way.
                let before = load.calls();
                eventually("calls after a change", || load.calls() >= before + 2);
            }
        }
        keys = [keys[1].clone(), PrivateKey::generate()];
    }
    let said = load.end();
    let failed = said.iter().filter(|it| it.is_err()).count();
    println!("{} calls while keys changed, {failed} failed", said.len());
    assert!(said.len() >= 48, "{}", said.len());
    assert_eq!(failed, 0);
}
