//! Containers on different hosts, and what becomes of the hosts.

use std::net::Ipv4Addr;
use std::slice::from_ref;

use net::datapath::Want;

use crate::containers::{Server, call, hear};
use crate::lab::{Lab, can_build, eventually, exec, ip};
use crate::wants::{Overlay, want};

/// Two hosts with a container each on one overlay; the data path is applied.
pub(crate) fn pair(encrypted: bool) -> (Lab, Overlay, String, String) {
    let mut overlay = Overlay::new(1, &[(11, 0), (21, 1)]);
    overlay.encrypted = encrypted;
    let mut lab = Lab::new(2);
    let bridge = overlay.bridge();
    for host in 0..2 {
        let gateway = overlay.ip(1 + u8::try_from(host).unwrap());
        lab.add_bridge(host, &bridge, gateway);
    }
    let first = lab.add_container(0, &[(&bridge, overlay.ip(11))]);
    let second = lab.add_container(1, &[(&bridge, overlay.ip(21))]);
    if encrypted {
        for space in [&first, &second] {
            ip(space, "link set eth0 mtu 1390");
        }
    }
    for host in 0..2 {
        lab.hosts[host].apply(want(from_ref(&overlay), host, 2));
    }
    (lab, overlay, first, second)
}

#[test]
fn containers_on_two_hosts_see_each_others_addresses() {
    if !can_build() {
        return;
    }
    let (_lab, overlay, first, second) = pair(false);
    let _a = Server::start(&first, 8080, "a");
    let _b = Server::start(&second, 8080, "b");
    assert_eq!(hear(&first, overlay.ip(21), 8080), "b 10.0.1.11");
    assert_eq!(hear(&second, overlay.ip(11), 8080), "a 10.0.1.21");
}

#[test]
fn a_container_that_no_want_names_is_found_by_flooding() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, first, _) = pair(false);
    let bridge = overlay.bridge();
    let late = lab.add_container(1, &[(&bridge, overlay.ip(77))]);
    let _server = Server::start(&late, 8080, "late");
    assert_eq!(hear(&first, overlay.ip(77), 8080), "late 10.0.1.11");
}

#[test]
fn applying_twice_changes_nothing() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, ..) = pair(false);
    let before = lab.hosts[0].state();
    lab.hosts[0].apply(want(from_ref(&overlay), 0, 2));
    lab.hosts[0].reconcile();
    assert_eq!(lab.hosts[0].state(), before);
}

#[test]
fn a_replaced_daemon_finds_everything_in_place() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, first, second) = pair(false);
    let _server = Server::start(&second, 8080, "b");
    let before = lab.hosts[0].state();
    lab.hosts[0].stop();
    assert_eq!(hear(&first, overlay.ip(21), 8080), "b 10.0.1.11");
    lab.hosts[0].apply(want(from_ref(&overlay), 0, 2));
    assert_eq!(lab.hosts[0].state(), before);
}

#[test]
fn damage_is_repaired() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, first, second) = pair(false);
    let _server = Server::start(&second, 8080, "b");
    let whole = lab.hosts[0].state();
    let space = lab.hosts[0].space.clone();
    exec(&space, "nft", "flush chain ip swarmr balance");
    ip(&space, "link del swx-4097");
    ip(&space, "addr del 10.0.1.100/32 dev dpbr1");
    lab.hosts[0].reconcile();
    assert_eq!(hear(&first, overlay.ip(21), 8080), "b 10.0.1.11");
    assert_eq!(
        without_indexes(&lab.hosts[0].state()),
        without_indexes(&whole)
    );
}

/// A device that is made anew has a new index, and MAC addresses of tunnels
/// are random.
fn without_indexes(state: &str) -> Vec<String> {
    let lines = state.lines().filter(|line| !line.contains("link/ether"));
    let mut lines: Vec<String> = lines
        .map(|line| {
            line.split_once(": ")
                .map_or(line, |(_, rest)| rest)
                .to_owned()
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_bridge_that_is_made_anew_is_joined_again_without_being_asked() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, first, second) = pair(false);
    let bridge = overlay.bridge();
    let _server = Server::start(&first, 8080, "a");
    ip(&lab.hosts[1].space, &format!("link del {bridge}"));
    ip(&second, "link set eth0 down");
    lab.add_bridge(1, &bridge, overlay.ip(2));
    let again = lab.add_container(1, &[(&bridge, overlay.ip(22))]);
    eventually("the new bridge is joined", || {
        call(&again, overlay.ip(11), 8080).is_ok()
    });
}

#[test]
fn a_network_waits_for_its_bridge_and_the_others_do_not() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, first, second) = pair(false);
    let _server = Server::start(&second, 8080, "b");
    let waiting = Overlay::new(2, &[]);
    let problems = lab.hosts[0].try_apply(want(&[overlay.clone(), waiting.clone()], 0, 2));
    assert_eq!(problems, ["network net2 waits for its bridge dpbr2"]);
    assert_eq!(hear(&first, overlay.ip(21), 8080), "b 10.0.1.11");
    lab.add_bridge(0, "dpbr2", waiting.ip(1));
    lab.hosts[0].apply(want(&[overlay, waiting], 0, 2));
}

