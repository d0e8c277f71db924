//! From wants to the table. Pure.

use std::collections::BTreeSet;

use super::element::{Class, Set};
use super::{Chain, Collection, Ruleset};
use crate::overlay::{NetworkWant, OverlayWant, mac_of};
use crate::tunnel;

/// Classes that are there from the start: to move among them takes no new rule.
const PREPARED: u32 = 16;
/// The same on every host, so that a client that comes back by another one
/// finds its place.
const STICKY_SEED: u32 = 0x5357_524d;

/// The table on a host whose overlays are `overlay`, all but the elements that
/// [`Places`](super::places::Places) fills in. `services` and `ports` are the
/// classes that these are in.
pub(super) fn render(
    overlay: &OverlayWant,
    host_access: bool,
    (services, ports): (&BTreeSet<Class>, &BTreeSet<Class>),
) -> Ruleset {
    let networks = &overlay.networks;
    let mut ruleset = Ruleset::default();
    add_inside(networks, &mut ruleset);
    add_services(services, &mut ruleset);
    add_ports(ports, &mut ruleset);
    add_balancing(&mut ruleset);
    add_self_calls(&mut ruleset);
    add_return_path(networks, &mut ruleset);
    add_tunnels(networks, &mut ruleset);
    add_limits(networks, host_access, &mut ruleset);
    ruleset
}

/// Who we are on the overlays: bridges and addresses.
fn add_inside(networks: &[NetworkWant], ruleset: &mut Ruleset) {
    let mut bridges = Collection::new("type ifname");
    let mut internal = Collection::new("type ifname");
    let mut gateways = Collection::new("type ipv4_addr");
    for network in networks {
        bridges.insert(quoted(&network.bridge));
        if network.internal {
            internal.insert(quoted(&network.bridge));
        }
        gateways.insert(network.gateway);
    }
    let named = [
        ("bridges", bridges),
        ("internal", internal),
        ("gateways", gateways),
    ];
    for (name, collection) in named {
        ruleset.collections.insert(name.to_owned(), collection);
    }
    declare(Set::VipAddresses, ruleset);
}

/// Draws a place for what is called by a service address. No rule belongs to
/// one service, so that none has to change with it: the kernel looks at every
/// rule of a table when one was changed.
fn add_services(classes: &BTreeSet<Class>, ruleset: &mut Ruleset) {
    let mut rules = Vec::new();
    for class in with_prepared(classes) {
        let set = Set::Services(class);
        declare(set, ruleset);
        let number = drawn(class);
        rules.push(format!(
            "ip daddr @{set} dnat to ip daddr . {number} map @{}",
            Set::Backends
        ));
    }
    declare(Set::Backends, ruleset);
    let chains = &mut ruleset.chains;
    chains.insert("services".to_owned(), Chain::plain(rules));
}

/// The same for what is called by a published port.
fn add_ports(classes: &BTreeSet<Class>, ruleset: &mut Ruleset) {
    let mut rules = Vec::new();
    for class in with_prepared(classes) {
        let set = Set::Ports(class);
        declare(set, ruleset);
        let number = drawn(class);
        rules.push(format!(
            "meta l4proto . th dport @{set} meta l4proto {{ tcp, udp, sctp }} \
             dnat ip to meta l4proto . th dport . {number} map @{}",
            Set::PortBackends
        ));
    }
    declare(Set::PortBackends, ruleset);
    declare(Set::Held, ruleset);
    let chains = &mut ruleset.chains;
    chains.insert("ports".to_owned(), Chain::plain(rules));
}

fn with_prepared(classes: &BTreeSet<Class>) -> BTreeSet<Class> {
    let prepared = (1..=PREPARED).map(|places| Class {
        sticky: false,
        places,
    });
    prepared.chain(classes.iter().copied()).collect()
}

/// Not in turn: callers of two services call them in turn themselves, and each
/// would always get the same place of both.
fn drawn(class: Class) -> String {
    let places = class.places;
    match class.sticky {
        true => format!("jhash ip saddr mod {places} seed {STICKY_SEED:#x}"),
        false => format!("numgen random mod {places}"),
    }
}

fn declare(set: Set, ruleset: &mut Ruleset) {
    let collection = Collection::new(set.kind());
    ruleset.collections.insert(set.to_string(), collection);
}

