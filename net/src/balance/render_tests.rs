//! Tests of what wants are rendered to. `golden.nft` is the whole table of the
//! example; set `UPDATE_GOLDEN=1` to write it anew and read the difference.

use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::balance::Protocol;
use crate::overlay::{PeerWant, RemoteWant, Subnet};

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, last)
}

fn network() -> NetworkWant {
    let vtep = Ipv4Addr::new(192, 0, 2, 2);
    NetworkWant {
        id: "app".to_owned(),
        bridge: "br-app".to_owned(),
        vni: 4097,
        port: 4789,
        local_vtep: Ipv4Addr::new(192, 0, 2, 1),
        underlay: Some("tun-a".to_owned()),
        mtu: 1450,
        subnet: Subnet::new(ip(0), 24).unwrap(),
        gateway: ip(1),
        peers: vec![PeerWant {
            vtep,
            gateway: ip(2),
        }],
        remotes: vec![RemoteWant::new(ip(21), vtep)],
        vips: vec![ip(100), ip(101)],
        internal: false,
    }
}

fn overlay() -> OverlayWant {
    let mut secret = network();
    secret.bridge = "br-in".to_owned();
    secret.vni = 4098;
    secret.subnet = Subnet::new(Ipv4Addr::new(10, 0, 2, 0), 24).unwrap();
    secret.gateway = Ipv4Addr::new(10, 0, 2, 1);
    secret.peers = Vec::new();
    secret.remotes = Vec::new();
    secret.vips = Vec::new();
    secret.underlay = None;
    secret.internal = true;
    OverlayWant {
        networks: vec![network(), secret],
    }
}

fn vip(last: u8, backends: &[u8]) -> VipWant {
    VipWant {
        name: format!("web-{last}"),
        address: ip(last),
        backends: backends.iter().map(|it| ip(*it)).collect(),
    }
}

fn port(number: u16, backends: Vec<Ipv4Addr>) -> PublishedWant {
    PublishedWant {
        name: "web".to_owned(),
        protocol: Protocol::Tcp,
        port: number,
        target_port: 8080,
        backends,
    }
}

fn balance() -> BalanceWant {
    BalanceWant {
        held: BTreeSet::new(),
        seed: 7,
        vips: vec![vip(100, &[11, 21]), vip(101, &[])],
        published: vec![
            port(80, vec![ip(11), ip(21)]),
            port(81, vec![ip(11)]),
            port(82, Vec::new()),
        ],
        host_access: false,
    }
}

#[test]
fn the_example_renders_to_the_golden_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/balance/golden.nft");
    let rendered = render(&overlay(), &balance()).replacement();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(rendered, golden);
}

#[test]
fn a_removed_backend_changes_only_its_services_chains() {
    let mut after = balance();
    after.vips[0].backends = vec![ip(11)];
    let before = render(&overlay(), &balance());
    let change = render(&overlay(), &after).change_from(&before).unwrap();
    assert_eq!(
        change,
        "flush chain ip swarmr vip_10.0.1.100\n\
         add rule ip swarmr vip_10.0.1.100 dnat to 10.0.1.11 comment \"web-100\"\n"
    );
}

#[test]
fn a_service_without_backends_leads_nowhere_and_is_refused() {
    let ruleset = render(&overlay(), &balance());
    assert!(!ruleset.chains.contains_key("vip_10.0.1.101"));
    let refused = &ruleset.collections["vip_addresses"].elements;
    assert!(refused.contains_key("10.0.1.101"));
    assert!(!ruleset.chains.contains_key("port_tcp_82"));
    assert!(
        ruleset.collections["held"]
            .elements
            .contains_key("tcp . 82")
    );
}

#[test]
fn backends_off_every_overlay_are_left_out() {
    let mut want = balance();
    want.published = vec![port(80, vec![Ipv4Addr::new(198, 51, 100, 1)])];
    want.vips = vec![vip(100, &[])];
    want.vips[0].backends = vec![Ipv4Addr::new(198, 51, 100, 1)];
    let ruleset = render(&overlay(), &want);
    assert!(ruleset.collections["published"].elements.is_empty());
    assert!(ruleset.collections["vips"].elements.is_empty());
}

#[test]
fn nothing_outside_reaches_an_internal_network() {
    let mut want = balance();
    want.published = vec![port(80, vec![Ipv4Addr::new(10, 0, 2, 11)])];
    let ruleset = render(&overlay(), &want);
    assert!(ruleset.collections["published"].elements.is_empty());
}

#[test]
fn only_this_hosts_own_backends_can_call_themselves() {
    let own = &render(&overlay(), &balance()).collections["self"];
    let own: Vec<&String> = own.elements.keys().collect();
    assert_eq!(own, ["10.0.1.11 . 10.0.1.11"]);
}

#[test]
fn hosts_begin_their_rounds_at_different_backends() {
    let first = |seed| in_turn((11..15).map(ip), seed, 100)[0];
    let starts: BTreeSet<Ipv4Addr> = (0..50).map(first).collect();
    assert_eq!(starts.len(), 4);
}

#[test]
fn a_name_cannot_break_out_of_its_comment() {
    assert_eq!(
        comment("a\"; flush ruleset \n#"),
        " comment \"aflushruleset\""
    );
    assert_eq!(comment("\"\""), "");
}

fn some_balance() -> impl Strategy<Value = BalanceWant> {
    let vips =
        prop::collection::btree_map(100_u8..106, prop::collection::vec(10_u8..20, 0..5), 0..5);
    let ports =
        prop::collection::btree_map(80_u16..86, prop::collection::vec(10_u8..20, 0..5), 0..5);
    (vips, ports, any::<bool>()).prop_map(|(vips, ports, host_access)| BalanceWant {
        held: BTreeSet::new(),
        seed: 3,
        vips: vips.iter().map(|(last, it)| vip(*last, it)).collect(),
        published: ports
            .iter()
            .map(|(number, it)| port(*number, it.iter().map(|last| ip(*last)).collect()))
            .collect(),
        host_access,
    })
}

proptest! {
    #[test]
    fn every_rule_asks_for_a_number_that_its_map_has(want in some_balance()) {
        for chain in render(&overlay(), &want).chains.values() {
            for rule in chain.rules.iter().filter(|rule| rule.contains("numgen")) {
                let (_, rest) = rule.split_once("mod ").unwrap();
                let (count, rest) = rest.split_once(" map { ").unwrap();
                let (listed, _) = rest.split_once(" }").unwrap();
                let count: usize = count.parse().unwrap();
                let keys: Vec<usize> = listed
                    .split(", ")
                    .map(|it| it.split_once(" : ").unwrap().0.parse().unwrap())
                    .collect();
                prop_assert_eq!(keys, (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn every_lead_has_its_chain(want in some_balance()) {
        let ruleset = render(&overlay(), &want);
        for collection in ruleset.collections.values() {
            for verdict in collection.elements.values().flatten() {
                if let Some(chain) = verdict.strip_prefix("goto ") {
                    prop_assert!(ruleset.chains.contains_key(chain));
                }
            }
        }
    }
}
