//! What the resolver answers. Pure.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::{DnsNetwork, Table};
use crate::overlay::Subnet;

/// The end of names that ask for the name of an address.
const REVERSE: &str = ".in-addr.arpa";

/// A [`Table`], made ready for lookups.
#[derive(Debug, Default)]
pub struct Index {
    networks: Vec<Network>,
    callers: HashMap<Ipv4Addr, Vec<usize>>,
}

#[derive(Debug)]
struct Network {
    subnet: Subnet,
    gateway: Ipv4Addr,
    internal: bool,
    names: HashMap<String, Vec<Ipv4Addr>>,
    pointers: HashMap<Ipv4Addr, String>,
}

/// What is asked about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its IPv4 addresses.
    Address,
    /// The name of an address.
    Pointer,
    /// Anything else.
    Other,
}

/// What to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Addresses(Vec<Ipv4Addr>),
    Pointer(String),
    /// The name exists but has nothing of this kind.
    Empty,
    /// There is no such name.
    NotFound,
    /// Ask the host's resolvers.
    Forward,
    /// The caller is none of ours.
    Refused,
}

impl Index {
    /// Prepares `table`. Network ids that callers name and no network has are
    /// left out.
    pub fn new(table: &Table) -> Self {
        let positions: HashMap<&str, usize> = table
            .networks
            .iter()
            .enumerate()
            .map(|(position, network)| (network.id.as_str(), position))
            .collect();
        let known = |ids: &Vec<String>| -> Vec<usize> {
            let positions = ids.iter().map(|id| positions.get(id.as_str()).copied());
            positions.flatten().collect()
        };
        Self {
            networks: table.networks.iter().map(Network::new).collect(),
            callers: table
                .callers
                .iter()
                .map(|(address, ids)| (*address, known(ids)))
                .collect(),
        }
    }