/// The chains that lead to a backend: for packets from elsewhere and for the
/// host's own, which pass another hook.
fn add_balancing(ruleset: &mut Ruleset) {
    let balance = Chain::plain([
        "ip daddr @vip_addresses meta l4proto { tcp, udp, sctp } goto services".to_owned(),
        // Only the host's outside addresses: published port 53 must not take
        // the resolver's place on a gateway.
        "meta l4proto . th dport @held fib daddr type local ip daddr != @gateways goto ports"
            .to_owned(),
    ]);
    let chains = &mut ruleset.chains;
    chains.insert("balance".to_owned(), balance);
    let jump = || ["jump balance".to_owned()];
    chains.insert(
        "prerouting".to_owned(),
        Chain::hooked("nat hook prerouting priority -101", jump()),
    );
    chains.insert(
        "output".to_owned(),
        Chain::hooked("nat hook output priority -101", jump()),
    );
}

/// Sources that no answer would come back to: a container that was chosen for
/// its own call, and addresses that mean something else on another host.
fn add_self_calls(ruleset: &mut Ruleset) {
    declare(Set::OwnCalls, ruleset);
    let postrouting = Chain::hooked(
        "nat hook postrouting priority 99",
        [
            "oifname @bridges ip saddr . ip daddr @self masquerade".to_owned(),
            "oifname @bridges ip saddr 127.0.0.0/8 masquerade".to_owned(),
            "oifname @bridges ip saddr @vip_addresses masquerade".to_owned(),
        ],
    );
    ruleset.chains.insert("postrouting".to_owned(), postrouting);
}

/// Replies go back by the host that forwarded the request, which alone can
/// undo its rewriting.
fn add_return_path(networks: &[NetworkWant], ruleset: &mut Ruleset) {
    let mut marks = Collection::new("type ether_addr : mark");
    let mut macs = Collection::new("type ifname . mark : ether_addr");
    let mut gateways = Collection::new("type mark : ipv4_addr");
    for network in networks {
        let bridge = quoted(&network.bridge);
        for peer in &network.peers {
            let mac = mac_of(peer.gateway);
            let mark = format!("{:#010x}", peer.gateway.to_bits());
            marks.map(mac, &mark);
            macs.map(format!("{bridge} . {mark}"), mac);
            gateways.map(mark, peer.gateway);
        }
    }
    let named = [
        ("peer_marks", marks),
        ("peer_macs", macs),
        ("peer_gateways", gateways),
    ];
    for (name, collection) in named {
        ruleset.collections.insert(name.to_owned(), collection);
    }
    let rules = [
        "ether daddr set iifname . ct mark map @peer_macs accept",
        // A container on several networks answers by its default route, which
        // may be another bridge: the reply is carried over to the right one.
        "dup to ct mark map @peer_gateways drop",
    ];
    let rules = rules.map(str::to_owned);
    let chains = &mut ruleset.chains;
    chains.insert("reply".to_owned(), Chain::plain(rules));
    let mesh = Chain::hooked(
        "filter hook prerouting priority -150",
        [
            "iifname @bridges ct direction original ct state new \
             ct mark set ether saddr map @peer_marks"
                .to_owned(),
            "iifname @bridges ct direction reply ct mark != 0 goto reply".to_owned(),
        ],
    );
    chains.insert("mesh".to_owned(), mesh);
}

