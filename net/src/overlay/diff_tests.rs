//! Tests of the overlay's diff.

use proptest::prelude::*;

use super::*;
use crate::overlay::{PeerWant, RemoteWant, Subnet};

fn bridge() -> BridgeHave {
    BridgeHave {
        mac: Mac([2, 0, 0, 0, 0, 9]),
        mtu: 1500,
        up: true,
        addresses: BTreeSet::from([(Ipv4Addr::new(10, 0, 1, 1), 24)]),
        ports: BTreeMap::from([("veth1".to_owned(), false)]),
        neighbours: BTreeMap::new(),
    }
}

fn network() -> NetworkWant {
    NetworkWant {
        id: "app".to_owned(),
        bridge: "br-app".to_owned(),
        vni: 4097,
        port: 4789,
        local_vtep: Ipv4Addr::new(192, 0, 2, 1),
        underlay: None,
        mtu: 1450,
        subnet: "10.0.1.0/24".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 0, 1, 1),
        peers: vec![PeerWant {
            vtep: Ipv4Addr::new(192, 0, 2, 2),
            gateway: Ipv4Addr::new(10, 0, 1, 2),
        }],
        remotes: vec![RemoteWant::new(
            Ipv4Addr::new(10, 0, 1, 21),
            Ipv4Addr::new(192, 0, 2, 2),
        )],
        vips: vec![Ipv4Addr::new(10, 0, 1, 100)],
        internal: false,
    }
}

fn settled() -> (OverlayWant, Have) {
    let want = OverlayWant {
        networks: vec![network()],
    };
    let mut have = Have::default();
    have.bridges.insert("br-app".to_owned(), bridge());
    let plan = diff(&want, &have);
    run(&plan, &mut have);
    (want, have)
}

fn run(plan: &Plan, have: &mut Have) {
    for step in plan.grow.iter().chain(&plan.shrink) {
        have.take(step);
    }
}

fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::to_string).collect()
}

#[test]
fn a_new_network_is_built_whole_in_the_growing_half() {
    let want = OverlayWant {
        networks: vec![network()],
    };
    let mut have = Have::default();
    have.bridges.insert("br-app".to_owned(), bridge());
    let plan = diff(&want, &have);
    assert_eq!(
        lines(&plan.grow),
        [
            "give br-app the MAC 02:42:0a:00:01:01 and an MTU of 1450",
            "add 10.0.1.100/32 to br-app",
            "turn hairpin on at port veth1 of br-app",
            "set neighbour 10.0.1.2 at 02:42:0a:00:01:02 on br-app",
            "set neighbour 10.0.1.21 at 02:42:0a:00:01:15 on br-app",
            "add tunnel swx-4097 to br-app",
            "flood swx-4097 to 192.0.2.2",
            "forward 02:42:0a:00:01:02 on swx-4097 to 192.0.2.2",
            "put 02:42:0a:00:01:02 behind swx-4097",
            "forward 02:42:0a:00:01:15 on swx-4097 to 192.0.2.2",
            "put 02:42:0a:00:01:15 behind swx-4097",
        ]
    );
    assert!(plan.shrink.is_empty());
}

#[test]
fn nothing_is_done_where_nothing_changed() {
    let (want, have) = settled();
    assert!(diff(&want, &have).is_empty());
}

#[test]
fn a_network_without_its_bridge_is_left_out_and_named() {
    let want = OverlayWant {
        networks: vec![network()],
    };
    let plan = diff(&want, &Have::default());
    assert!(plan.is_empty());
    assert_eq!(plan.missing, [0]);
}

#[test]
fn a_bridge_that_the_engine_is_still_making_is_left_alone() {
    let (want, mut have) = settled();
    let gateway = (Ipv4Addr::new(10, 0, 1, 1), 24);
    let half_made = have.bridges.get_mut("br-app").unwrap();
    half_made.addresses.remove(&gateway);
    half_made.neighbours.clear();
    let plan = diff(&want, &have);
    assert!(plan.is_empty());
    assert_eq!(plan.missing, [0]);
}

#[test]
fn a_moved_container_is_forwarded_to_its_new_host_in_one_step() {
    let (mut want, have) = settled();
    want.networks[0].remotes[0].vtep = Ipv4Addr::new(192, 0, 2, 3);
    let plan = diff(&want, &have);
    assert_eq!(
        lines(&plan.grow),
        ["forward 02:42:0a:00:01:15 on swx-4097 to 192.0.2.3"]
    );
    assert!(plan.shrink.is_empty());
}

