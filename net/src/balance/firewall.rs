//! Living beside the container engine's own packet filter.
//!
//! Engines set the FORWARD policy to DROP and fence their bridges off from each
//! other. What the balancer sends to a container must pass, so each of our
//! bridges gets accepting rules in `DOCKER-USER`, the chain that engines leave to
//! others and call first. Where the chain does not exist there is no such engine
//! and nothing to do.

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;

use crate::command::{self, CommandError};
use crate::overlay::OverlayWant;

const CHAIN: &str = "DOCKER-USER";
/// How our rules are told from others in the chain.
const COMMENT: &str = "swarmr";
const DEADLINE: Duration = Duration::from_secs(10);

/// The engine's chain could not be read or changed.
#[derive(Debug, Error)]
#[error("the container engine's filter chain was not changed")]
pub struct FirewallError(#[from] CommandError);

/// Our rules in the engine's filter.
#[derive(Debug, Default)]
pub struct Firewall {
    /// The rules that were last seen or put there.
    known: Option<Vec<String>>,
}

impl Firewall {
    /// Makes the chain hold the rules for the bridges of `overlay` and no
    /// others of ours.
    pub async fn put(&mut self, overlay: &OverlayWant) -> Result<(), FirewallError> {
        let want = rules(overlay);
        if self.known.as_ref() == Some(&want) {
            return Ok(());
        }
        self.known = None;
        if let Some(listing) = list().await? {
            let have: Vec<String> = listing.lines().filter_map(own_rule).collect();
            if have != want {
                restore(&change(&have, &want)).await?;
            }
        }
        self.known = Some(want);
        Ok(())
    }

    /// What is not in the chain as it should be, in words.
    pub(crate) async fn compare(
        &mut self,
        overlay: &OverlayWant,
    ) -> Result<Vec<String>, FirewallError> {
        self.known = None;
        let want = rules(overlay);
        let mut found = Vec::new();
        if let Some(listing) = list().await? {
            let have: Vec<String> = listing.lines().filter_map(own_rule).collect();
            found = differences(&have, &want);
        }
        self.known = found.is_empty().then_some(want);
        Ok(found)
    }

    /// Whether the chain held what it should when it was last seen.
    pub(crate) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Makes the next `put` look first: engines write their chains anew when
    /// they start.
    pub fn doubt(&mut self) {
        self.known = None;
    }
}

/// The rules for the bridges of `overlay`, in the order they stand in the
/// chain and in the words that iptables lists them in.
fn rules(overlay: &OverlayWant) -> Vec<String> {
    let names = |internal: bool| {
        let networks = overlay.networks.iter();
        networks.filter_map(move |network| {
            (network.internal <= internal).then_some(network.bridge.as_str())
        })
    };
    let within: BTreeSet<&str> = names(true).collect();
    let open: BTreeSet<&str> = names(false).collect();
    let end = format!("-m comment --comment {COMMENT} -j ACCEPT");
    let mut rules = Vec::new();
    for bridge in within {
        // Between containers of one network, here or on another host.
        rules.push(format!("-i {bridge} -o {bridge} {end}"));
    }
    for bridge in open {
        // What was balanced, and the replies to it. Not every packet: a machine
        // beside the host must not reach containers by routing to them.
        rules.push(format!("-o {bridge} -m conntrack --ctstate DNAT {end}"));
        rules.push(format!("-i {bridge} -m conntrack --ctstate DNAT {end}"));
    }
    rules
}

fn differences(have: &[String], want: &[String]) -> Vec<String> {
    let lacking = want.iter().filter(|rule| !have.contains(rule));
    let lacking = lacking.map(|rule| format!("put back into {CHAIN}: {rule}"));
    let strange = have.iter().filter(|rule| !want.contains(rule));
    let strange = strange.map(|rule| format!("take out of {CHAIN}: {rule}"));
    let mut found: Vec<String> = lacking.chain(strange).collect();
    if found.is_empty() && have != want {
        found.push(format!("put the rules of {CHAIN} in order"));
    }
    found
}

fn own_rule(line: &str) -> Option<String> {
    let rule = line.strip_prefix("-A ")?.strip_prefix(CHAIN)?.trim();
    let ours = format!("--comment {COMMENT} ");
    rule.contains(&ours).then(|| rule.to_owned())
}

/// Input for `iptables-restore`: all or nothing.
fn change(have: &[String], want: &[String]) -> String {
    let mut script = String::from("*filter\n");
    for rule in have {
        script.push_str(&format!("-D {CHAIN} {rule}\n"));
    }
    for (position, rule) in want.iter().enumerate() {
        script.push_str(&format!("-I {CHAIN} {} {rule}\n", position + 1));
    }
    script.push_str("COMMIT\n");
    script
}

async fn list() -> Result<Option<String>, FirewallError> {
    match command::run("iptables", &["-w", "5", "-S", CHAIN], "", DEADLINE).await {
        Ok(listing) => Ok(Some(listing)),
        // No such chain, or no iptables: no engine that filters with it.
        Err(CommandError::Failed { .. } | CommandError::Missing { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

async fn restore(script: &str) -> Result<(), FirewallError> {
    command::run(
        "iptables-restore",
        &["-w", "5", "--noflush"],
        script,
        DEADLINE,
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::overlay::NetworkWant;

    fn network(bridge: &str, internal: bool) -> NetworkWant {
        NetworkWant {
            id: bridge.to_owned(),
            bridge: bridge.to_owned(),
            vni: 4097,
            port: 4789,
            local_vtep: Ipv4Addr::LOCALHOST,
            underlay: None,
            mtu: 1450,
            subnet: "10.0.1.0/24".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 0, 1, 1),
            peers: Vec::new(),
            remotes: Vec::new(),
            vips: Vec::new(),
            internal,
        }
    }

    #[test]
    fn an_internal_bridge_is_open_to_itself_only() {
        let want = OverlayWant {
            networks: vec![network("b", false), network("a", true)],
        };
        let end = "-m comment --comment swarmr -j ACCEPT";
        assert_eq!(
            rules(&want),
            [
                format!("-i a -o a {end}"),
                format!("-i b -o b {end}"),
                format!("-o b -m conntrack --ctstate DNAT {end}"),
                format!("-i b -m conntrack --ctstate DNAT {end}"),
            ]
        );
    }

    #[test]
    fn differences_are_told_rule_by_rule() {
        let rules = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let compare = |have: &[&str], want: &[&str]| differences(&rules(have), &rules(want));
        assert!(compare(&["a", "b"], &["a", "b"]).is_empty());
        assert_eq!(
            compare(&["a", "c"], &["a", "b"]),
            ["put back into DOCKER-USER: b", "take out of DOCKER-USER: c"]
        );
        assert_eq!(
            compare(&["b", "a"], &["a", "b"]),
            ["put the rules of DOCKER-USER in order"]
        );
    }

    #[test]
    fn only_our_own_rules_are_touched() {
        let listing = "-N DOCKER-USER\n\
                       -A DOCKER-USER -s 192.0.2.0/24 -j DROP\n\
                       -A DOCKER-USER -i old -o old -m comment --comment swarmr -j ACCEPT\n\
                       -A DOCKER-USER -j RETURN\n";
        let have: Vec<String> = listing.lines().filter_map(own_rule).collect();
        let want = vec!["-i new -o new".to_owned()];
        assert_eq!(
            change(&have, &want),
            "*filter\n\
             -D DOCKER-USER -i old -o old -m comment --comment swarmr -j ACCEPT\n\
             -I DOCKER-USER 1 -i new -o new\n\
             COMMIT\n"
        );
    }
}
