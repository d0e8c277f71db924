//! Services: by their address, by a published port, from everywhere.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::slice::from_ref;
use std::time::Instant;

use net::balance::{Protocol, PublishedWant, VipWant};
use net::datapath::Want;

use crate::containers::{Datagrams, Knock, Load, Server, call, hear, start_udp};
use crate::lab::{Lab, PATIENCE, can_build, eventually, exec, inside, ip};
use crate::wants::{Overlay, published, vip, want};

const CLIENT: &str = "192.168.77.99";
/// So many calls reach each of two backends, but for one time in 10^12.
const DRAWS: usize = 41;

/// Three hosts on one overlay, containers on the first two. The third only
/// receives.
struct Site {
    lab: Lab,
    overlay: Overlay,
    /// On the first host at .11 and .12, on the second at .21.
    containers: Vec<String>,
    /// Of them, by the last byte: those that keep what they have.
    held: Vec<u8>,
}

impl Site {
    fn new() -> Self {
        let overlay = Overlay::new(1, &[(11, 0), (12, 0), (21, 1)]);
        let mut lab = Lab::new(3);
        let bridge = overlay.bridge();
        for host in 0..3 {
            let gateway = overlay.ip(1 + u8::try_from(host).unwrap());
            lab.add_bridge(host, &bridge, gateway);
        }
        let containers = overlay
            .containers
            .iter()
            .map(|(last, host)| lab.add_container(*host, &[(&bridge, overlay.ip(*last))]))
            .collect();
        Self {
            lab,
            overlay,
            containers,
            held: Vec::new(),
        }
    }

    fn want(&self, host: usize, vips: &[VipWant], ports: &[PublishedWant]) -> Want {
        let mut want = want(from_ref(&self.overlay), host, 3);
        want.balance.vips = vips.to_vec();
        want.balance.published = ports.to_vec();
        want.balance.held = self.held.iter().map(|it| self.overlay.ip(*it)).collect();
        want
    }

    fn apply(&mut self, vips: &[VipWant], ports: &[PublishedWant]) {
        for host in 0..3 {
            let want = self.want(host, vips, ports);
            self.lab.hosts[host].apply(want);
        }
    }

    fn vip(&self, backends: &[u8]) -> VipWant {
        vip(&self.overlay, 100, backends)
    }

    fn port(&self, port: u16, backends: &[u8]) -> PublishedWant {
        let backends: Vec<Ipv4Addr> = backends.iter().map(|it| self.overlay.ip(*it)).collect();
        published(Protocol::Tcp, port, &backends)
    }

    fn serve(&self) -> Vec<Server> {
        let named = self.containers.iter().zip(["a", "b", "c"]);
        named
            .map(|(space, name)| Server::start(space, 8080, name))
            .collect()
    }
}

/// Waits until nobody has the port. A program that another test is just
/// starting may have a copy of the closed socket for a moment.
fn free(space: &str, port: u16) {
    eventually("the port is free", || {
        inside(space, || {
            let address = ("0.0.0.0", port);
            TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
        })
    });
}

/// Everything said in `times` calls.
fn said(times: usize, one: impl Fn() -> String) -> BTreeSet<String> {
    (0..times).map(|_| one()).collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_service_address_reaches_every_backend_with_the_callers_address() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    site.apply(&[site.vip(&[12, 21])], &[]);
    let vip = site.overlay.ip(100);
    let caller = site.containers[0].clone();
    let heard = said(DRAWS, || hear(&caller, vip, 8080));
    assert_eq!(heard, set(&["b 10.0.1.11", "c 10.0.1.11"]));
    let caller = site.containers[2].clone();
    let heard = said(DRAWS, || hear(&caller, vip, 8080));
    // Its own address cannot come back to it, so it sees its host's.
    assert_eq!(heard, set(&["b 10.0.1.21", "c 10.0.1.2"]));
}

#[test]
fn a_task_that_calls_its_own_service_reaches_itself() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    site.apply(&[site.vip(&[11])], &[site.port(80, &[11])]);
    let caller = &site.containers[0];
    assert_eq!(hear(caller, site.overlay.ip(100), 8080), "a 10.0.1.1");
    let host = site.lab.hosts[0].address;
    assert_eq!(hear(caller, host, 80), "a 10.0.1.1");
}

#[test]
fn a_published_port_answers_on_every_host_and_sees_the_client() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    site.apply(&[], &[site.port(80, &[11, 21])]);
    let outside = site.lab.outside();
    for host in 0..3 {
        let address = site.lab.hosts[host].address;
        let heard = said(DRAWS, || hear(&outside, address, 80));
        let both = [format!("a {CLIENT}"), format!("c {CLIENT}")];
        assert_eq!(heard, both.into_iter().collect(), "host {host}");
    }
}