#[test]
fn a_container_that_is_gone_is_forgotten_in_the_shrinking_half() {
    let (mut want, have) = settled();
    want.networks[0].remotes.clear();
    let plan = diff(&want, &have);
    assert!(plan.grow.is_empty());
    assert_eq!(
        lines(&plan.shrink),
        [
            "delete neighbour 10.0.1.21 from br-app",
            "stop forwarding 02:42:0a:00:01:15 on swx-4097 to 192.0.2.2",
            "forget 02:42:0a:00:01:15 behind swx-4097",
        ]
    );
}

#[test]
fn a_tunnel_with_the_wrong_port_is_made_anew_with_all_its_entries() {
    let (mut want, have) = settled();
    want.networks[0].port = 4790;
    let plan = diff(&want, &have);
    let lines = lines(&plan.grow);
    assert_eq!(lines[0], "delete tunnel swx-4097");
    assert_eq!(lines[1], "add tunnel swx-4097 to br-app");
    assert_eq!(lines.len(), 7);
}

#[test]
fn a_network_that_is_gone_leaves_the_engines_own_address_only() {
    let (_, mut have) = settled();
    let plan = diff(&OverlayWant::default(), &have);
    assert!(plan.grow.is_empty());
    run(&plan, &mut have);
    let left = &have.bridges["br-app"];
    assert_eq!(
        left.addresses,
        BTreeSet::from([(Ipv4Addr::new(10, 0, 1, 1), 24)])
    );
    assert!(left.neighbours.is_empty());
    assert!(!left.ports["veth1"]);
    assert!(have.tunnels.is_empty());
}

#[test]
fn damage_from_outside_is_repaired() {
    let (want, whole) = settled();
    let mut have = whole.clone();
    let tunnel = have.tunnels.get_mut("swx-4097").unwrap();
    tunnel.forwards.clear();
    tunnel.bridge = None;
    let vip = (Ipv4Addr::new(10, 0, 1, 100), 32);
    have.bridges
        .get_mut("br-app")
        .unwrap()
        .addresses
        .remove(&vip);
    let plan = diff(&want, &have);
    run(&plan, &mut have);
    assert_eq!(have, whole);
}

prop_compose! {
    fn some_network(position: u8)(
        peers in prop::collection::btree_set(2_u8..6, 0..4),
        remotes in prop::collection::btree_map(20_u8..40, 2_u8..6, 0..8),
        vips in prop::collection::btree_set(100_u8..104, 0..4),
        port in prop_oneof![Just(4789_u16), Just(4790)],
        mtu in prop_oneof![Just(1450_u32), Just(1370)],
    ) -> NetworkWant {
        let ip = |last| Ipv4Addr::new(10, 0, position, last);
        let vtep = |last| Ipv4Addr::new(192, 0, 2, last);
        NetworkWant {
            bridge: format!("br-{position}"),
            vni: 4096 + u32::from(position),
            port,
            mtu,
            subnet: Subnet::new(ip(0), 24).unwrap(),
            gateway: ip(1),
            peers: peers.iter().map(|&it| PeerWant { vtep: vtep(it), gateway: ip(it) }).collect(),
            remotes: remotes.iter().map(|(&it, &host)| RemoteWant::new(ip(it), vtep(host))).collect(),
            vips: vips.into_iter().map(ip).collect(),
            ..network()
        }
    }
}

fn some_want() -> impl Strategy<Value = OverlayWant> {
    let network = |position| prop::option::of(some_network(position));
    (network(1), network(2), network(3)).prop_map(|(a, b, c)| OverlayWant {
        networks: [a, b, c].into_iter().flatten().collect(),
    })
}

proptest! {
    #[test]
    fn any_plan_leads_to_its_want_and_then_rests(
        first in some_want(),
        second in some_want(),
        absent in prop::option::of(1_u8..4),
    ) {
        let mut have = Have::default();
        for position in (1..4).filter(|it| Some(*it) != absent) {
            have.bridges.insert(format!("br-{position}"), BridgeHave {
                addresses: BTreeSet::from([(Ipv4Addr::new(10, 0, position, 1), 24)]),
                ..bridge()
            });
        }
        for want in [&first, &second] {
            run(&diff(want, &have), &mut have);
            prop_assert!(diff(want, &have).is_empty());
        }
        run(&diff(&OverlayWant::default(), &have), &mut have);
        prop_assert!(have.tunnels.is_empty());
    }
}
