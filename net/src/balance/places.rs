//! The places among which the kernel draws, for every service and published
//! port, and what changes in the kernel when one of them changes. Pure.
//!
//! A connection is judged while the tables change under it: the rule that it is
//! at may already look at new elements. So what an old rule can still ask for
//! stays until the change after: a service that goes to a smaller class stays in
//! its former one too, which is asked later, and places beyond the new number
//! lead to containers that serve.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::Range;

use super::element::{Class, Edit, Element};
use super::subnets::Subnets;
use super::{BalanceWant, Protocol, PublishedWant, VipWant};

/// How much of a service's name stands beside it.
const COMMENT_CHARS: usize = 60;

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Service(Ipv4Addr),
    Port(Protocol, u16),
}

/// What stands for a key in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Placed {
    comment: String,
    /// In the container, for a published port.
    target: u16,
    class: Option<Class>,
    /// The class of before, where that is a larger one.
    trailing: Option<Class>,
    /// Of which the first so many as the class says are drawn.
    places: Vec<Ipv4Addr>,
}

/// Everything that is placed.
#[derive(Debug, Default)]
pub(super) struct Places {
    subnets: Subnets,
    vips: Vec<VipWant>,
    published: Vec<PublishedWant>,
    shown: Vec<Ipv4Addr>,
    placed: BTreeMap<Key, Placed>,
    /// Service addresses, and containers that serve: how often each is used.
    addresses: BTreeMap<Ipv4Addr, u32>,
    backends: BTreeMap<Ipv4Addr, u32>,
    services: BTreeSet<Class>,
    ports: BTreeSet<Class>,
}

/// What follows from a change of wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) edits: Vec<Edit>,
    /// An address is no longer a backend of anything.
    pub(super) left: bool,
}

impl Places {
    /// Follows `balance`. `shown` are service addresses that bridges answer
    /// for, whether a service has them or not. A backend on none of `subnets`
    /// cannot be reached and is left out.
    pub(super) fn follow(
        &mut self,
        subnets: Subnets,
        shown: Vec<Ipv4Addr>,
        balance: &BalanceWant,
    ) -> Change {
        let mut change = Change::default();
        // What could be reached before may not be now, and the reverse.
        let whole = self.subnets != subnets;
        self.show(shown, &mut change);
        let (gone, come) = differing(&self.vips, &balance.vips, whole);
        let come = &balance.vips[come];
        let gone: Vec<_> = self.vips.splice(gone, come.iter().cloned()).collect();
        let kept: BTreeSet<Ipv4Addr> = come.iter().map(|it| it.address).collect();
        for vip in gone.iter().filter(|it| !kept.contains(&it.address)) {
            self.place(Key::Service(vip.address), None, &mut change);
        }
        // Addresses are looked up in the new subnets from here on.
        self.subnets = subnets;
        for vip in come {
            self.place_vip(vip, &mut change);
        }
        let (gone, come) = differing(&self.published, &balance.published, whole);
        let come = &balance.published[come];
        let gone: Vec<_> = self.published.splice(gone, come.iter().cloned()).collect();
        let kept: BTreeSet<_> = come.iter().map(|it| (it.protocol, it.port)).collect();
        for port in gone.iter().map(|it| (it.protocol, it.port)) {
            if !kept.contains(&port) {
                self.place(Key::Port(port.0, port.1), None, &mut change);
            }
        }
        for port in come {
            self.place_port(port, &mut change);
        }
        change
    }

    /// The classes that services, and that ports, are in or were in.
    pub(super) fn classes(&self) -> (&BTreeSet<Class>, &BTreeSet<Class>) {
        (&self.services, &self.ports)
    }

    /// Everything that should be in the kernel.
    pub(super) fn elements(&self) -> Vec<Element> {
        let placed = self.placed.iter();
        let placed = placed.flat_map(|(key, placed)| placed.elements(*key));
        let addresses = self.addresses.keys().copied().map(Element::VipAddress);
        let backends = self.backends.keys().copied().map(Element::OwnCall);
        placed.chain(addresses).chain(backends).collect()
    }

