//! Tests of what wants are rendered to. `golden.nft` is the whole table of the
//! example; set `UPDATE_GOLDEN=1` to write it anew and read the difference.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::*;
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

fn rendered() -> Ruleset {
    let class = |sticky, places| Class { sticky, places };
    let services = BTreeSet::from([class(false, 40), class(true, 2)]);
    render(&overlay(), false, (&services, &BTreeSet::new()))
}

#[test]
fn the_example_renders_to_the_golden_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/balance/golden.nft");
    let rendered = rendered().replacement();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(rendered, golden);
}

#[test]
fn every_lead_has_its_chain() {
    let ruleset = rendered();
    let rules = ruleset.chains.values().flat_map(|chain| &chain.rules);
    let mut leads = 0;
    for rule in rules {
        for verb in ["goto ", "jump "] {
            for (_, rest) in rule.match_indices(verb).map(|(at, _)| rule.split_at(at)) {
                let name = rest.trim_start_matches(verb);
                let name = name.split([',', ' ']).next().unwrap();
                assert!(ruleset.chains.contains_key(name), "{rule}");
                leads += 1;
            }
        }
    }
    assert!(leads > 5);
}

#[test]
fn smaller_classes_are_asked_first_and_sticky_ones_last() {
    let rules = &rendered().chains["services"].rules;
    let asked = |rule: &String| {
        let (_, rest) = rule.split_once("@services_").unwrap();
        rest.split(' ').next().unwrap().to_owned()
    };
    let mut order: Vec<String> = (1..=16).map(|it| it.to_string()).collect();
    order.extend(["40".to_owned(), "sticky_2".to_owned()]);
    assert_eq!(rules.iter().map(asked).collect::<Vec<_>>(), order);
}
