//! From wants to the table. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{BalanceWant, Chain, Collection, PublishedWant, Ruleset, VipWant};
use crate::overlay::{NetworkWant, OverlayWant, mac_of};

/// How much of a service's name stands beside its rule.
const COMMENT_CHARS: usize = 60;

/// The table for `balance` on a host whose overlays are `overlay`. Networks
/// that are not in place must not be in `overlay`: a backend on none of its
/// subnets cannot be reached and is left out.
pub fn render(overlay: &OverlayWant, balance: &BalanceWant) -> Ruleset {
    let networks = &overlay.networks;
    let mut ruleset = Ruleset::default();
    add_inside(networks, balance, &mut ruleset);
    add_vips(networks, balance, &mut ruleset);
    add_published(networks, balance, &mut ruleset);
    add_balancing(&mut ruleset);
    add_self_calls(networks, balance, &mut ruleset);
    add_return_path(networks, &mut ruleset);
    add_tunnels(networks, &mut ruleset);
    add_limits(balance.host_access, &mut ruleset);
    ruleset
}

/// Who we are on the overlays: bridges and addresses.
fn add_inside(networks: &[NetworkWant], balance: &BalanceWant, ruleset: &mut Ruleset) {
    let mut bridges = Collection::new("ifname");
    let mut internal = Collection::new("ifname");
    let mut gateways = Collection::new("ipv4_addr");
    let mut vips = Collection::new("ipv4_addr");
    for network in networks {
        bridges.insert(quoted(&network.bridge));
        if network.internal {
            internal.insert(quoted(&network.bridge));
        }
        gateways.insert(network.gateway);
        network.vips.iter().for_each(|vip| vips.insert(vip));
    }
    for vip in &balance.vips {
        if network_of(networks, vip.address).is_some() {
            vips.insert(vip.address);
        }
    }
    let mut inside = gateways.clone();
    inside.elements.extend(vips.elements.clone());
    let named = [
        ("bridges", bridges),
        ("internal", internal),
        ("gateways", gateways),
        ("vip_addresses", vips),
        ("inside", inside),
    ];
    for (name, collection) in named {
        ruleset.collections.insert(name.to_owned(), collection);
    }
}

fn add_vips(networks: &[NetworkWant], balance: &BalanceWant, ruleset: &mut Ruleset) {
    let mut vips = Collection::new("ipv4_addr : verdict");
    for vip in &balance.vips {
        let network = network_of(networks, vip.address);
        let reachable = vip
            .backends
            .iter()
            .copied()
            .filter(|it| network.is_some_and(|network| network.subnet.contains(*it)));
        let backends = in_turn(reachable, balance.seed, vip.address.to_bits().into());
        if backends.is_empty() {
            continue;
        }
        let chain = format!("vip_{}", vip.address);
        vips.map(vip.address, format!("goto {chain}"));
        let rule = vip_rule(vip, &backends);
        ruleset.chains.insert(chain, Chain::plain([rule]));
    }
    ruleset.collections.insert("vips".to_owned(), vips);
}

fn vip_rule(vip: &VipWant, backends: &[Ipv4Addr]) -> String {
    let comment = comment(&vip.name);
    match backends {
        [only] => format!("dnat to {only}{comment}"),
        several => {
            let count = several.len();
            let listed = numbered(several.iter().map(Ipv4Addr::to_string));
            format!("dnat to numgen inc mod {count} map {{ {listed} }}{comment}")
        }
    }
}

fn add_published(networks: &[NetworkWant], balance: &BalanceWant, ruleset: &mut Ruleset) {
    let mut published = Collection::new("inet_proto . inet_service : verdict");
    let mut held = Collection::new("inet_proto . inet_service");
    for port in &balance.published {
        let key = format!("{} . {}", port.protocol, port.port);
        held.insert(&key);
        let reachable = port
            .backends
            .iter()
            .copied()
            .filter(|it| network_of(networks, *it).is_some_and(|network| !network.internal));
        let backends = in_turn(reachable, balance.seed, port.port.into());
        if backends.is_empty() {
            continue;
        }
        let chain = format!("port_{}_{}", port.protocol, port.port);
        published.map(key, format!("goto {chain}"));
        let rule = published_rule(port, &backends);
        ruleset.chains.insert(chain, Chain::plain([rule]));
    }
    let collections = &mut ruleset.collections;
    collections.insert("published".to_owned(), published);
    collections.insert("held".to_owned(), held);
}

fn published_rule(port: &PublishedWant, backends: &[Ipv4Addr]) -> String {
    let comment = comment(&port.name);
    let protocol = port.protocol;
    let target = port.target_port;
    match backends {
        [only] => format!("meta l4proto {protocol} dnat to {only}:{target}{comment}"),
        several => {
            let count = several.len();
            let listed = numbered(several.iter().map(|it| format!("{it} . {target}")));
            format!(
                "meta l4proto {protocol} dnat ip to numgen inc mod {count} map {{ {listed} }}{comment}"
            )
        }
    }
}

