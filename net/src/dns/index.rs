//! What the resolver answers. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DnsNetwork, Served, Table, reverse};
use crate::overlay::Subnet;

/// A [`Table`], made ready for lookups.
#[derive(Debug, Default)]
pub struct Index {
    networks: Vec<Network>,
    callers: HashMap<Ipv4Addr, Box<[usize]>>,
}

#[derive(Debug)]
struct Network {
    subnet: Subnet,
    gateway: Ipv4Addr,
    internal: bool,
    names: HashMap<Box<str>, Entry>,
    pointers: HashMap<IpAddr, Box<str>>,
}

/// Everything about one name.
#[derive(Debug, Default)]
struct Entry {
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    served: Vec<Served>,
}

/// What is asked about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its IPv4 addresses.
    V4,
    /// Its IPv6 addresses.
    V6,
    /// The name of an address.
    Pointer,
    /// Where a service is served.
    Served,
    /// Anything else.
    Other,
}

/// What to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    V4(&'a [Ipv4Addr]),
    V6(&'a [Ipv6Addr]),
    Pointer(&'a str),
    Served(&'a [Served]),
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
        let known = |ids: &Vec<String>| -> Box<[usize]> {
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
    /// `gateway` for `name`: lower case, without the dot at the end.
    pub fn lookup(
        &self,
        caller: Ipv4Addr,
        gateway: Ipv4Addr,
        name: &str,
        kind: Kind,
    ) -> Answer<'_> {
        let mut networks = self.networks_of(caller, gateway).peekable();
        if networks.peek().is_none() {
            return Answer::Refused;
        }
        let mut all_internal = true;
        let asked = (kind == Kind::Pointer)
            .then(|| reverse::address_of(name))
            .flatten();
        for network in networks {
            all_internal &= network.internal;
            let known = match asked {
                Some(address) => network.pointers.get(&address).map(|it| Answer::Pointer(it)),
                None => network.names.get(name).map(|entry| entry.answer(kind)),
            };
            if let Some(known) = known {
                return known;
            }
        }
        if all_internal || asked.is_some_and(|address| self.is_ours(address)) {
            return Answer::NotFound;
        }
        Answer::Forward
    }

    /// The networks of a caller; the one it asked on first.
    fn networks_of(&self, caller: Ipv4Addr, gateway: Ipv4Addr) -> impl Iterator<Item = &Network> {
        let is_asked = move |network: &&Network| network.gateway == gateway;
        let listed = self.callers.get(&caller).map(|positions| {
            let networks = || positions.iter().filter_map(|at| self.networks.get(*at));
            let others = networks().filter(move |network| !is_asked(network));
            networks().filter(is_asked).chain(others)
        });
        // The host itself, or a container that the table does not have yet.
        let by_subnet = listed.is_none().then(|| {
            let asked = self.networks.iter().filter(is_asked);
            asked.filter(move |network| network.subnet.contains(caller))
        });
        let by_subnet = by_subnet.into_iter().flatten();
        listed.into_iter().flatten().chain(by_subnet)
    }

    /// Whether nobody outside can know the name of an address: what is unknown
    /// here is unknown to everybody, and is none of the host's resolvers'
    /// business (RFC 6303 says so of the private addresses of IPv6).
    fn is_ours(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.networks.iter().any(|it| it.subnet.contains(address)),
            IpAddr::V6(address) => address.is_unique_local(),
        }
    }
}

impl Network {
    fn new(network: &DnsNetwork) -> Self {
        let mut names: HashMap<Box<str>, Entry> = HashMap::with_capacity(network.names.len());
        for (name, addresses) in &network.names {
            let entry = names.entry(canonical(name)).or_default();
            for address in addresses {
                match address {
                    IpAddr::V4(address) => entry.v4.push(*address),
                    IpAddr::V6(address) => entry.v6.push(*address),
                }
            }
        }
        for (name, served) in &network.served {
            names
                .entry(canonical(name))
                .or_default()
                .served
                .clone_from(served);
        }
        Self {
            subnet: network.subnet,
            gateway: network.gateway,
            internal: network.internal,
            names,
            pointers: boxed(&network.pointers),
        }
    }
}

impl Entry {
    fn answer(&self, kind: Kind) -> Answer<'_> {
        match kind {
            Kind::V4 if !self.v4.is_empty() => Answer::V4(&self.v4),
            Kind::V6 if !self.v6.is_empty() => Answer::V6(&self.v6),
            Kind::Served if !self.served.is_empty() => Answer::Served(&self.served),
            _ => Answer::Empty,
        }
    }
}

/// A name as lookups want it.
pub(super) fn canonical(name: &str) -> Box<str> {
    name.trim_end_matches('.').to_ascii_lowercase().into()
}

fn boxed(pointers: &BTreeMap<IpAddr, String>) -> HashMap<IpAddr, Box<str>> {
    let pointers = pointers.iter();
    pointers
        .map(|(address, name)| (*address, name.as_str().into()))
        .collect()
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
