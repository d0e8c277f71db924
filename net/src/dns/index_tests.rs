use std::collections::BTreeMap;

use super::*;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 11);
const BOTH: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 12);
const CLOSED: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 11);
const GATE_A: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const OVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xb);
const GATE_B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);

fn network(id: &str, third: u8, internal: bool, names: &[(&str, &[u8])]) -> DnsNetwork {
    let ip = |last: u8| Ipv4Addr::new(10, 0, third, last);
    DnsNetwork {
        id: id.to_owned(),
        subnet: Subnet::new(ip(0), 24).unwrap(),
        gateway: ip(1),
        internal,
        names: names
            .iter()
            .map(|(name, lasts)| {
                let addresses = lasts.iter().map(|last| ip(*last).into()).collect();
                ((*name).to_owned(), addresses)
            })
            .collect(),
        pointers: BTreeMap::from([(ip(21).into(), "web.1".to_owned())]),
        served: BTreeMap::new(),
    }
}

fn index() -> Index {
    let mut open = network(
        "a",
        1,
        false,
        &[
            ("Web", &[100]),
            ("tasks.web", &[21, 22]),
            ("gone", &[]),
            ("twin", &[7]),
        ],
    );
    let both = open.names.entry("Web".to_owned()).or_default();
    both.push(OVER_V6.into());
    open.pointers.insert(OVER_V6.into(), "web".to_owned());
    let served = vec![Served {
        target: "web.1".to_owned(),
        port: 80,
    }];
    open.served = BTreeMap::from([("_HTTP._tcp.web".to_owned(), served)]);
    let closed = network("b", 2, true, &[("db", &[100]), ("twin", &[8])]);
    let on = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    Index::new(&Table {
        networks: vec![open, closed],
        callers: BTreeMap::from([
            (HERE, on(&["a"])),
            (BOTH, on(&["a", "b", "vanished"])),
            (CLOSED, on(&["b"])),
        ]),
    })
}

/// What the caller is told, as text.
fn ask(caller: Ipv4Addr, gateway: Ipv4Addr, name: &str, kind: Kind) -> String {
    let index = index();
    format!(
        "{:?}",
        index.lookup(caller, gateway, &canonical(name), kind)
    )
}

fn address(caller: Ipv4Addr, gateway: Ipv4Addr, name: &str) -> String {
    ask(caller, gateway, name, Kind::V4)
}

#[test]
fn names_are_found_in_any_case_and_with_a_final_dot() {
    for name in ["web", "WEB", "wEb."] {
        assert_eq!(address(HERE, GATE_A, name), "V4([10.0.1.100])");
    }
}

#[test]
fn a_name_has_addresses_of_both_kinds() {
    assert_eq!(ask(HERE, GATE_A, "web", Kind::V6), "V6([fd00::b])");
    assert_eq!(ask(HERE, GATE_A, "tasks.web", Kind::V6), "Empty");
}

#[test]
fn a_caller_sees_the_names_of_its_own_networks_only() {
    assert_eq!(address(HERE, GATE_A, "db"), "Forward");
    assert_eq!(address(BOTH, GATE_A, "db"), "V4([10.0.2.100])");
    assert_eq!(address(CLOSED, GATE_B, "web"), "NotFound");
}

#[test]
fn the_network_asked_on_comes_first() {
    assert_eq!(address(BOTH, GATE_A, "twin"), "V4([10.0.1.7])");
    assert_eq!(address(BOTH, GATE_B, "twin"), "V4([10.0.2.8])");
}

#[test]
fn a_container_that_is_not_listed_yet_is_known_by_its_subnet() {
    let fresh = Ipv4Addr::new(10, 0, 1, 99);
    assert_eq!(address(fresh, GATE_A, "web"), "V4([10.0.1.100])");
    assert_eq!(address(fresh, GATE_B, "db"), "Refused");
}

#[test]
fn strangers_are_refused() {
    let stranger = Ipv4Addr::new(203, 0, 113, 9);
    assert_eq!(address(stranger, GATE_A, "web"), "Refused");
    assert_eq!(address(stranger, GATE_A, "example.com"), "Refused");
}

#[test]
fn a_known_name_without_addresses_is_empty() {
    assert_eq!(address(HERE, GATE_A, "gone"), "Empty");
    for kind in [Kind::Other, Kind::Pointer, Kind::Served] {
        assert_eq!(ask(HERE, GATE_A, "web", kind), "Empty");
    }
}

#[test]
fn outside_names_are_passed_on_unless_all_networks_are_internal() {
    assert_eq!(address(HERE, GATE_A, "example.com"), "Forward");
    assert_eq!(address(BOTH, GATE_B, "example.com"), "Forward");
    assert_eq!(address(CLOSED, GATE_B, "example.com"), "NotFound");
}

#[test]
fn addresses_have_names_and_unknown_ones_of_ours_are_not_passed_on() {
    let ask = |name: &str| ask(HERE, GATE_A, name, Kind::Pointer);
    let zeros = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0";
    let v6 = |last: &str, first: &str| ask(&format!("{last}.{zeros}.{first}.ip6.arpa."));
    assert_eq!(ask("21.1.0.10.in-addr.arpa."), r#"Pointer("web.1")"#);
    assert_eq!(v6("b", "0.0.d.f"), r#"Pointer("web")"#);
    assert_eq!(ask("22.1.0.10.in-addr.arpa."), "NotFound");
    assert_eq!(ask("21.2.0.10.in-addr.arpa."), "NotFound");
    assert_eq!(v6("c", "0.0.d.f"), "NotFound");
    assert_eq!(v6("8", "0.0.0.2"), "Forward");
    assert_eq!(ask("8.8.8.8.in-addr.arpa."), "Forward");
    assert_eq!(ask("nonsense.in-addr.arpa."), "Forward");
}

#[test]
fn services_say_where_their_ports_are_served() {
    let found = ask(HERE, GATE_A, "_http._TCP.web", Kind::Served);
    assert_eq!(found, r#"Served([Served { target: "web.1", port: 80 }])"#);
    assert_eq!(address(HERE, GATE_A, "_http._tcp.web"), "Empty");
}
