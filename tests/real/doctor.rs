//! What others do to a host's network is found, told, and mended.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde_json::Value;
use testhosts::{Host, Hosts, eventually};

use super::{PATIENCE, cluster, serve};

/// What others break, and what of a host that is.
const DAMAGE: [(&str, &str); 5] = [
    (
        "overlay",
        "device=$(ip -br link show type vxlan | head -1 | cut -d' ' -f1 | cut -d@ -f1) && \
         entry=$(bridge fdb show dev $device | grep -w dst | grep -v 00:00:00:00:00:00 | head -1) && \
         bridge fdb del ${entry%% *} dev $device dst $(echo \"$entry\" | sed 's/.*dst \\([0-9.]*\\).*/\\1/') self",
    ),
    ("rules", "nft flush map ip swarmr backends"),
    ("firewall", "iptables -F DOCKER-USER"),
    ("tunnel", "ip link delete swr-tunnel"),
    ("rules", "nft flush chain ip swarmr forward"),
];

#[test]
fn what_others_change_is_found_and_mended() {
    let hosts = cluster(2).unwrap();
    hosts.explain(mended(&hosts)).unwrap();
}

fn mended(hosts: &Hosts) -> Result<()> {
    serve(hosts, 4)?;
    eventually("everything is as wanted", PATIENCE, || {
        let reports = doctor(&hosts[0], true)?;
        ensure!(parts(&reports, "Remaining").is_empty(), "{reports}");
        Ok(())
    })?;
    hosts.each(|host| {
        for (_, script) in DAMAGE {
            host.sh(script)?.ok()?;
        }
        Ok(())
    })?;
    let before = doctor(&hosts[0], true)?;
    println!("before: {before:#}");
    // What was mended in the meantime has been found too.
    let mut found = parts(&before, "Found");
    found.extend(parts(&before, "Mended"));
    for host in hosts.iter() {
        for (part, _) in DAMAGE {
            let wanted = (host.name().to_owned(), part.to_owned());
            ensure!(found.contains(&wanted), "{wanted:?} is not in {found:?}");
        }
    }

    let screen = hosts[1].swarmr(&["network", "doctor"])?.ok()?;
    println!("{screen}");
    let after = doctor(&hosts[0], true)?;
    ensure!(parts(&after, "Found").is_empty(), "{after:#}");
    for host in hosts.iter() {
        for _ in 0..8 {
            let address = SocketAddr::new(host.address().into(), 8080);
            let reply = hosts.client().get(address, "/", PATIENCE)?;
            ensure!(reply.status == 200, "{}: {}", host.name(), reply.status);
        }
    }
    Ok(())
}

/// What the doctor says; it fails where something is left to do.
fn doctor(host: &Host, dry_run: bool) -> Result<Value> {
    let mut words = vec!["network", "doctor", "--format", "json"];
    if dry_run {
        words.push("--dry-run");
    }
    let output = host.swarmr(&words)?;
    Ok(serde_json::from_str(&output.stdout)?)
}

/// Each host's name with the parts that are listed under `heading`.
fn parts(reports: &Value, heading: &str) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reports = reports.as_array().into_iter().flatten();
    reports
        .flat_map(|report| {
            let listed = report[heading].as_array().into_iter().flatten();
            listed.map(move |drift| (text(&report["Hostname"]), text(&drift["Part"])))
        })
        .collect()
}
