//! What the facts about a machine mean. Pure.

use std::fmt;

use serde::Serialize;

use super::Expected;
use super::facts::{Engine, EngineInfo, Facts, Module, Port, Route};
use crate::spec::network::Subnet;

/// The oldest engine that is known to work.
const OLDEST_ENGINE: (u32, u32) = (20, 10);
const MIN_MEMORY_BYTES: u64 = 512 << 20;
/// 2025-01-01: a clock before that was never set.
const EARLIEST_SECS: i64 = 1_735_689_600;
/// Bridges of ours, left by a daemon that ran before.
const OWN_DEVICE_PREFIX: &str = "swr";

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Good,
    /// Works, but should be known.
    Warning,
    Failed,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at.
    pub(super) check: String,
    pub(super) got: String,
    /// What would be right; empty when it is.
    pub(super) allowed: String,
    /// What to do; empty when there is nothing to do.
    pub(super) next: String,
}

impl Finding {
    fn good(check: &str, got: impl Into<String>) -> Self {
        Self {
            level: Level::Good,
            check: check.to_owned(),
            got: got.into(),
            allowed: String::new(),
            next: String::new(),
        }
    }

    fn failed(check: &str, got: impl Into<String>, allowed: &str, next: &str) -> Self {
        Self {
            level: Level::Failed,
            allowed: allowed.to_owned(),
            next: next.to_owned(),
            ..Self::good(check, got)
        }
    }

    fn warning(check: &str, got: impl Into<String>, allowed: &str, next: &str) -> Self {
        Self {
            level: Level::Warning,
            ..Self::failed(check, got, allowed, next)
        }
    }

    /// `check: got; want allowed; next`.
    pub(super) fn sentence(&self) -> String {
        let mut text = format!("{}: {}", self.check, self.got);
        if !self.allowed.is_empty() {
            text.push_str("; want ");
            text.push_str(&self.allowed);
        }
        if !self.next.is_empty() {
            text.push_str("; ");
            text.push_str(&self.next);
        }
        text
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Good => "ok     ",
            Level::Warning => "warning",
            Level::Failed => "FAILED ",
        };
        write!(f, "{level} {}", self.sentence())
    }
}

/// All findings, in the order in which one would mend them.
pub(super) fn judge(facts: &Facts, expected: &Expected, alongside_swarm: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.engine == Engine::NotWanted {
        findings.push(Finding::good("engine", "fake: no container will run"));
    } else {
        findings.push(root(facts.is_root));
        findings.extend(engine(facts, alongside_swarm));
        findings.extend(
            facts
                .modules
                .iter()
                .map(|(name, state)| module(name, *state)),
        );
        findings.push(nft(facts.nft.as_deref()));
        findings.extend(facts.ip_forward.map(ip_forward));
        findings.push(cgroups(facts.has_cgroups));
        findings.extend(pools(&facts.routes, &expected.address_pools));
    }
    findings.extend(facts.ports.iter().map(port));
    findings.push(clock(facts.clock_secs));
    findings.extend(facts.memory_bytes.map(memory));
    findings
}

/// Address pools against the routes of this machine. The default pool is so large that an overlap
/// is usual; subnets in use are then avoided one by one, so it is only told.
pub(super) fn pools(routes: &[Route], pools: &[Subnet]) -> Vec<Finding> {
    let chosen = !pools.is_empty();
    let default = Subnet::new(std::net::Ipv4Addr::new(10, 0, 0, 0), 8);
    let pools: Vec<Subnet> = if chosen {
        pools.to_vec()
    } else {
        default.into_iter().collect()
    };
    let mut findings = Vec::new();
    for pool in pools {
        let overlapping = routes
            .iter()
            .filter(|route| !route.device.starts_with(OWN_DEVICE_PREFIX))
            .find(|route| route.subnet.overlaps(&pool));
        findings.push(match overlapping {
            None => Finding::good("address pool", format!("{pool} overlaps no route")),
            Some(route) => {
                let got = format!(
                    "{pool} overlaps the route to {} on {}",
                    route.subnet, route.device
                );
                let allowed = "a pool that nothing on this machine is routed to";
                let next = "choose another with --default-addr-pool";
                if chosen {
                    Finding::failed("address pool", got, allowed, next)
                } else {
                    Finding::warning("address pool", got, allowed, next)
                }
            }
        });
    }
    findings
}

