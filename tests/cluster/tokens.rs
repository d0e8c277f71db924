//! Join tokens: who is let in, who is not, and that a refusal leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use testhosts::{Local, LocalNode};

use super::look::{SOON, agreed, daemons, id, local_state, nodes, text};
use super::refusal::{judge_all, refused, request};

/// A token that must not let anybody in.
struct BadToken {
    name: &'static str,
    token: String,
    code: i32,
    status: u16,
    says: &'static [&'static str],
}

#[test]
fn a_bad_token_lets_nobody_in_and_leaves_nothing_behind() {
    // A cluster, another one, and a daemon that wants to join the first.
    let local = daemons(3).unwrap();
    let (manager, other, free) = (&local[0], &local[1], &local[2]);
    manager.init().unwrap();
    other.init().unwrap();
    let token = |node: &LocalNode, words: &[&str]| node.swarmr(words).unwrap().ok().unwrap();
    let rotated = token(manager, &["join-token", "-q", "worker"]);
    let good = token(manager, &["join-token", "-q", "--rotate", "worker"]);
    assert_ne!(rotated, good);
    assert_eq!(token(manager, &["join-token", "-q", "worker"]), good);
    let (digest, secret) = good.rsplit_once('-').unwrap();
    let (_, foreign_secret) = rotated.rsplit_once('-').unwrap();
    let long = format!("{good}0");

    let cut: &[&str] = &["token", "25", "copied whole"];
    let none: &[&str] = &["token", "SWMTKN-1-"];
    let bad = [
        BadToken {
            name: "rotated",
            token: rotated.clone(),
            code: 5,
            status: 403,
            says: &["token", "rotated", "join-token"],
        },
        BadToken {
            name: "of another cluster",
            token: token(other, &["join-token", "-q", "worker"]),
            code: 5,
            status: 403,
            says: &["token", "another cluster", "join-token"],
        },
        BadToken {
            name: "with the right root and a wrong secret",
            token: format!(
                "{digest}-{}",
                foreign_secret.chars().rev().collect::<String>()
            ),
            code: 5,
            status: 403,
            says: &["token", "join-token"],
        },
        BadToken {
            name: "truncated in the secret",
            token: good[..good.len() - 7].to_owned(),
            code: 1,
            status: 400,
            says: cut,
        },
        BadToken {
            name: "truncated before the secret",
            token: digest.to_owned(),
            code: 1,
            status: 400,
            says: cut,
        },
        BadToken {
            name: "too long",
            token: long,
            code: 1,
            status: 400,
            says: cut,
        },
        BadToken {
            name: "a secret only",
            token: secret.to_owned(),
            code: 1,
            status: 400,
            says: none,
        },
        BadToken {
            name: "no token at all",
            token: "let-me-in".to_owned(),
            code: 1,
            status: 400,
            says: none,
        },
    ];
    let (before, disk) = (agreed(manager).unwrap(), files(&free.state_dir()).unwrap());
    judge_all(bad.iter().map(|bad| try_to_join(&local, bad))).unwrap();
    assert_eq!(agreed(manager).unwrap(), before);
    assert_eq!(nodes(manager).unwrap().len(), 1);
    assert_eq!(files(&free.state_dir()).unwrap(), disk);

    // None of it was in the way of joining properly.
    free.join(manager, &good).unwrap();
    assert_eq!(nodes(manager).unwrap().len(), 2);
}

/// By command line and by API.
fn try_to_join(local: &Local, bad: &BadToken) -> Result<()> {
    let (manager, free) = (local[0].address(), &local[2]);
    let own = free.address();
    let says = |error| anyhow::Error::context(error, format!("a token {}", bad.name));
    let output = free.swarmr(&[
        "join",
        "--token",
        &bad.token,
        "--advertise-addr",
        &own,
        "--listen-addr",
        &own,
        &manager,
    ])?;
    refused(&output, bad.code, bad.says).map_err(says)?;
    let body = json!({
        "ListenAddr": own,
        "AdvertiseAddr": own,
        "RemoteAddrs": [manager],
        "JoinToken": bad.token,
    });
    request("POST", "/swarm/join", body, bad.status, bad.says)
        .judge(free)
        .map_err(says)?;
    anyhow::ensure!(
        local_state(free)? == "inactive",
        "it is in a cluster after a token {}",
        bad.name
    );
    Ok(())
}

/// Every file with its content; what a refused command must not change.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let content = fs::read(&path)?;
                found.insert(path, content);
            }
        }
    }
    Ok(found)
}

#[test]
fn rotating_a_token_bothers_neither_members_nor_the_other_token() {
    let local = daemons(3).unwrap();
    let manager = &local[0];
    manager.init().unwrap();
    let token = |role: &str| {
        manager
            .swarmr(&["join-token", "-q", role])
            .unwrap()
            .ok()
            .unwrap()
    };
    let (worker_token, manager_token) = (token("worker"), token("manager"));
    local[1].join(manager, &worker_token).unwrap();
    let said = manager
        .swarmr(&["join-token", "--rotate", "worker"])
        .unwrap()
        .ok()
        .unwrap();
    assert!(
        said.contains("swarmr join --token") && said.contains(&manager.address()),
        "{said}"
    );
    assert!(!said.contains(&worker_token), "{said}");
    assert_eq!(token("manager"), manager_token);

    // The member stays one, over a restart too.
    let worker = id(&local[1]).unwrap();
    local[1].kill().unwrap();
    local[1].start().unwrap();
    testhosts::eventually("the worker is ready", SOON, || {
        let node = super::look::node_seen(manager, &worker)?;
        anyhow::ensure!(text(&node, "/Status/State") == "ready", "{node}");
        Ok(())
    })
    .unwrap();
    local[2].join(manager, &manager_token).unwrap();
    super::look::settled(&[&local[0], &local[2]], 3).unwrap();
}

#[test]
fn a_worker_is_not_shown_the_tokens() {
    let local = super::look::cluster(1, 2).unwrap();
    let answer = local[1]
        .api()
        .send("GET", "/swarm", "application/json", b"")
        .unwrap();
    assert_eq!(answer.status, 503);
    assert!(!answer.text().contains("SWMTKN"), "{}", answer.text());
    let info: Value = local[1].api().get("/info").unwrap();
    assert!(!info.to_string().contains("SWMTKN"));
}