/// The chains that lead to a backend: for packets from elsewhere and for the
/// host's own, which pass another hook.
fn add_balancing(ruleset: &mut Ruleset) {
    let balance = Chain::plain([
        "meta l4proto { tcp, udp, sctp } ip daddr vmap @vips".to_owned(),
        // Only the host's outside addresses: published port 53 must not take
        // the resolver's place on a gateway.
        "fib daddr type local ip daddr != @inside meta l4proto . th dport vmap @published"
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
fn add_self_calls(networks: &[NetworkWant], balance: &BalanceWant, ruleset: &mut Ruleset) {
    let mut own = Collection::new("ipv4_addr . ipv4_addr");
    let remotes: BTreeSet<Ipv4Addr> = networks
        .iter()
        .flat_map(|network| network.remotes.iter().map(|remote| remote.ip))
        .collect();
    for backend in balance.backends() {
        if network_of(networks, backend).is_some() && !remotes.contains(&backend) {
            own.insert(format!("{backend} . {backend}"));
        }
    }
    ruleset.collections.insert("self".to_owned(), own);
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
    let mut marks = Collection::new("ether_addr : mark");
    let mut macs = Collection::new("ifname . mark : ether_addr");
    let mut gateways = Collection::new("mark : ipv4_addr");
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
    let mut all = Collection::new("ipv4_addr");
    let mut leads = Vec::new();
    for network in networks {
        let vni = network.vni;
        let set = format!("vteps_{vni}");
        let mut vteps = Collection::new("ipv4_addr");
        for peer in &network.peers {
            vteps.insert(peer.vtep);
            all.insert(peer.vtep);
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
    let ports: BTreeSet<u16> = networks.iter().map(|network| network.port).collect();
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
    let outward = ports
        .iter()
        .map(|port| format!("ip daddr @vteps udp dport {port} notrack"));
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

/// What is refused: services without backends, and most of the host to
/// containers. Anything that was balanced has left for a container by now.
fn add_limits(host_access: bool, ruleset: &mut Ruleset) {
    let input = [
        "ct state established,related accept",
        "meta l4proto . th dport @held ip daddr != @inside goto refuse",
        "meta l4proto != icmp ip daddr @vip_addresses goto refuse",
        "iifname @bridges goto from_container",
    ];
    let refuse = [
        "meta l4proto tcp reject with tcp reset",
        "reject with icmp type port-unreachable",
    ];
    let mut from_container = vec![
        "ip daddr @gateways meta l4proto { tcp, udp } th dport 53 accept",
        "ip daddr @inside icmp type echo-request accept",
    ];
    if host_access {
        from_container.push("ip daddr != @inside accept");
    }
    from_container.push("reject with icmp type admin-prohibited");
    let forward = [
        "iifname @internal oifname != @internal drop",
        "oifname @internal iifname != @internal drop",
    ];
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
    ];
    for (name, chain) in named {
        ruleset.chains.insert(name.to_owned(), chain);
    }
}

fn network_of(networks: &[NetworkWant], address: Ipv4Addr) -> Option<&NetworkWant> {
    let mut networks = networks.iter();
    networks.find(|network| network.subnet.contains(address))
}

/// `backends` in the order this host uses them: each once, sorted, and begun at
/// a place that depends on the host and the service.
fn in_turn(backends: impl Iterator<Item = Ipv4Addr>, seed: u64, service: u64) -> Vec<Ipv4Addr> {
    let sorted: BTreeSet<Ipv4Addr> = backends.collect();
    let mut sorted: Vec<Ipv4Addr> = sorted.into_iter().collect();
    if let Some(count) = u64::try_from(sorted.len()).ok().filter(|count| *count > 1) {
        let start = scatter(seed ^ scatter(service)) % count;
        sorted.rotate_left(usize::try_from(start).unwrap_or(0));
    }
    sorted
}

/// Spreads neighbouring numbers evenly (the finaliser of splitmix64).
fn scatter(number: u64) -> u64 {
    let mut number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn numbered(values: impl Iterator<Item = String>) -> String {
    let listed: Vec<String> = values
        .enumerate()
        .map(|(position, value)| format!("{position} : {value}"))
        .collect();
    listed.join(", ")
}

fn quoted(name: &str) -> String {
    // Device names come from the caller; a quote would end the string.
    let plain: String = name.chars().filter(|it| *it != '"').collect();
    format!("\"{plain}\"")
}

fn comment(name: &str) -> String {
    let plain = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    let plain: String = name.chars().filter(plain).take(COMMENT_CHARS).collect();
    match plain.is_empty() {
        true => String::new(),
        false => format!(" comment \"{plain}\""),
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