fn root(is_root: bool) -> Finding {
    if is_root {
        return Finding::good("user", "root");
    }
    Finding::failed(
        "user",
        "not root",
        "root, for the daemon makes network devices and rules",
        "use sudo",
    )
}

fn engine(facts: &Facts, alongside_swarm: bool) -> Vec<Finding> {
    if facts.engine_is_swarmr {
        return vec![Finding::failed(
            "engine",
            "--engine names swarmr's own socket",
            "the socket of a Docker engine",
            "leave --engine out, or name Docker's socket",
        )];
    }
    match &facts.engine {
        Engine::NotWanted => Vec::new(),
        Engine::Absent { socket } => vec![Finding::failed(
            "engine",
            format!("nothing listens on {}", socket.display()),
            "a Docker engine, 20.10 or newer",
            "install one (Debian: apt-get install docker.io), start it, or say where it \
             listens with --engine",
        )],
        Engine::NoPermission { socket } => vec![Finding::failed(
            "engine",
            format!("no permission to use {}", socket.display()),
            "a user who may",
            "use sudo",
        )],
        Engine::Silent { socket, error } => vec![Finding::failed(
            "engine",
            format!("{} does not answer: {error}", socket.display()),
            "a Docker engine that answers GET /info",
            "look at its log: journalctl -u docker",
        )],
        Engine::Answers(info) => engine_info(info, alongside_swarm),
    }
}

