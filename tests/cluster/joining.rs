//! What stands in the way of `init` and `join`, apart from tokens: each time the daemon stays in no
//! cluster, and can be told better afterwards.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use testhosts::{LocalNode, Output};

use super::look::{
    BOUNDED, agreed, create_config_soon, daemons, id, local_state, nodes, settled, text,
};
use super::random::Random;
use super::refusal::{judge_all, refused, request};

/// `join` with all addresses given.
fn join(
    node: &LocalNode,
    token: &str,
    advertise: &str,
    listen: &str,
    remote: &str,
) -> Result<Output> {
    node.swarmr(&[
        "join",
        "--token",
        token,
        "--advertise-addr",
        advertise,
        "--listen-addr",
        listen,
        remote,
    ])
}

#[test]
fn a_member_can_neither_join_nor_init_again() {
    let local = super::look::cluster(1, 2).unwrap();
    let (manager, worker) = (&local[0], &local[1]);
    let token = manager
        .swarmr(&["join-token", "-q", "manager"])
        .unwrap()
        .ok()
        .unwrap();
    let (before, worker_id) = (agreed(manager).unwrap(), id(worker).unwrap());
    let says = ["already part of a swarm", "leave"];
    for node in [manager, worker] {
        let own = node.address();
        refused(
            &join(node, &token, &own, &own, &manager.address()).unwrap(),
            4,
            &says,
        )
        .unwrap();
        let init = node
            .swarmr(&["init", "--advertise-addr", &own, "--listen-addr", &own])
            .unwrap();
        refused(&init, 4, &says).unwrap();
        let body = json!({"ListenAddr": own, "AdvertiseAddr": own, "RemoteAddrs": [manager.address()],
            "JoinToken": token});
        request("POST", "/swarm/join", body, 503, &says)
            .judge(node)
            .unwrap();
        let body = json!({"ListenAddr": own, "AdvertiseAddr": own, "Spec": {}});
        request("POST", "/swarm/init", body, 503, &says)
            .judge(node)
            .unwrap();
    }
    assert_eq!(agreed(manager).unwrap(), before);
    assert_eq!(id(worker).unwrap(), worker_id);
}

#[test]
fn an_address_that_leads_to_no_manager_is_named() {
    let local = daemons(3).unwrap();
    let (manager, free, other) = (&local[0], &local[1], &local[2]);
    manager.init().unwrap();
    let token = manager
        .swarmr(&["join-token", "-q", "worker"])
        .unwrap()
        .ok()
        .unwrap();
    let own = free.address();
    let try_remote = |remote: &str, code, says: &[&str]| {
        refused(&join(free, &token, &own, &own, remote).unwrap(), code, says).unwrap();
        assert_eq!(local_state(free).unwrap(), "inactive");
    };
    // Nobody listens there: the address of a daemon that is in no cluster.
    let nobody = other.address();
    try_remote(&nobody, 6, &[&nobody, "UDP", "manager"]);
    // Its own address, in whichever way it is written.
    try_remote(&own, 1, &[&own, "own"]);
    let port = own.rsplit_once(':').unwrap().1;
    try_remote(&format!("localhost:{port}"), 1, &["own"]);
    // No address at all.
    try_remote("127.0.0.1:port", 1, &["port"]);
    try_remote("127.0.0.1:0", 1, &["port"]);
    try_remote("no-such-host.invalid:2377", 6, &["no-such-host.invalid"]);

    let request_to = |remote: &str, status, says: &[&str]| {
        let body = json!({"ListenAddr": own, "AdvertiseAddr": own, "RemoteAddrs": [remote], "JoinToken": token});
        request("POST", "/swarm/join", body, status, says)
            .judge(free)
            .unwrap();
        assert_eq!(local_state(free).unwrap(), "inactive");
    };
    request_to(&nobody, 503, &[&nobody, "UDP"]);
    request_to(&own, 400, &[&own, "own"]);
    request_to("", 400, &["RemoteAddr"]);
    free.join(manager, &token).unwrap();
    assert_eq!(nodes(manager).unwrap().len(), 2);
}

