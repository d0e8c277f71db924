//! Whom a connection is given to: weights, clients that come back, services
//! that call themselves, elements that somebody else changed.

use std::collections::BTreeMap;
use std::slice::from_ref;

use net::balance::Protocol;

use crate::containers::{Server, call, hear};
use crate::lab::{Lab, can_build, exec, ip};
use crate::wants::{Overlay, published, vip, want};

const CALLS: usize = 1000;

/// Two hosts; containers at .11 and .12 on the first, .21 on the second.
fn site() -> (Lab, Overlay, Vec<String>) {
    let overlay = Overlay::new(1, &[(11, 0), (12, 0), (21, 1)]);
    let mut lab = Lab::new(2);
    let bridge = overlay.bridge();
    lab.add_bridge(0, &bridge, overlay.ip(1));
    lab.add_bridge(1, &bridge, overlay.ip(2));
    let containers = overlay.containers.clone();
    let containers = containers
        .iter()
        .map(|(last, host)| lab.add_container(*host, &[(&bridge, overlay.ip(*last))]))
        .collect();
    (lab, overlay, containers)
}

fn serve(containers: &[String]) -> Vec<Server> {
    let named = containers.iter().zip(["a", "b", "c"]);
    named
        .map(|(space, name)| Server::start(space, 8080, name))
        .collect()
}

/// How often each server answered.
fn answers(heard: impl Iterator<Item = String>) -> BTreeMap<char, usize> {
    let mut answers = BTreeMap::new();
    for said in heard {
        let name = said.chars().next().unwrap_or('?');
        *answers.entry(name).or_default() += 1;
    }
    answers
}

#[test]
fn a_service_that_calls_itself_never_fails() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, containers) = site();
    let _servers = serve(&containers);
    for backends in [&[11][..], &[11, 12, 21]] {
        for host in 0..2 {
            let mut want = want(from_ref(&overlay), host, 2);
            want.balance.vips = vec![vip(&overlay, 100, backends)];
            lab.hosts[host].apply(want);
        }
        let heard = (0..CALLS).map(|_| hear(&containers[0], overlay.ip(100), 8080));
        let answers = answers(heard);
        assert_eq!(answers.len(), backends.len(), "{answers:?}");
        assert_eq!(answers.values().sum::<usize>(), CALLS);
    }
}

#[test]
fn who_stands_there_three_times_gets_three_times_as_many() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, containers) = site();
    let _servers = serve(&containers);
    let mut want = want(from_ref(&overlay), 0, 2);
    want.balance.vips = vec![vip(&overlay, 100, &[11, 11, 12, 11])];
    lab.hosts[0].apply(want);
    let heard = (0..CALLS).map(|_| hear(&lab.hosts[0].space, overlay.ip(100), 8080));
    let answers = answers(heard);
    // Eight standard deviations from 750 to either side.
    assert!((640..860).contains(&answers[&'a']), "{answers:?}");
}

#[test]
fn a_sticky_client_comes_to_one_backend_by_whichever_host() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, containers) = site();
    let _servers = serve(&containers);
    let backends = [11, 12, 21].map(|last| overlay.ip(last));
    for host in 0..2 {
        let mut port = published(Protocol::Tcp, 80, &backends);
        port.sticky = true;
        let mut want = want(from_ref(&overlay), host, 2);
        want.balance.published = vec![port];
        lab.hosts[host].apply(want);
    }
    let outside = lab.outside();
    // Other clients come to other backends: of 40 not all to one.
    let mut all = BTreeMap::new();
    for last in 101..141 {
        ip(&outside, "addr flush dev eth0");
        ip(&outside, &format!("addr add 192.168.77.{last}/24 dev eth0"));
        let hosts = [lab.hosts[0].address, lab.hosts[1].address];
        let calls = hosts.iter().cycle().take(6);
        let answers = answers(calls.map(|host| hear(&outside, *host, 80)));
        assert_eq!(answers.len(), 1, "client {last}: {answers:?}");
        all.extend(answers);
    }
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn an_element_that_somebody_changed_is_put_back() {
    if !can_build() {
        return;
    }
    let (mut lab, overlay, containers) = site();
    let _servers = serve(&containers);
    let want = |backends: &[u8]| {
        let mut want = want(from_ref(&overlay), 0, 2);
        want.balance.vips = vec![vip(&overlay, 100, backends)];
        want
    };
    lab.hosts[0].apply(want(&[11]));
    lab.hosts[0].reconcile();
    // Of the same number and shape, so that it shows in nothing else.
    let space = lab.hosts[0].space.clone();
    let elsewhere = "delete element ip swarmr backends { 10.0.1.100 . 0 } ; \
                     add element ip swarmr backends { 10.0.1.100 . 0 : 10.0.1.77 }";
    exec(&space, "nft", elsewhere);
    assert!(call(&space, overlay.ip(100), 8080).is_err());
    lab.hosts[0].reconcile();
    assert_eq!(hear(&space, overlay.ip(100), 8080), "a 10.0.1.1");
    // And what is changed then is told by elements again.
    lab.hosts[0].apply(want(&[12]));
    assert_eq!(hear(&space, overlay.ip(100), 8080), "b 10.0.1.1");
    exec(
        &space,
        "nft",
        "delete element ip swarmr backends { 10.0.1.100 . 0 }",
    );
    lab.hosts[0].apply(want(&[11]));
    assert_eq!(hear(&space, overlay.ip(100), 8080), "a 10.0.1.1");
}