#[test]
fn what_is_balanced_passes_an_engines_filter_and_nothing_else_does() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    for host in &site.lab.hosts {
        exec(&host.space, "iptables", "-N DOCKER-USER");
        exec(&host.space, "iptables", "-A FORWARD -j DOCKER-USER");
        exec(&host.space, "iptables", "-P FORWARD DROP");
    }
    let vips = [site.vip(&[12, 21])];
    let ports = [site.port(80, &[12, 21])];
    site.apply(&vips, &ports);
    let outside = site.lab.outside();
    let check = |site: &Site| {
        let vip = site.overlay.ip(100);
        let inner = said(DRAWS, || hear(&site.containers[0], vip, 8080));
        assert_eq!(inner, set(&["b 10.0.1.11", "c 10.0.1.11"]));
        let outer = said(DRAWS, || hear(&outside, site.lab.hosts[2].address, 80));
        assert_eq!(outer, set(&["b 192.168.77.99", "c 192.168.77.99"]));
    };
    check(&site);
    ip(&outside, "route add 10.0.1.0/24 via 192.168.77.1");
    assert!(call(&outside, site.overlay.ip(11), 8080).is_err());
    // An engine that starts writes its chains anew.
    for host in 0..3 {
        exec(&site.lab.hosts[host].space, "iptables", "-F DOCKER-USER");
        site.lab.hosts[host].reconcile();
    }
    check(&site);
    for host in 0..3 {
        site.lab.hosts[host].remove();
        let rules = exec(&site.lab.hosts[host].space, "iptables", "-S DOCKER-USER");
        assert_eq!(rules, "-N DOCKER-USER\n");
    }
}

#[test]
fn replies_to_outside_clients_are_bridged_and_not_routed() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    site.apply(&[], &[site.port(80, &[21])]);
    // What the host makes of its own, such as copies, passes this hook.
    let block = "add table ip block; \
                 add chain ip block o { type filter hook output priority 0 ; }; \
                 add rule ip block o ip saddr 10.0.1.21 drop";
    exec(&site.lab.hosts[1].space, "nft", block);
    let receiver = site.lab.hosts[2].address;
    let heard = hear(&site.lab.outside(), receiver, 80);
    assert_eq!(heard, format!("c {CLIENT}"));
}

#[test]
fn a_published_port_answers_on_the_host_itself() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    site.apply(&[site.vip(&[11, 21])], &[site.port(80, &[11, 21])]);
    for host in 0..3 {
        let space = &site.lab.hosts[host].space;
        let own = site.lab.hosts[host].address;
        let gateway = format!("10.0.1.{}", host + 1);
        let local = said(DRAWS, || hear(space, Ipv4Addr::LOCALHOST, 80));
        let both = |seen: &str| set(&[&format!("a {seen}"), &format!("c {seen}")]);
        assert_eq!(local, both(&gateway), "127.0.0.1 on host {host}");
        let direct = said(DRAWS, || hear(space, own, 80));
        assert_eq!(direct, both(&own.to_string()), "own address on host {host}");
        let service = said(DRAWS, || hear(space, site.overlay.ip(100), 8080));
        assert_eq!(service, both(&gateway), "service address on host {host}");
        let relayed = said(DRAWS, || call(space, Ipv6Addr::LOCALHOST, 80).unwrap());
        assert_eq!(relayed, both(&gateway), "::1 on host {host}");
    }
}

#[test]
fn a_container_reaches_a_published_port_by_any_host() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    site.apply(&[], &[site.port(80, &[12, 21])]);
    let caller = site.containers[0].clone();
    let own = site.lab.hosts[0].address;
    let heard = said(DRAWS, || hear(&caller, own, 80));
    assert_eq!(heard, set(&["b 10.0.1.11", "c 10.0.1.11"]));
}

