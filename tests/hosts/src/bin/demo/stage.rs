//! What the steps play on: the hosts, the stream of requests, and the ways of
//! looking at both.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhosts::{Apps, Host, Hosts, Output, Probe, Setup, Window, eventually};

/// The port that the service publishes.
pub(crate) const PUBLISHED: u16 = 8080;
/// The port of the application in its container.
pub(crate) const INNER: u16 = 80;
/// Requests of the stream, per second.
const RATE: u32 = 50;
/// Longest wait for anything that should come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Stage {
    pub(crate) hosts: Hosts,
    probe: Option<Probe>,
}

impl Stage {
    pub(crate) fn new(swarmr: PathBuf) -> Result<Self> {
        println!("Making three hosts, each with a Docker engine of its own …");
        let begin = Instant::now();
        let hosts = Hosts::with_engines(&Setup::swarmr(3, swarmr))?;
        for host in hosts.iter() {
            println!(
                "  {} at {}, to look inside: nsenter -t {} -a",
                host.name(),
                host.address(),
                host.pid()?
            );
        }
        println!(
            "  a client, no member of the cluster, at {}",
            hosts.client().address()
        );
        println!("  ready after {:.1} s", begin.elapsed().as_secs_f64());
        Ok(Self { hosts, probe: None })
    }

    /// Runs swarmr on a host, shows what it says, and returns its end.
    pub(crate) fn swarmr(&self, host: &Host, words: &[&str]) -> Result<Output> {
        let shown: Vec<_> = words.iter().map(|word| shorten(word)).collect();
        let begin = Instant::now();
        let output = host.swarmr(words)?;
        println!("{}$ swarmr {}", host.name(), shown.join(" "));
        let said: Vec<_> = output.stdout.lines().chain(output.stderr.lines()).collect();
        for (number, line) in said.iter().enumerate() {
            // Of a progress that only counts on, the last line is enough.
            let next = said.get(number + 1).copied().unwrap_or_default();
            if line.is_empty() || without_digits(line) != without_digits(next) {
                println!("    {}", shorten_words(line));
            }
        }
        let code = output
            .code
            .map_or("a signal".to_owned(), |code| format!("exit {code}"));
        println!("    [{code} after {:.1} s]", begin.elapsed().as_secs_f64());
        Ok(output)
    }

    /// The same where only success will do.
    pub(crate) fn swarmr_ok(&self, host: &Host, words: &[&str]) -> Result<String> {
        self.swarmr(host, words)?.ok()
    }

    /// A look at the API of one host.
    pub(crate) fn look(&self, host: &Host, path: &str) -> Result<Value> {
        host.swarmr_api()?.within(Duration::from_secs(5)).get(path)
    }

    /// The host that leads, as `by` sees it.
    pub(crate) fn leader(&self, by: &Host) -> Result<&Host> {
        let nodes = self.look(by, "/nodes")?;
        let leader = list(&nodes)
            .iter()
            .find(|node| node["ManagerStatus"]["Leader"] == true);
        let address = leader.context("nobody leads")?["ManagerStatus"]["Addr"].to_string();
        let address = address.trim_matches('"');
        let address = address
            .rsplit_once(':')
            .map_or(address, |(address, _)| address);
        self.hosts
            .by_address(address)
            .with_context(|| format!("{address:?} is no host's address"))
    }

    /// Waits until `count` nodes are ready, as `by` sees it.
    pub(crate) fn nodes_ready(&self, by: &Host, count: usize) -> Result<()> {
        eventually("nodes are ready", PATIENCE, || {
            let nodes = self.look(by, "/nodes")?;
            let ready = list(&nodes)
                .iter()
                .filter(|node| node["Status"]["State"] == "ready")
                .count();
            ensure!(ready == count, "{ready} nodes are ready, not {count}");
            Ok(())
        })
    }

    /// Containers of `web` on each engine that is on, by `docker ps`.
    pub(crate) fn spread(&self) -> Result<Vec<(String, usize)>> {
        let running = self.hosts.iter().filter(|host| host.is_on());
        running
            .map(|host| {
                Ok((
                    host.name().to_owned(),
                    host.service_containers("web")?.len(),
                ))
            })
            .collect()
    }

    /// Waits until all engines together run exactly `count` containers of
    /// `web` and says how many run where.
    pub(crate) fn count(&self, count: usize) -> Result<String> {
        let spread = eventually("containers are counted", PATIENCE, || {
            let spread = self.spread()?;
            let sum: usize = spread.iter().map(|(_, each)| each).sum();
            ensure!(sum == count, "{sum} containers, not {count}: {spread:?}");
            Ok(spread)
        })?;
        let each: Vec<_> = spread
            .iter()
            .map(|(host, each)| format!("{host} {each}"))
            .collect();
        let text = format!("{count} containers by docker ps ({})", each.join(", "));
        println!("  seen: {text}");
        Ok(text)
    }