#[test]
fn a_worker_is_no_manager_to_join_through() {
    let local = daemons(3).unwrap();
    let manager = &local[0];
    manager.init().unwrap();
    let token = manager
        .swarmr(&["join-token", "-q", "worker"])
        .unwrap()
        .ok()
        .unwrap();
    local[1].join(manager, &token).unwrap();
    let own = local[2].address();
    let output = join(&local[2], &token, &own, &own, &local[1].address()).unwrap();
    refused(&output, 6, &[&local[1].address(), "manager"]).unwrap();
    assert_eq!(local_state(&local[2]).unwrap(), "inactive");
}

#[test]
fn a_port_that_somebody_else_holds_is_named() {
    let local = daemons(2).unwrap();
    let (manager, free) = (&local[0], &local[1]);
    manager.init().unwrap();
    let token = manager
        .swarmr(&["join-token", "-q", "worker"])
        .unwrap()
        .ok()
        .unwrap();
    let own = free.address();
    let holder = UdpSocket::bind(&own).unwrap();
    let says: [&str; 4] = [&own, "UDP", "in use", "--listen-addr"];
    refused(
        &join(free, &token, &own, &own, &manager.address()).unwrap(),
        1,
        &says,
    )
    .unwrap();
    let init = free
        .swarmr(&["init", "--advertise-addr", &own, "--listen-addr", &own])
        .unwrap();
    refused(&init, 1, &says).unwrap();
    assert_eq!(local_state(free).unwrap(), "inactive");
    drop(holder);
    free.join(manager, &token).unwrap();
}

#[test]
fn an_advertised_address_that_the_manager_cannot_reach_is_not_let_in() {
    let local = daemons(2).unwrap();
    let (manager, free) = (&local[0], &local[1]);
    manager.init().unwrap();
    let token = manager
        .swarmr(&["join-token", "-q", "worker"])
        .unwrap()
        .ok()
        .unwrap();
    let own = free.address();
    // Where nobody answers: a port that is held, and silent.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wrong = silent.local_addr().unwrap().to_string();
    let output = join(free, &token, &wrong, &own, &manager.address()).unwrap();
    refused(&output, 6, &[&wrong, "UDP", "--advertise-addr"]).unwrap();
    assert_eq!(local_state(free).unwrap(), "inactive");
    assert_eq!(nodes(manager).unwrap().len(), 1);
    free.join(manager, &token).unwrap();
}

#[test]
fn addresses_that_are_none_are_refused_with_what_this_machine_has() {
    let local = daemons(1).unwrap();
    let free = &local[0];
    let own = free.address();
    // What the command line can judge is wrong usage; what the daemon refused is an error.
    let (usage, error) = (2, 1);
    let table: &[(&str, &str, i32, &[&str])] = &[
        (
            "--advertise-addr",
            "wlan77",
            error,
            &["--advertise-addr", "wlan77", "127.0.0.1"],
        ),
        (
            "--advertise-addr",
            "0.0.0.0",
            error,
            &["--advertise-addr", "0.0.0.0"],
        ),
        (
            "--advertise-addr",
            "127.0.0.1:port",
            error,
            &["--advertise-addr", "port"],
        ),
        (
            "--listen-addr",
            "wlan77:2377",
            error,
            &["--listen-addr", "wlan77"],
        ),
        (
            "--data-path-addr",
            "wlan77",
            error,
            &["--data-path-addr", "wlan77"],
        ),
        ("--data-path-port", "80", usage, &["80", "1024", "49151"]),
        (
            "--default-addr-pool",
            "10.0.0.0/40",
            usage,
            &["--default-addr-pool", "10.0.0.0/40"],
        ),
        (
            "--default-addr-pool-mask-length",
            "31",
            error,
            &["31", "29"],
        ),
        (
            "--availability",
            "sleepy",
            usage,
            &["sleepy", "active", "pause", "drain"],
        ),
    ];
    judge_all(table.iter().map(|(flag, value, code, says)| {
        let mut words = vec!["init", flag, value];
        for other in ["--advertise-addr", "--listen-addr"] {
            if other != *flag {
                words.extend([other, &own]);
            }
        }
        refused(&free.swarmr(&words)?, *code, says)?;
        anyhow::ensure!(
            local_state(free)? == "inactive",
            "a cluster was made with {flag} {value}"
        );
        Ok(())
    }))
    .unwrap();
    free.init().unwrap();
}