    /// The answer for the container at `caller`, which asked the resolver at
    /// `gateway` for `name`.
    pub fn lookup(&self, caller: Ipv4Addr, gateway: Ipv4Addr, name: &str, kind: Kind) -> Answer {
        let networks = self.networks_of(caller, gateway);
        if networks.is_empty() {
            return Answer::Refused;
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let known = match kind {
            Kind::Pointer => self.pointer(&networks, &name),
            Kind::Address | Kind::Other => networks.iter().find_map(|network| {
                let addresses = network.names.get(&name)?;
                Some(match kind {
                    Kind::Address if !addresses.is_empty() => Answer::Addresses(addresses.clone()),
                    _ => Answer::Empty,
                })
            }),
        };
        let outside = || match networks.iter().all(|network| network.internal) {
            true => Answer::NotFound,
            false => Answer::Forward,
        };
        known.unwrap_or_else(outside)
    }

    /// The networks of a caller; the one it asked on first.
    fn networks_of(&self, caller: Ipv4Addr, gateway: Ipv4Addr) -> Vec<&Network> {
        let asked = |network: &&Network| network.gateway == gateway;
        let Some(positions) = self.callers.get(&caller) else {
            // The host itself, or a container that the table does not have yet.
            let networks = self.networks.iter().filter(asked);
            return networks
                .filter(|network| network.subnet.contains(caller))
                .collect();
        };
        let networks = positions.iter().filter_map(|at| self.networks.get(*at));
        let (mut first, others): (Vec<&Network>, Vec<&Network>) = networks.partition(asked);
        first.extend(others);
        first
    }

    /// The name of the address in `name`, if the address is in an overlay of
    /// ours: what is unknown there is unknown to everybody.
    fn pointer(&self, networks: &[&Network], name: &str) -> Option<Answer> {
        let address = reversed(name)?;
        let pointer = networks.iter().find_map(|it| it.pointers.get(&address));
        if let Some(pointer) = pointer {
            return Some(Answer::Pointer(pointer.clone()));
        }
        let ours = self.networks.iter().any(|it| it.subnet.contains(address));
        ours.then_some(Answer::NotFound)
    }
}

impl Network {
    fn new(network: &DnsNetwork) -> Self {
        let lower = |name: &String| name.trim_end_matches('.').to_ascii_lowercase();
        Self {
            subnet: network.subnet,
            gateway: network.gateway,
            internal: network.internal,
            names: network
                .names
                .iter()
                .map(|(name, addresses)| (lower(name), addresses.clone()))
                .collect(),
            pointers: network
                .pointers
                .iter()
                .map(|(address, name)| (*address, name.clone()))
                .collect(),
        }
    }
}

/// `11.1.0.10.in-addr.arpa` is 10.0.1.11.
fn reversed(name: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = name.strip_suffix(REVERSE)?.parse().ok()?;
    let [a, b, c, d] = address.octets();
    Some(Ipv4Addr::new(d, c, b, a))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 11);
    const BOTH: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 12);
    const CLOSED: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 11);
    const GATE_A: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
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
                    let addresses = lasts.iter().map(|last| ip(*last)).collect();
                    ((*name).to_owned(), addresses)
                })
                .collect(),
            pointers: BTreeMap::from([(ip(21), "web.1".to_owned())]),
        }
    }

    fn index() -> Index {
        let open = network(
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

    fn ask(caller: Ipv4Addr, gateway: Ipv4Addr, name: &str) -> Answer {
        index().lookup(caller, gateway, name, Kind::Address)
    }

    fn ip(third: u8, last: u8) -> Answer {
        Answer::Addresses(vec![Ipv4Addr::new(10, 0, third, last)])
    }

    #[test]
    fn names_are_found_in_any_case_and_with_a_final_dot() {
        for name in ["web", "WEB", "wEb."] {
            assert_eq!(ask(HERE, GATE_A, name), ip(1, 100));
        }
    }

    #[test]
    fn a_caller_sees_the_names_of_its_own_networks_only() {
        assert_eq!(ask(HERE, GATE_A, "db"), Answer::Forward);
        assert_eq!(ask(BOTH, GATE_A, "db"), ip(2, 100));
        assert_eq!(ask(CLOSED, GATE_B, "web"), Answer::NotFound);
    }

    #[test]
    fn the_network_asked_on_comes_first() {
        assert_eq!(ask(BOTH, GATE_A, "twin"), ip(1, 7));
        assert_eq!(ask(BOTH, GATE_B, "twin"), ip(2, 8));
    }

    #[test]
    fn a_container_that_is_not_listed_yet_is_known_by_its_subnet() {
        let fresh = Ipv4Addr::new(10, 0, 1, 99);
        assert_eq!(ask(fresh, GATE_A, "web"), ip(1, 100));
        assert_eq!(ask(fresh, GATE_B, "db"), Answer::Refused);
    }

    #[test]
    fn strangers_are_refused() {
        let stranger = Ipv4Addr::new(203, 0, 113, 9);
        assert_eq!(ask(stranger, GATE_A, "web"), Answer::Refused);
        assert_eq!(ask(stranger, GATE_A, "example.com"), Answer::Refused);
    }

    #[test]
    fn a_known_name_without_addresses_is_empty() {
        assert_eq!(ask(HERE, GATE_A, "gone"), Answer::Empty);
        let other = index().lookup(HERE, GATE_A, "web", Kind::Other);
        assert_eq!(other, Answer::Empty);
    }

    #[test]
    fn outside_names_are_passed_on_unless_all_networks_are_internal() {
        assert_eq!(ask(HERE, GATE_A, "example.com"), Answer::Forward);
        assert_eq!(ask(BOTH, GATE_B, "example.com"), Answer::Forward);
        assert_eq!(ask(CLOSED, GATE_B, "example.com"), Answer::NotFound);
    }

    #[test]
    fn addresses_have_names_and_unknown_ones_of_ours_are_not_passed_on() {
        let ask = |name| index().lookup(HERE, GATE_A, name, Kind::Pointer);
        let pointer = Answer::Pointer("web.1".to_owned());
        assert_eq!(ask("21.1.0.10.in-addr.arpa."), pointer);
        assert_eq!(ask("22.1.0.10.in-addr.arpa."), Answer::NotFound);
        assert_eq!(ask("21.2.0.10.in-addr.arpa."), Answer::NotFound);
        assert_eq!(ask("8.8.8.8.in-addr.arpa."), Answer::Forward);
        assert_eq!(ask("nonsense.in-addr.arpa."), Answer::Forward);
    }
}