/// Tunnel packets: only from the network's hosts and by the device that it
/// should come by, since the tunnel's socket takes them from anyone. They are
/// not tracked: every inner flow has an outer port of its own and would fill
/// the connection table.
fn add_tunnels(networks: &[NetworkWant], ruleset: &mut Ruleset) {
    let mut all = Collection::new("type ipv4_addr");
    let mut sealed = Collection::new("type ipv4_addr");
    let mut leads = Vec::new();
    for network in networks {
        let vni = network.vni;
        let set = format!("vteps_{vni}");
        let mut vteps = Collection::new("type ipv4_addr");
        for peer in &network.peers {
            vteps.insert(peer.vtep);
            all.insert(peer.vtep);
            if network.underlay.as_deref() == Some(tunnel::DEVICE) {
                sealed.insert(peer.vtep);
            }
        }
        let mut rules = Vec::new();
        if let Some(device) = &network.underlay {
            rules.push(format!("iifname != {} drop", quoted(device)));
        }
        rules.push(format!("ip saddr != @{set} drop"));
        rules.push("notrack".to_owned());
        let chain = format!("tunnel_{vni}");
        leads.push(format!("{vni:#x} : goto {chain}"));
        ruleset.chains.insert(chain, Chain::plain(rules));
        ruleset.collections.insert(set, vteps);
    }
    ruleset.collections.insert("vteps".to_owned(), all);
    ruleset
        .collections
        .insert("sealed_vteps".to_owned(), sealed);
    let ports = tunnel_ports(networks);
    let leads = leads.join(", ");
    let mut inward = vec![
        // 127.0.0.0/8 is routed on our bridges so that the host can reach its
        // own published ports there; containers must not make use of it.
        "iifname @bridges ip saddr 127.0.0.0/8 drop".to_owned(),
        "iifname @bridges ip daddr 127.0.0.0/8 drop".to_owned(),
    ];
    inward.extend(
        ports.iter().map(|port| {
            format!("udp dport {port} fib daddr type local @th,96,24 vmap {{ {leads} }}")
        }),
    );
    // Without its device, what should be encrypted would leave by the default
    // route.
    let mut outward = vec![format!(
        "ip daddr @sealed_vteps oifname != {} drop",
        quoted(tunnel::DEVICE)
    )];
    outward.extend(
        ports
            .iter()
            .map(|port| format!("ip daddr @vteps udp dport {port} notrack")),
    );
    let chains = &mut ruleset.chains;
    chains.insert(
        "raw_prerouting".to_owned(),
        Chain::hooked("filter hook prerouting priority -300", inward),
    );
    chains.insert(
        "raw_output".to_owned(),
        Chain::hooked("filter hook output priority -300", outward),
    );
}

fn tunnel_ports(networks: &[NetworkWant]) -> BTreeSet<u16> {
    networks.iter().map(|network| network.port).collect()
}

/// What is refused: services without backends, and most of the host to
/// containers. Anything that was balanced has left for a container by now.
/// Tunnels are for what hosts put into them: a container's own packets to a
/// tunnel's end would be taken for its host's.
fn add_limits(networks: &[NetworkWant], host_access: bool, ruleset: &mut Ruleset) {
    let device = quoted(tunnel::DEVICE);
    let ports = tunnel_ports(networks);
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let ports = ports.join(", ");
    let to_tunnel = format!("iifname {device} goto from_tunnel");
    let input = [
        to_tunnel.as_str(),
        "ct state established,related accept",
        "meta l4proto . th dport @held ip daddr != @gateways ip daddr != @vip_addresses goto refuse",
        "meta l4proto != icmp ip daddr @vip_addresses goto refuse",
        "iifname @bridges goto from_container",
    ];
    let refuse = [
        "meta l4proto tcp reject with tcp reset",
        "reject with icmp type port-unreachable",
    ];
    let mut from_container = vec![
        "ip daddr @gateways meta l4proto { tcp, udp } th dport 53 accept",
        "ip daddr @gateways icmp type echo-request accept",
        "ip daddr @vip_addresses icmp type echo-request accept",
    ];
    if host_access {
        from_container.push("ip daddr != @gateways ip daddr != @vip_addresses accept");
    }
    from_container.push("reject with icmp type admin-prohibited");
    let from_tunnel = [
        &format!("udp dport {{ {ports} }} accept"),
        "icmp type echo-request accept",
        "drop",
    ];
    let into_tunnels = [
        format!("iifname {device} drop"),
        format!("oifname {device} drop"),
        format!("ip daddr @vteps udp dport {{ {ports} }} drop"),
    ];
    let mut forward = vec![
        "iifname @internal oifname != @internal drop",
        "oifname @internal iifname != @internal drop",
    ];
    let mut from_tunnel = from_tunnel.to_vec();
    if ports.is_empty() {
        from_tunnel.remove(0);
    } else {
        forward.extend(into_tunnels.iter().map(String::as_str));
    }
    let hooked = |hook, rules: &[&str]| Chain::hooked(hook, rules.iter().map(ToString::to_string));
    let plain = |rules: &[&str]| Chain::plain(rules.iter().map(ToString::to_string));
    let named = [
        ("input", hooked("filter hook input priority -10", &input)),
        (
            "forward",
            hooked("filter hook forward priority -10", &forward),
        ),
        ("refuse", plain(&refuse)),
        ("from_container", plain(&from_container)),
        ("from_tunnel", plain(&from_tunnel)),
    ];
    for (name, chain) in named {
        ruleset.chains.insert(name.to_owned(), chain);
    }
}

fn quoted(name: &str) -> String {
    // Device names come from the caller; a quote would end the string.
    let plain: String = name.chars().filter(|it| *it != '"').collect();
    format!("\"{plain}\"")
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