#[test]
fn without_backends_connections_are_refused_at_once() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let udp = published(Protocol::Udp, 5353, &[]);
    site.apply(&[site.vip(&[])], &[site.port(80, &[]), udp]);
    let refused = |space: &str, address: Ipv4Addr, port| {
        let error = call(space, address, port).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::ConnectionRefused,
            "{address}:{port}"
        );
    };
    let caller = &site.containers[0];
    refused(caller, site.overlay.ip(100), 8080);
    let outside = site.lab.outside();
    let host = &site.lab.hosts[2];
    refused(&outside, host.address, 80);
    refused(&host.space, Ipv4Addr::LOCALHOST, 80);
    refused(caller, site.lab.hosts[0].address, 80);
    let error = Datagrams::new(&outside, host.address, 5353)
        .ask()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn taking_a_backend_out_fails_no_connection() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let mut servers = site.serve();
    site.held = vec![12, 21];
    site.apply(&[site.vip(&[12, 21])], &[site.port(80, &[12, 21])]);
    let inner = Load::start(&site.containers[0], site.overlay.ip(100), 8080);
    let outer = Load::start(&site.lab.outside(), site.lab.hosts[2].address, 80);
    let local = Load::start(&site.lab.hosts[0].space, Ipv4Addr::LOCALHOST, 80);
    for _ in 0..10 {
        site.apply(&[site.vip(&[12])], &[site.port(80, &[12])]);
        // Once applied, nobody comes any more: it may go.
        drop(servers.pop());
        servers.push(Server::start(&site.containers[2], 8080, "c"));
        site.apply(&[site.vip(&[21])], &[site.port(80, &[21])]);
        site.apply(&[site.vip(&[12, 21])], &[site.port(80, &[12, 21])]);
    }
    for load in [inner, outer, local] {
        let heard = load.end();
        let failed: Vec<_> = heard.iter().filter(|it| it.is_err()).collect();
        assert!(
            failed.is_empty(),
            "{} of {}: {failed:?}",
            failed.len(),
            heard.len()
        );
        assert!(heard.len() > 10);
    }
}

#[test]
fn a_removed_backend_gets_no_new_connection() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    site.apply(&[site.vip(&[12, 21])], &[]);
    site.apply(&[site.vip(&[12])], &[]);
    let caller = site.containers[0].clone();
    let heard = said(DRAWS, || hear(&caller, site.overlay.ip(100), 8080));
    assert_eq!(heard, set(&["b 10.0.1.11"]));
}

#[test]
fn a_client_that_waits_for_a_silent_backend_is_answered_by_another() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    let silent = [site.vip(&[21])];
    let ports = |site: &Site, last| [site.port(80, &[last])];
    site.held = vec![12, 21];
    site.apply(&silent, &ports(&site, 21));
    ip(&site.containers[2], "link set eth0 down");
    let outer = Knock::begin(&site.lab.outside(), site.lab.hosts[2].address, 80);
    let inner = Knock::begin(&site.containers[0], site.overlay.ip(100), 8080);
    site.apply(&[site.vip(&[12])], &ports(&site, 12));
    assert_eq!(outer.hear().unwrap(), format!("b {CLIENT}"));
    assert_eq!(inner.hear().unwrap(), "b 10.0.1.11");
}

#[test]
fn a_udp_flow_moves_on_when_nobody_holds_its_backend() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    start_udp(&site.containers[1], 8080, "b");
    start_udp(&site.containers[2], 8080, "c");
    let at = |last: &[u8]| {
        let backends: Vec<Ipv4Addr> = last.iter().map(|it| Ipv4Addr::new(10, 0, 1, *it)).collect();
        published(Protocol::Udp, 9000, &backends)
    };
    site.held = vec![12, 21];
    site.apply(&[], &[at(&[12])]);
    let host = site.lab.hosts[2].address;
    let flow = Datagrams::new(&site.lab.outside(), host, 9000);
    assert_eq!(flow.ask().unwrap(), format!("b {CLIENT}"));
    site.apply(&[], &[at(&[21])]);
    // Not interrupted before its backend has drained.
    assert_eq!(flow.ask().unwrap(), format!("b {CLIENT}"));
    site.held = vec![21];
    site.apply(&[], &[at(&[21])]);
    assert_eq!(flow.ask().unwrap(), format!("c {CLIENT}"));
}

#[test]
fn datagrams_larger_than_the_tunnel_arrive_in_pieces() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    start_udp(&site.containers[2], 8080, "c");
    let backends = [site.overlay.ip(21)];
    site.apply(
        &[site.vip(&[21])],
        &[published(Protocol::Udp, 9000, &backends)],
    );
    let host = site.lab.hosts[2].address;
    let outer = Datagrams::new(&site.lab.outside(), host, 9000);
    assert_eq!(outer.ask_long(5000).unwrap(), format!("c {CLIENT}"));
    let inner = Datagrams::new(&site.containers[0], site.overlay.ip(100), 8080);
    assert_eq!(inner.ask_long(5000).unwrap(), "c 10.0.1.11");
}