fn engine_info(info: &EngineInfo, alongside_swarm: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let version = &info.server_version;
    findings.push(match major_minor(version) {
        Some(number) if number >= OLDEST_ENGINE => Finding::good("engine", version),
        Some(_) => Finding::failed(
            "engine version",
            version,
            "20.10 or newer",
            "install a newer engine",
        ),
        None => Finding::warning("engine version", version, "a version like 20.10.24", ""),
    });
    if info.docker_root_dir.starts_with("/var/snap/") {
        findings.push(Finding::failed(
            "engine",
            format!("is a snap ({})", info.docker_root_dir),
            "an engine from Debian's, Ubuntu's or Docker's packages: a snap cannot mount from \
             the whole file system",
            "replace it: snap remove docker, then apt-get install docker.io",
        ));
    }
    let rootless = info
        .security_options
        .iter()
        .flatten()
        .any(|option| option.contains("rootless"));
    if rootless {
        findings.push(Finding::failed(
            "engine",
            "is rootless",
            "an engine that runs as root: overlay networks need the host's network",
            "start Docker's system service and name its socket with --engine",
        ));
    }
    let swarm = info.swarm.local_node_state.as_str();
    if !matches!(swarm, "" | "inactive") {
        let got = format!("is in Docker's own swarm mode ({swarm})");
        let allowed = "an engine outside of a swarm";
        findings.push(if alongside_swarm {
            Finding::warning(
                "engine",
                got,
                allowed,
                "the two share ports 4789 and the published ones",
            )
        } else {
            Finding::failed(
                "engine",
                got,
                allowed,
                "leave it with \"docker swarm leave\", or go on beside it with --alongside-swarm",
            )
        });
    }
    if !info.live_restore_enabled {
        findings.push(Finding::warning(
            "engine setting live-restore",
            "off",
            "on, so that containers outlive an engine that crashes or restarts",
            "put \"live-restore\": true into /etc/docker/daemon.json",
        ));
    }
    findings
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|next: char| !next.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn module(name: &str, state: Module) -> Finding {
    let check = format!("kernel module {name}");
    match state {
        Module::Loaded => Finding::good(&check, "there"),
        Module::Loadable => Finding::good(&check, "loaded when it is needed"),
        Module::Unknown => Finding::good(&check, "cannot be told before it is used"),
        Module::Missing => Finding::failed(
            &check,
            "not there",
            "a kernel that has it",
            "install the kernel's full set of modules (Ubuntu: linux-modules-extra)",
        ),
    }
}

fn nft(version: Option<&str>) -> Finding {
    match version {
        Some(version) => Finding::good("nft", version),
        None => Finding::failed(
            "nft",
            "not installed",
            "the nft program",
            "apt-get install nftables",
        ),
    }
}

fn ip_forward(on: bool) -> Finding {
    if on {
        return Finding::good("sysctl net.ipv4.ip_forward", "1");
    }
    Finding::warning(
        "sysctl net.ipv4.ip_forward",
        "0",
        "1",
        "the daemon will set it; a firewall that resets it cuts published ports off",
    )
}

fn cgroups(there: bool) -> Finding {
    if there {
        return Finding::good("cgroups", "mounted");
    }
    Finding::failed(
        "cgroups",
        "/sys/fs/cgroup is empty",
        "mounted cgroups",
        "mount -t cgroup2 none /sys/fs/cgroup",
    )
}

fn port(port: &Port) -> Finding {
    let check = format!("UDP port {} ({})", port.number, port.purpose);
    match &port.refused {
        None => Finding::good(&check, "free"),
        Some(error) => Finding::failed(
            &check,
            error,
            "a free port",
            "\"ss -lunp\" shows who holds it; choose another with --listen-addr or \
             --data-path-port",
        ),
    }
}

fn clock(seconds: i64) -> Finding {
    if seconds >= EARLIEST_SECS {
        return Finding::good("clock", "set");
    }
    Finding::failed(
        "clock",
        "was never set",
        "the right time, for certificates are checked against it",
        "install chrony or systemd-timesyncd",
    )
}

fn memory(bytes: u64) -> Finding {
    let got = format!("{} MiB", bytes >> 20);
    if bytes >= MIN_MEMORY_BYTES {
        return Finding::good("memory", got);
    }
    Finding::warning("memory", got, "512 MiB or more", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> Facts {
        Facts {
            is_root: true,
            modules: vec![
                ("vxlan", Module::Loaded),
                ("br_netfilter", Module::Loadable),
            ],
            ip_forward: Some(true),
            nft: Some("nftables v1.0.6".to_owned()),
            engine: Engine::Answers(EngineInfo {
                server_version: "20.10.24+dfsg1".to_owned(),
                docker_root_dir: "/var/lib/docker".to_owned(),
                live_restore_enabled: true,
                ..EngineInfo::default()
            }),
            ports: vec![Port {
                number: 2377,
                purpose: "all control traffic",
                refused: None,
            }],
            routes: vec![Route {
                subnet: "192.0.2.0/24".parse().unwrap(),
                device: "eth0".to_owned(),
            }],
            clock_secs: EARLIEST_SECS + 1,
            memory_bytes: Some(8 << 30),
            has_cgroups: true,
            engine_is_swarmr: false,
        }
    }

    fn failures(facts: &Facts, expected: &Expected, alongside: bool) -> Vec<String> {
        judge(facts, expected, alongside)
            .into_iter()
            .filter(|finding| finding.level == Level::Failed)
            .map(|finding| finding.sentence())
            .collect()
    }

    #[test]
    fn a_fit_machine_has_no_failures_and_no_warnings() {
        let findings = judge(&fit(), &Expected::default(), false);
        assert!(
            findings.iter().all(|finding| finding.level == Level::Good),
            "{findings:#?}"
        );
    }

    #[test]
    fn each_lack_is_named_with_what_to_do() {
        let info = |change: fn(&mut EngineInfo)| {
            let Engine::Answers(mut info) = fit().engine else {
                panic!("the fit machine has an engine");
            };
            change(&mut info);
            Facts {
                engine: Engine::Answers(info),
                ..fit()
            }
        };
        let table: Vec<(Facts, &str)> = vec![
            (
                Facts {
                    is_root: false,
                    ..fit()
                },
                "user: not root",
            ),
            (
                Facts {
                    engine: Engine::Absent {
                        socket: "/x".into(),
                    },
                    ..fit()
                },
                "engine: nothing listens on /x",
            ),
            (
                info(|info| info.server_version = "19.03.15".into()),
                "engine version: 19.03.15; want 20.10 or newer",
            ),
            (
                info(|info| info.docker_root_dir = "/var/snap/docker/common".into()),
                "engine: is a snap",
            ),
            (
                info(|info| info.security_options = Some(vec!["name=rootless".into()])),
                "engine: is rootless",
            ),
            (
                info(|info| info.swarm.local_node_state = "active".into()),
                "engine: is in Docker's own swarm mode (active)",
            ),
            (
                Facts {
                    engine_is_swarmr: true,
                    ..fit()
                },
                "engine: --engine names swarmr's own socket",
            ),
            (
                Facts {
                    modules: vec![("vxlan", Module::Missing)],
                    ..fit()
                },
                "kernel module vxlan: not there",
            ),
            (Facts { nft: None, ..fit() }, "nft: not installed"),
            (
                Facts {
                    has_cgroups: false,
                    ..fit()
                },
                "cgroups: ",
            ),
            (
                Facts {
                    clock_secs: 0,
                    ..fit()
                },
                "clock: was never set",
            ),
            (
                Facts {
                    ports: vec![Port {
                        number: 2377,
                        purpose: "all control traffic",
                        refused: Some("Address already in use (os error 98)".into()),
                    }],
                    ..fit()
                },
                "UDP port 2377 (all control traffic): Address already in use",
            ),
        ];
        for (facts, want) in table {
            let got = failures(&facts, &Expected::default(), false);
            assert_eq!(got.len(), 1, "{want}: {got:?}");
            assert!(got[0].starts_with(want), "{got:?}");
            assert!(got[0].contains("; want "), "{got:?}");
        }
    }

    #[test]
    fn docker_swarm_beside_us_is_a_choice() {
        let mut facts = fit();
        facts.engine = Engine::Answers(EngineInfo {
            server_version: "28.0.0".into(),
            swarm: super::super::facts::EngineSwarm {
                local_node_state: "active".into(),
            },
            ..EngineInfo::default()
        });
        assert_eq!(failures(&facts, &Expected::default(), false).len(), 1);
        assert!(failures(&facts, &Expected::default(), true).is_empty());
    }

    #[test]
    fn a_chosen_pool_must_not_overlap_a_route_and_the_default_one_may() {
        let mut facts = fit();
        facts.routes.push(Route {
            subnet: "10.20.0.0/24".parse().unwrap(),
            device: "eth1".into(),
        });
        let chosen = Expected {
            address_pools: vec!["10.20.0.0/16".parse().unwrap()],
            ..Expected::default()
        };
        assert_eq!(
            failures(&facts, &chosen, false),
            [
                "address pool: 10.20.0.0/16 overlaps the route to 10.20.0.0/24 on eth1; want a pool \
              that nothing on this machine is routed to; choose another with --default-addr-pool"
            ]
        );
        assert!(failures(&facts, &Expected::default(), false).is_empty());
        facts.routes[1].device = "swr-abc".into();
        assert!(failures(&facts, &chosen, false).is_empty());
    }

    #[test]
    fn the_fake_engine_needs_little() {
        let facts = Facts {
            clock_secs: EARLIEST_SECS,
            ..Facts::default()
        };
        assert!(failures(&facts, &Expected::default(), false).is_empty());
    }
}