    fn show(&mut self, shown: Vec<Ipv4Addr>, change: &mut Change) {
        if shown == self.shown {
            return;
        }
        for address in &shown {
            count_up(&mut self.addresses, *address, Element::VipAddress, change);
        }
        for address in std::mem::replace(&mut self.shown, shown) {
            count_down(&mut self.addresses, address, Element::VipAddress, change);
        }
    }

    fn place_vip(&mut self, vip: &VipWant, change: &mut Change) {
        let key = Key::Service(vip.address);
        if !self.subnets.have(vip.address) {
            return self.place(key, None, change);
        }
        let backends = vip.backends.iter().copied();
        let reachable = backends.filter(|it| self.subnets.join(vip.address, *it));
        let placed = self.arranged(key, reachable.collect(), vip.sticky, &vip.name, 0);
        self.place(key, Some(placed), change);
    }

    fn place_port(&mut self, port: &PublishedWant, change: &mut Change) {
        let key = Key::Port(port.protocol, port.port);
        let backends = port.backends.iter().copied();
        let reachable = backends.filter(|it| self.subnets.have_open(*it)).collect();
        let placed = self.arranged(key, reachable, port.sticky, &port.name, port.target_port);
        self.place(key, Some(placed), change);
    }

    /// What should stand for `key` after what stands there now.
    fn arranged(
        &self,
        key: Key,
        mut backends: Vec<Ipv4Addr>,
        sticky: bool,
        name: &str,
        target: u16,
    ) -> Placed {
        backends.sort_unstable();
        let before = self.placed.get(&key);
        let (before_places, before_class) = match before {
            Some(before) => (before.drawn(), before.class),
            None => (&[][..], None),
        };
        // The same on every host for clients that come back to their place;
        // else whoever stays, stays where he is.
        let mut places = match sticky {
            true => backends,
            false => settled(before_places, backends),
        };
        let count = places.len();
        let class = u32::try_from(count).ok().filter(|count| *count > 0);
        let class = class.map(|places| Class { sticky, places });
        if count > 0 {
            for place in count..before_places.len() {
                places.push(places[place % count]);
            }
        }
        Placed {
            comment: comment(name),
            target,
            class,
            trailing: before_class.filter(|it| class.is_some_and(|class| class < *it)),
            places,
        }
    }

    /// Makes `placed` stand for `key`, or nothing.
    fn place(&mut self, key: Key, placed: Option<Placed>, change: &mut Change) {
        let before = self.placed.remove(&key);
        // What is in use from now on is counted first: an address that stays is
        // never without its element.
        if let Some(placed) = &placed {
            let classes = match key {
                Key::Service(_) => &mut self.services,
                Key::Port(..) => &mut self.ports,
            };
            classes.extend(placed.class);
            if let Key::Service(address) = key {
                count_up(&mut self.addresses, address, Element::VipAddress, change);
            }
            for address in placed.distinct() {
                count_up(&mut self.backends, address, Element::OwnCall, change);
            }
        }
        if let Some(before) = &before {
            if let Key::Service(address) = key {
                count_down(&mut self.addresses, address, Element::VipAddress, change);
            }
            for address in before.distinct() {
                let gone = count_down(&mut self.backends, address, Element::OwnCall, change);
                change.left |= gone;
            }
        }
        if before != placed {
            let elements = |it: &Option<Placed>| -> BTreeSet<Element> {
                it.iter().flat_map(|it| it.elements(key)).collect()
            };
            let (old, new) = (elements(&before), elements(&placed));
            let gone = old.difference(&new).cloned().map(Edit::Delete);
            change.edits.extend(gone);
            let come = new.difference(&old).cloned().map(Edit::Add);
            change.edits.extend(come);
        }
        if let Some(placed) = placed {
            self.placed.insert(key, placed);
        }
    }
}