    /// Ids of the containers of `web` on all engines.
    pub(crate) fn container_ids(&self) -> Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        for host in self.hosts.iter() {
            ids.extend(host.service_containers("web")?);
        }
        Ok(ids)
    }

    /// Asks the published port of each of `hosts`, from the client and on the
    /// host itself as `localhost`, until every one answers as it should.
    pub(crate) fn ask_everywhere(&self, hosts: &[&Host]) -> Result<()> {
        let client = self.hosts.client();
        for host in hosts {
            let outside = SocketAddr::from((host.address(), PUBLISHED));
            let reply = eventually("the published port answers", PATIENCE, || {
                client.get(outside, "/", Duration::from_secs(2))
            })?;
            let seen = reply.word("client").context("an answer without client=")?;
            println!("  seen: http://{outside}/ answers {}", reply.text().trim());
            ensure!(
                seen == client.address().to_string(),
                "the server saw {seen}, not the client's address {}",
                client.address()
            );
            let inside = (Ipv4Addr::LOCALHOST, PUBLISHED);
            let reply = eventually("localhost answers", PATIENCE, || host.get(inside, "/"))?;
            println!(
                "  seen: on {}, http://localhost:{PUBLISHED}/ answers {}",
                host.name(),
                reply.text().trim()
            );
        }
        Ok(())
    }

    /// Begins the stream of requests, to all hosts in turn.
    pub(crate) fn start_requests(&mut self) -> Result<()> {
        self.probe = Some(Probe::start(
            self.hosts.client(),
            self.ports(|_| true),
            RATE,
        )?);
        println!("  from now on {RATE} requests a second from the client, whatever happens");
        Ok(())
    }

    /// Sends the stream to the hosts that `wanted` says.
    pub(crate) fn aim(&self, wanted: impl Fn(&Host) -> bool) -> Result<()> {
        self.probe()?.aim(self.ports(wanted));
        Ok(())
    }

    /// What came of the requests since the last call.
    pub(crate) fn requests(&self) -> Result<Window> {
        let window = self.probe()?.take()?;
        println!("  seen: {window}");
        Ok(window)
    }

    /// The same, where none may have failed.
    pub(crate) fn all_answered(&self) -> Result<String> {
        let window = self.requests()?;
        ensure!(window.sent > 0, "no requests were sent");
        ensure!(
            window.failed == 0,
            "{} of {} requests failed",
            window.failed,
            window.sent
        );
        Ok(format!("{} requests, 0 failed", window.sent))
    }

    /// Applications that accept connections, over all hosts that are on.
    pub(crate) fn apps(&self) -> Apps<'_> {
        Apps::new(self.hosts.iter().filter(|host| host.is_on()), INNER)
    }

    /// After a failed step: turns on and starts what is not running, so that
    /// the next steps have a chance.
    pub(crate) fn mend(&self) -> Result<()> {
        for host in self.hosts.iter() {
            if !host.is_on() {
                host.power_on()?;
            }
            if !host.engine_is_running() {
                host.start_engine()?;
            }
            if host.daemon().is_none() {
                host.start_daemon(&[])?;
            }
        }
        if self.probe.is_some() {
            self.aim(|_| true)?;
            self.requests()?;
        }
        Ok(())
    }

    fn probe(&self) -> Result<&Probe> {
        self.probe
            .as_ref()
            .context("no requests are being sent: step 2 failed")
    }

    fn ports(&self, wanted: impl Fn(&Host) -> bool) -> Vec<SocketAddr> {
        let hosts = self.hosts.iter().filter(|host| wanted(host));
        hosts
            .map(|host| SocketAddr::from((host.address(), PUBLISHED)))
            .collect()
    }
}

/// The items of a JSON list; none of anything else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn without_digits(line: &str) -> String {
    line.chars()
        .filter(|letter| !letter.is_ascii_digit())
        .collect()
}

/// A line with its tokens shortened.
fn shorten_words(line: &str) -> String {
    line.split(' ').map(shorten).collect::<Vec<_>>().join(" ")
}

/// A join token is a secret and long: its middle is left out.
fn shorten(word: &str) -> String {
    match word.get(..12) {
        Some(begin) if word.starts_with("SWMTKN-1-") => format!("{begin}…"),
        _ => word.to_owned(),
    }
}