#[test]
fn a_daemon_killed_while_it_makes_or_joins_a_cluster_is_in_it_or_not() {
    let (mut random, seed) = Random::seeded().unwrap();
    println!("SWARMR_TEST_SEED={seed}");
    let local = daemons(4).unwrap();
    let (manager, founder) = (&local[0], &local[3]);
    manager.init().unwrap();
    local[2]
        .join(manager, &token_of(manager, "manager"))
        .unwrap();
    settled(&[manager, &local[2]], 2).unwrap();
    let token = token_of(manager, "manager");
    let addresses = |node: &LocalNode| {
        let own = node.address();
        json!({"ListenAddr": own, "AdvertiseAddr": own, "RemoteAddrs": [manager.address()],
            "JoinToken": token, "Spec": {}})
    };
    // By requests: the commands would start a daemon of their own where they find none.
    let ask = |node: &LocalNode, path: &str| {
        let answer = node.api().within(BOUNDED).post(path, &addresses(node));
        answer.is_ok()
    };
    let (mut inside, mut outside) = (0, 0);
    for _ in 0..8 {
        thread::scope(|scope| {
            scope.spawn(|| ask(&local[1], "/swarm/join"));
            scope.spawn(|| ask(founder, "/swarm/init"));
            thread::sleep(Duration::from_millis(random.next() % 600));
            for node in [&local[1], founder] {
                node.kill().unwrap();
            }
        });
        for node in [&local[1], founder] {
            node.start().unwrap();
            match local_state(node).unwrap().as_str() {
                "active" => inside += 1,
                "inactive" => outside += 1,
                other => panic!("{} is {other}", node.name()),
            }
        }
        // Whatever came of it, the managers go on.
        create_config_soon(manager, &format!("after-{inside}-{outside}")).unwrap();
        for node in [&local[1], founder] {
            if local_state(node).unwrap() == "active" {
                node.swarmr(&["leave", "--force"]).unwrap().ok().unwrap();
            }
        }
    }
    println!("{inside} were inside, {outside} outside");
    founder.init().unwrap();
    local[1].join(manager, &token).unwrap();
    let joined = id(&local[1]).unwrap();
    // Those that were never heard of again can be removed.
    for node in nodes(manager).unwrap() {
        let node_id = text(&node, "/ID");
        let known = [manager, &local[2], &local[1]].map(|node| id(node).unwrap());
        if !known.contains(&node_id) {
            let remove = ["node", "rm", "--force", &node_id];
            manager.swarmr(&remove).unwrap().ok().unwrap();
        }
    }
    settled(&[manager, &local[2], &local[1]], 3).unwrap();
    assert_eq!(id(&local[1]).unwrap(), joined);
}

fn token_of(node: &LocalNode, role: &str) -> String {
    let words = ["join-token", "-q", role];
    node.swarmr(&words).unwrap().ok().unwrap()
}

#[test]
fn two_joins_at_once_make_one_member() {
    let local = daemons(2).unwrap();
    let (manager, free) = (&local[0], &local[1]);
    manager.init().unwrap();
    let token = manager
        .swarmr(&["join-token", "-q", "worker"])
        .unwrap()
        .ok()
        .unwrap();
    let own = free.address();
    let outputs: Vec<Output> = thread::scope(|scope| {
        let attempt = || join(free, &token, &own, &own, &manager.address()).unwrap();
        let running = [scope.spawn(attempt), scope.spawn(attempt)];
        running.map(|thread| thread.join().unwrap()).into()
    });
    let codes: Vec<Option<i32>> = outputs.iter().map(|output| output.code).collect();
    assert!(
        codes.contains(&Some(0)) && codes.contains(&Some(4)),
        "{outputs:?}"
    );
    assert_eq!(nodes(manager).unwrap().len(), 2);
}