#[test]
fn a_new_containers_port_can_hairpin_without_being_asked() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, ..) = pair(false);
    let bridge = overlay.bridge();
    lab.add_container(0, &[(&bridge, overlay.ip(12))]);
    let space = &lab.hosts[0].space;
    eventually("hairpin at the new port", || {
        exec(space, "bridge", "-d link show dev v10.0.1.12").contains("hairpin on")
    });
}

#[test]
fn tunnel_packets_from_a_stranger_are_dropped() {
    if !can_build() {
        return;
    }
    let (lab, overlay, first, _) = pair(false);
    let _server = Server::start(&first, 8080, "a");
    let stranger = lab.outside();
    ip(
        &stranger,
        "link add vx type vxlan id 4097 dstport 4789 local 192.168.77.99 remote 192.168.77.1",
    );
    ip(&stranger, "addr add 10.0.1.200/24 dev vx");
    ip(&stranger, "link set vx up");
    ip(
        &stranger,
        "neigh add 10.0.1.11 lladdr 02:42:0a:00:01:0b dev vx",
    );
    assert!(call(&stranger, overlay.ip(11), 8080).is_err());
    let reached = exec(&first, "ip", "neigh show 10.0.1.200");
    assert_eq!(reached, "", "a stranger's frame came in");
}

#[test]
fn removing_everything_leaves_nothing() {
    if !can_build() {
        return;
    }
    let overlay = Overlay::new(1, &[(11, 0), (21, 1)]);
    let mut lab = Lab::new(2);
    lab.add_bridge(0, &overlay.bridge(), overlay.ip(1));
    lab.add_container(0, &[(&overlay.bridge(), overlay.ip(11))]);
    // What stays is the bridge's MAC and MTU: give it those.
    let space = lab.hosts[0].space.clone();
    ip(&space, "link set dpbr1 address 02:42:0a:00:01:01 mtu 1450");
    let port = "v10.0.1.11";
    eventually("the container's port is up", || {
        exec(&space, "bridge", "link").contains(&format!("{port}@"))
            && exec(&space, "bridge", "link").contains("forwarding")
    });
    let before = lab.hosts[0].state();
    lab.hosts[0].apply(want(from_ref(&overlay), 0, 2));
    assert_ne!(lab.hosts[0].state(), before);
    lab.hosts[0].apply(Want::default());
    let space = lab.hosts[0].space.clone();
    assert_eq!(exec(&space, "ip", "-o link show type vxlan"), "");
    lab.hosts[0].apply(want(&[overlay], 0, 2));
    lab.hosts[0].remove();
    assert_eq!(lab.hosts[0].state(), before);
}

#[test]
fn a_daemon_that_died_before_a_network_went_away_cleans_up_after() {
    if !can_build() {
        return;
    }
    let (mut lab, ..) = pair(false);
    lab.hosts[0].stop();
    lab.hosts[0].apply(Want::default());
    let space = &lab.hosts[0].space;
    assert_eq!(exec(space, "ip", "-o link show type vxlan"), "");
    assert_eq!(exec(space, "ip", "neigh show nud permanent"), "");
    let addresses = exec(space, "ip", "-o -4 addr show dev dpbr1");
    assert!(addresses.contains("10.0.1.1/24"), "{addresses}");
    assert!(!addresses.contains("/32"), "{addresses}");
}

#[test]
fn networks_stay_apart() {
    if !can_build() {
        return;
    }
    let one = Overlay::new(1, &[(11, 0)]);
    let two = Overlay::new(2, &[(11, 1)]);
    let mut lab = Lab::new(2);
    for host in 0..2 {
        let last = 1 + u8::try_from(host).unwrap();
        lab.add_bridge(host, "dpbr1", Ipv4Addr::new(10, 0, 1, last));
        lab.add_bridge(host, "dpbr2", Ipv4Addr::new(10, 0, 2, last));
    }
    let caller = lab.add_container(0, &[("dpbr1", one.ip(11))]);
    let other = lab.add_container(1, &[("dpbr2", two.ip(11))]);
    let _server = Server::start(&other, 8080, "other");
    for host in 0..2 {
        lab.hosts[host].apply(want(&[one.clone(), two.clone()], host, 2));
        // The engine's part: its bridges are fenced off from each other.
        let fence = "add table ip fence; add chain ip fence f { type filter hook forward priority 0 ; }; add rule ip fence f iifname dpbr1 oifname dpbr2 drop";
        exec(&lab.hosts[host].space, "nft", fence);
    }
    assert!(call(&caller, two.ip(11), 8080).is_err());
}