impl Placed {
    /// The places that connections are given.
    fn drawn(&self) -> &[Ipv4Addr] {
        let count = self.class.map_or(0, |class| class.places);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.places.get(..count).unwrap_or(&self.places)
    }

    fn distinct(&self) -> BTreeSet<Ipv4Addr> {
        self.drawn().iter().copied().collect()
    }

    fn elements(&self, key: Key) -> Vec<Element> {
        let mut elements = Vec::new();
        if let Key::Port(protocol, port) = key {
            elements.push(Element::Held(protocol, port));
        }
        for class in self.class.into_iter().chain(self.trailing) {
            let comment = self.comment.clone();
            elements.push(match key {
                Key::Service(address) => Element::Service {
                    class,
                    address,
                    comment,
                },
                Key::Port(protocol, port) => Element::Port {
                    class,
                    protocol,
                    port,
                    comment,
                },
            });
        }
        for (place, address) in (0..).zip(&self.places) {
            elements.push(match key {
                Key::Service(service) => Element::Backend {
                    service,
                    place,
                    address: *address,
                },
                Key::Port(protocol, port) => Element::PortBackend {
                    protocol,
                    port,
                    place,
                    address: *address,
                    target: self.target,
                },
            });
        }
        elements
    }
}

/// `backends` at places that differ from `before` as little as can be.
fn settled(before: &[Ipv4Addr], backends: Vec<Ipv4Addr>) -> Vec<Ipv4Addr> {
    let mut left: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
    for backend in &backends {
        *left.entry(*backend).or_default() += 1;
    }
    let mut places: Vec<Option<Ipv4Addr>> = before
        .iter()
        .take(backends.len())
        .map(|backend| {
            let count = left.get_mut(backend).filter(|count| **count > 0)?;
            *count -= 1;
            Some(*backend)
        })
        .collect();
    places.resize(backends.len(), None);
    let others = left
        .into_iter()
        .flat_map(|(backend, count)| std::iter::repeat_n(backend, count));
    let mut others = others.collect::<Vec<_>>().into_iter();
    let filled = places
        .into_iter()
        .map(|place| place.or_else(|| others.next()));
    filled.flatten().collect()
}

/// Which of two lists lie between their common beginning and their common end.
fn differing<T: PartialEq>(old: &[T], new: &[T], whole: bool) -> (Range<usize>, Range<usize>) {
    if whole {
        return (0..old.len(), 0..new.len());
    }
    let both = old.iter().zip(new);
    let begin = both.take_while(|(old, new)| old == new).count();
    let both = old[begin..].iter().rev().zip(new[begin..].iter().rev());
    let end = both.take_while(|(old, new)| old == new).count();
    (begin..old.len() - end, begin..new.len() - end)
}

fn count_up(
    counts: &mut BTreeMap<Ipv4Addr, u32>,
    address: Ipv4Addr,
    element: fn(Ipv4Addr) -> Element,
    change: &mut Change,
) {
    let count = counts.entry(address).or_default();
    *count += 1;
    if *count == 1 {
        change.edits.push(Edit::Add(element(address)));
    }
}

/// Returns whether nobody uses the address any more.
fn count_down(
    counts: &mut BTreeMap<Ipv4Addr, u32>,
    address: Ipv4Addr,
    element: fn(Ipv4Addr) -> Element,
    change: &mut Change,
) -> bool {
    let Some(count) = counts.get_mut(&address) else {
        return false;
    };
    *count -= 1;
    let gone = *count == 0;
    if gone {
        counts.remove(&address);
        change.edits.push(Edit::Delete(element(address)));
    }
    gone
}

fn comment(name: &str) -> String {
    let plain = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    name.chars().filter(plain).take(COMMENT_CHARS).collect()
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
