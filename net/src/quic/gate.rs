//! How many strangers may stand in the doorway.
//!
//! A handshake costs this side memory and a signature before it knows who is
//! there. `Gate` counts those under way and decides about the next one; it is
//! plain data, `SharedGate` puts it behind a lock with guards that count down.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::Limits;

/// What to do with a peer's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admit,
    /// Make it prove its address first.
    Validate,
    Refuse,
}

/// As what a place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A handshake whose source address may be forged. Not counted by address,
    /// or a forger could use up somebody else's places.
    Unproven,
    Proven,
    Anonymous,
}

#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    unproven: usize,
    proven: Counter,
    anonymous: Counter,
}

#[derive(Debug, Default)]
struct Counter {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            unproven: 0,
            proven: Counter::default(),
            anonymous: Counter::default(),
        }
    }

    /// About a first packet from `address`.
    pub(crate) fn judge(&self, address: IpAddr, proven: bool) -> Verdict {
        let limits = &self.limits;
        if !proven {
            return match self.unproven < limits.validate_above {
                true => Verdict::Admit,
                false => Verdict::Validate,
            };
        }
        let fits =
            self.proven
                .has_room(address, limits.max_pending, limits.max_pending_per_address);
        match fits {
            true => Verdict::Admit,
            false => Verdict::Refuse,
        }
    }

    /// Whether one more peer without a certificate may stay.
    pub(crate) fn has_room_for_anonymous(&self, address: IpAddr) -> bool {
        self.anonymous.has_room(
            address,
            self.limits.max_anonymous,
            self.limits.max_anonymous_per_address,
        )
    }

    pub(crate) fn enter(&mut self, place: Place, address: IpAddr) {
        match place {
            Place::Unproven => self.unproven += 1,
            Place::Proven => self.proven.add(address),
            Place::Anonymous => self.anonymous.add(address),
        }
    }

    pub(crate) fn leave(&mut self, place: Place, address: IpAddr) {
        match place {
            Place::Unproven => self.unproven = self.unproven.saturating_sub(1),
            Place::Proven => self.proven.remove(address),
            Place::Anonymous => self.anonymous.remove(address),
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.unproven + self.proven.total
    }

    pub(crate) fn anonymous(&self) -> usize {
        self.anonymous.total
    }
}

impl Counter {
    fn has_room(&self, address: IpAddr, max: usize, max_per_address: usize) -> bool {
        let here = self.by_address.get(&network(address)).copied();
        self.total < max && here.unwrap_or(0) < max_per_address
    }

    fn add(&mut self, address: IpAddr) {
        self.total += 1;
        *self.by_address.entry(network(address)).or_default() += 1;
    }

    fn remove(&mut self, address: IpAddr) {
        self.total = self.total.saturating_sub(1);
        let network = network(address);
        if let Some(here) = self.by_address.get_mut(&network) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&network);
            }
        }
    }
}

/// An IPv6 host commonly owns a /64, so that is what counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mask = !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SharedGate(Arc<Mutex<Gate>>);

/// A place taken; given back on drop.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: SharedGate,
    place: Place,
    address: IpAddr,
}

impl SharedGate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Gate::new(limits))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Gate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a handshake, or what to do instead.
    pub(crate) fn knock(&self, address: IpAddr, proven: bool) -> Result<Pass, Verdict> {
        let mut gate = self.lock();
        match gate.judge(address, proven) {
            Verdict::Admit => {
                let place = if proven {
                    Place::Proven
                } else {
                    Place::Unproven
                };
                gate.enter(place, address);
                Ok(self.pass(place, address))
            }
            verdict => Err(verdict),
        }
    }

    pub(crate) fn stay_anonymous(&self, address: IpAddr) -> Option<Pass> {
        let mut gate = self.lock();
        gate.has_room_for_anonymous(address).then(|| {
            gate.enter(Place::Anonymous, address);
            self.pass(Place::Anonymous, address)
        })
    }

    fn pass(&self, place: Place, address: IpAddr) -> Pass {
        Pass {
            gate: self.clone(),
            place,
            address,
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().leave(self.place, self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            validate_above: 2,
            max_pending: 4,
            max_pending_per_address: 3,
            max_anonymous: 2,
            max_anonymous_per_address: 1,
            ..Limits::default()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn forged_sources_use_up_nobodys_places() {
        let gate = SharedGate::new(limits());
        let victim = ip("10.0.0.1");
        let forged = [gate.knock(victim, false), gate.knock(victim, false)];
        assert!(forged.iter().all(Result::is_ok));
        assert_eq!(gate.knock(victim, false).unwrap_err(), Verdict::Validate);
        let proven = gate.knock(victim, true).unwrap();
        assert_eq!(gate.lock().pending(), 3);
        drop((forged, proven));
        assert_eq!(gate.lock().pending(), 0);
        assert!(gate.knock(victim, false).is_ok());
    }

    #[test]
    fn one_address_cannot_take_all_places_and_all_cannot_take_more_than_there_are() {
        let gate = SharedGate::new(limits());
        let (one, two) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let held: Vec<_> = (0..3).map(|_| gate.knock(one, true).unwrap()).collect();
        assert_eq!(gate.knock(one, true).unwrap_err(), Verdict::Refuse);
        let last = gate.knock(two, true).unwrap();
        assert_eq!(
            gate.knock(ip("10.0.0.3"), true).unwrap_err(),
            Verdict::Refuse
        );
        drop((held, last));
        assert!(gate.lock().proven.by_address.is_empty());
    }

    #[test]
    fn a_v6_network_counts_as_one_address_and_mapped_v4_as_itself() {
        let gate = SharedGate::new(limits());
        let _held = gate.stay_anonymous(ip("2001:db8::1")).unwrap();
        assert!(gate.stay_anonymous(ip("2001:db8::ffff")).is_none());
        let _other = gate.stay_anonymous(ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(gate.lock().anonymous(), 2);
        assert_eq!(network(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }
}
