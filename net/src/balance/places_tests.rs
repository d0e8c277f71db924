//! Tests of what changes in the kernel with a service, against a kernel of
//! sets and maps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::element::Set;
use super::*;
use crate::overlay::Subnet;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, last)
}

fn subnets() -> Subnets {
    let subnet: Subnet = "10.0.1.0/24".parse().unwrap();
    Subnets::from_iter([(subnet, false), ("10.0.2.0/24".parse().unwrap(), true)])
}

fn vip(last: u8, backends: &[u8], sticky: bool) -> VipWant {
    VipWant {
        name: format!("web-{last}"),
        address: ip(last),
        backends: backends.iter().map(|it| ip(*it)).collect(),
        sticky,
    }
}

fn port(number: u16, backends: Vec<Ipv4Addr>) -> PublishedWant {
    PublishedWant {
        name: "web".to_owned(),
        protocol: Protocol::Tcp,
        port: number,
        target_port: 8080,
        backends,
        sticky: false,
    }
}

fn balance(vips: Vec<VipWant>, published: Vec<PublishedWant>) -> BalanceWant {
    BalanceWant {
        vips,
        published,
        ..BalanceWant::default()
    }
}

/// The kernel's part: one value for each key of each set.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kernel(BTreeMap<(Set, String), Element>);

impl Kernel {
    fn take(&mut self, edits: &[Edit]) {
        for edit in edits {
            let key = (edit.element().set(), edit.element().key());
            match edit {
                Edit::Delete(element) => {
                    assert_eq!(self.0.remove(&key).as_ref(), Some(element), "{key:?}");
                }
                Edit::Add(element) => {
                    let before = self.0.insert(key.clone(), element.clone());
                    assert_eq!(before, None, "{key:?}");
                }
            }
        }
    }

    /// Where the rules that look at `at` for the class, and at `then` for the
    /// place, may lead a call of the service.
    fn leads(
        at: &Self,
        then: &Self,
        service: Ipv4Addr,
        classes: &BTreeSet<Class>,
    ) -> Vec<Option<Ipv4Addr>> {
        let asked = classes.iter().find(|class| {
            at.0.contains_key(&(Set::Services(**class), service.to_string()))
        });
        let places = asked.map_or(0, |class| class.places);
        let lead = |place| {
            let key = (Set::Backends, format!("{service} . {place}"));
            match then.0.get(&key) {
                Some(Element::Backend { address, .. }) => Some(*address),
                _ => None,
            }
        };
        (0..places).map(lead).collect()
    }
}

#[test]
fn a_change_of_one_service_names_no_other() {
    let mut places = Places::default();
    let mut vips = vec![
        vip(100, &[11, 12, 13], false),
        vip(101, &[14], false),
        vip(102, &[15], false),
    ];
    places.follow(subnets(), Vec::new(), &balance(vips.clone(), Vec::new()));
    vips[0].backends.remove(0);
    let change = places.follow(subnets(), Vec::new(), &balance(vips, Vec::new()));
    let class = |places| Class {
        sticky: false,
        places,
    };
    let lead = |place, last| Element::Backend {
        service: ip(100),
        place,
        address: ip(last),
    };
    let service = |places| Element::Service {
        class: class(places),
        address: ip(100),
        comment: "web-100".to_owned(),
    };
    assert_eq!(
        change.edits,
        [
            Edit::Delete(Element::OwnCall(ip(11))),
            Edit::Delete(lead(0, 11)),
            Edit::Add(service(2)),
            // The third place and the larger class stay, for whoever is drawing
            // one of three at this moment.
            Edit::Add(lead(0, 13)),
        ]
    );
    assert!(change.left);
}

#[test]
fn what_cannot_be_reached_is_left_out() {
    let mut places = Places::default();
    let far = Ipv4Addr::new(198, 51, 100, 1);
    let internal = Ipv4Addr::new(10, 0, 2, 11);
    let mut lost = vip(100, &[], false);
    lost.backends = vec![far, internal];
    let want = balance(vec![lost], vec![port(80, vec![far, internal])]);
    places.follow(subnets(), Vec::new(), &want);
    assert_eq!(
        places.elements(),
        [
            Element::Held(Protocol::Tcp, 80),
            Element::VipAddress(ip(100))
        ]
    );
}