#[test]
fn a_udp_sender_from_before_publishing_is_balanced_too() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    start_udp(&site.containers[1], 8080, "b");
    let host = site.lab.hosts[0].address;
    site.apply(&[], &[]);
    let socket = inside(&site.lab.hosts[0].space, || {
        UdpSocket::bind("0.0.0.0:9000").unwrap()
    });
    let flow = Datagrams::new(&site.lab.outside(), host, 9000);
    // Somebody else's port so far: the kernel tracks the flow as it is.
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| flow.ask());
        let mut datagram = [0; 10];
        let (_, from) = socket.recv_from(&mut datagram).unwrap();
        socket.send_to(b"before", from).unwrap();
        asked.join().unwrap()
    });
    assert_eq!(answer.unwrap(), "before");
    drop(socket);
    free(&site.lab.hosts[0].space, 9000);
    let backends = [site.overlay.ip(12)];
    site.apply(&[], &[published(Protocol::Udp, 9000, &backends)]);
    assert_eq!(flow.ask().unwrap(), format!("b {CLIENT}"));
}

#[test]
fn a_port_that_another_process_has_stays_its_own_and_is_named() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let _servers = site.serve();
    let space = site.lab.hosts[0].space.clone();
    let taken = inside(&space, || TcpListener::bind("0.0.0.0:80").unwrap());
    let want = site.want(0, &[], &[site.port(80, &[11]), site.port(81, &[11])]);
    let problems = site.lab.hosts[0].try_apply(want.clone());
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("port 80/tcp is held by "),
        "{problems:?}"
    );
    let outside = site.lab.outside();
    let host = site.lab.hosts[0].address;
    assert_eq!(hear(&outside, host, 81), format!("a {CLIENT}"));
    drop(taken);
    // It may be taken before we ask, since the data path looks again by itself.
    let start = Instant::now();
    while !site.lab.hosts[0].try_apply(want.clone()).is_empty() {
        assert!(start.elapsed() < PATIENCE, "port 80 stays taken");
    }
    assert_eq!(hear(&outside, host, 80), format!("a {CLIENT}"));
}

#[test]
fn the_tunnels_own_port_cannot_be_published() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    let port = published(Protocol::Udp, 4789, &[site.overlay.ip(11)]);
    let want = site.want(0, &[], &[port]);
    let problems = site.lab.hosts[0].try_apply(want);
    assert_eq!(problems, ["port 4789/udp carries the overlays themselves"]);
}

#[test]
fn containers_reach_nothing_of_their_host_but_the_resolver() {
    if !can_build() {
        return;
    }
    let mut site = Site::new();
    site.apply(&[], &[]);
    let host = &site.lab.hosts[0];
    let _outer = Server::start(&host.space, 9100, "host");
    let caller = &site.containers[0];
    assert!(call(caller, host.address, 9100).is_err());
    assert!(call(caller, site.overlay.ip(1), 9100).is_err());
    assert_eq!(
        hear(&site.lab.outside(), host.address, 9100),
        format!("host {CLIENT}")
    );
    // Where it is allowed, the host's own address is reached and a loopback
    // address by way of the gateway is not.
    let mut want = site.want(0, &[], &[]);
    want.balance.host_access = true;
    let address = host.address;
    site.lab.hosts[0].apply(want);
    let caller = &site.containers[0];
    assert_eq!(hear(caller, address, 9100), "host 10.0.1.11");
    assert!(call(caller, site.overlay.ip(1), 9100).is_err());
    // A container that sends loopback addresses out on purpose.
    ip(caller, "addr flush dev lo");
    exec(caller, "sysctl", "-qw net.ipv4.conf.eth0.route_localnet=1");
    ip(caller, "route add 127.0.0.0/8 via 10.0.1.1");
    assert!(call(caller, Ipv4Addr::new(127, 0, 0, 2), 9100).is_err());
}

#[test]
fn a_task_on_several_networks_answers_outside_clients_over_any_of_them() {
    if !can_build() {
        return;
    }
    let default = Overlay::new(1, &[(11, 0)]);
    let other = Overlay::new(2, &[(11, 0)]);
    let mut lab = Lab::new(2);
    for host in 0..2 {
        let last = 1 + u8::try_from(host).unwrap();
        lab.add_bridge(host, "dpbr1", default.ip(last));
        lab.add_bridge(host, "dpbr2", other.ip(last));
    }
    let task = lab.add_container(0, &[("dpbr1", default.ip(11)), ("dpbr2", other.ip(11))]);
    let _server = Server::start(&task, 8080, "a");
    for host in 0..2 {
        let mut want = want(&[default.clone(), other.clone()], host, 2);
        want.balance.published = vec![
            published(Protocol::Tcp, 80, &[default.ip(11)]),
            published(Protocol::Tcp, 81, &[other.ip(11)]),
        ];
        lab.hosts[host].apply(want);
    }
    let outside = lab.outside();
    for host in 0..2 {
        let address = lab.hosts[host].address;
        assert_eq!(hear(&outside, address, 80), format!("a {CLIENT}"));
        assert_eq!(hear(&outside, address, 81), format!("a {CLIENT}"));
    }
}