#[test]
fn a_backend_of_two_places_gets_twice_as_many() {
    let mut places = Places::default();
    let want = balance(vec![vip(100, &[11, 12, 11], false)], Vec::new());
    places.follow(subnets(), Vec::new(), &want);
    let elements = places.elements();
    let leads = |to: u8| {
        let mut leads = elements.iter();
        let lead =
            |it: &&Element| matches!(it, Element::Backend { address, .. } if *address == ip(to));
        leads.by_ref().filter(lead).count()
    };
    assert_eq!((leads(11), leads(12)), (2, 1));
}

#[test]
fn a_name_cannot_break_out_of_its_comment() {
    assert_eq!(comment("a\"; flush ruleset \n#"), "aflushruleset");
}

fn some_balance() -> impl Strategy<Value = BalanceWant> {
    let backends = || prop::collection::vec(10_u8..20, 0..5);
    let vips = prop::collection::btree_map(100_u8..106, (backends(), any::<bool>()), 0..5);
    let ports = prop::collection::btree_map(80_u16..86, backends(), 0..5);
    (vips, ports).prop_map(|(vips, ports)| {
        let vips = vips
            .iter()
            .map(|(last, (it, sticky))| vip(*last, it, *sticky));
        let ports = ports
            .iter()
            .map(|(number, it)| port(*number, it.iter().map(|last| ip(*last)).collect()));
        balance(vips.collect(), ports.collect())
    })
}

proptest! {
    #[test]
    fn the_kernel_follows_and_no_call_is_lost_between(
        wants in prop::collection::vec((some_balance(), any::<bool>()), 1..8),
    ) {
        let mut places = Places::default();
        let mut kernel = Kernel::default();
        let mut before = BalanceWant::default();
        for (want, shown) in &wants {
            let old = kernel.clone();
            let subnets = match shown {
                true => subnets(),
                false => Subnets::from_iter(["10.0.1.0/24".parse().map(|it| (it, false)).unwrap()]),
            };
            let shown = shown.then(|| ip(105));
            let change = places.follow(subnets, shown.into_iter().collect(), want);
            kernel.take(&change.edits);
            let expected: BTreeSet<Element> = places.elements().into_iter().collect();
            let have: BTreeSet<Element> = kernel.0.values().cloned().collect();
            prop_assert_eq!(&have, &expected);
            for vip in &want.vips {
                let (classes, _) = places.classes();
                let set: BTreeSet<Ipv4Addr> = vip.backends.iter().copied().collect();
                let leads = Kernel::leads(&kernel, &kernel, vip.address, classes);
                let now: BTreeSet<_> = leads.iter().copied().flatten().collect();
                prop_assert_eq!(&now, &set);
                prop_assert!(leads.len() == vip.backends.len());
                // At the moment of the change: the class of before, the places of now.
                let served = before.vips.iter().any(|it: &VipWant| {
                    it.address == vip.address && !it.backends.is_empty()
                });
                if served && !vip.backends.is_empty() {
                    let leads = Kernel::leads(&old, &kernel, vip.address, classes);
                    prop_assert!(!leads.is_empty() && leads.iter().all(Option::is_some));
                }
            }
            before = want.clone();
        }
    }

    #[test]
    fn a_rule_that_was_passed_is_followed_by_one_that_knows_the_service(
        first in some_balance(), second in some_balance(), passed in 0_usize..12,
    ) {
        let mut places = Places::default();
        let mut old = Kernel::default();
        old.take(&places.follow(subnets(), Vec::new(), &first).edits);
        let mut new = old.clone();
        new.take(&places.follow(subnets(), Vec::new(), &second).edits);
        let (classes, _) = places.classes();
        for vip in second.vips.iter().filter(|it| !it.backends.is_empty()) {
            let served = first.vips.iter().any(|it| it.address == vip.address && !it.backends.is_empty());
            // The first rules were asked before the change, the others after.
            let knows = classes.iter().enumerate().find(|(position, class)| {
                let kernel = if *position < passed { &old } else { &new };
                kernel.0.contains_key(&(Set::Services(**class), vip.address.to_string()))
            });
            prop_assert!(!served || knows.is_some());
        }
    }
}
