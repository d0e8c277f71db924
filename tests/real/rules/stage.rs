//! Three engines that form one cluster, commands on it, and what the engines say.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use testhosts::{Host, Hosts, Output, Setup, eventually};

use crate::real::{PATIENCE, form, init, join};

/// A command that waits for longer than this waits for what never comes.
const COMMAND_LIMIT_SECONDS: u32 = 90;

/// A container as its engine tells of it.
#[derive(Debug, Clone)]
pub(super) struct Container {
    /// Place of its host in the cluster, from 0.
    pub(super) host: usize,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image: String,
    /// Docker's word: created, running, exited …
    pub(super) state: String,
}

impl Container {
    pub(super) fn runs(&self) -> bool {
        self.state == "running"
    }

    /// It only prepares its task.
    pub(super) fn is_init(&self) -> bool {
        self.name.contains(".init-")
    }

    fn is_of(&self, service: &str) -> bool {
        let rest = self.name.strip_prefix(service);
        rest.is_some_and(|rest| rest.starts_with('.'))
    }
}

/// Whether a host's own daemon says that it leads.
fn leads(host: &Host) -> bool {
    let said = host.swarmr(&["node", "inspect", "self", "-f", "{{.ManagerStatus.Leader}}"]);
    said.is_ok_and(|output| output.stdout.trim() == "true")
}

pub(super) struct Stage {
    pub(super) hosts: Hosts,
    /// Services that outlive the rule that made them.
    kept: RefCell<BTreeSet<String>>,
}

impl Stage {
    pub(super) fn new() -> Result<Self> {
        Self::with_daemons(|_| Ok(Vec::new()))
    }

    /// Only h1 and h2 are members: h3 may join.
    pub(super) fn of_two() -> Result<Self> {
        let stage = Self::on_hosts(|_| Ok(Vec::new()))?;
        init(&stage.hosts[0])?;
        stage.join(1)?;
        Ok(stage)
    }

    pub(super) fn join(&self, host: usize) -> Result<()> {
        join(&self.hosts[0], &self.hosts[host])
    }

    /// `flags` gives the words that a host's daemon is started with, and may prepare the host.
    pub(super) fn with_daemons(
        flags: impl Fn(&Host) -> Result<Vec<&'static str>> + Sync,
    ) -> Result<Self> {
        let stage = Self::on_hosts(flags)?;
        form(&stage.hosts)?;
        Ok(stage)
    }

    fn on_hosts(flags: impl Fn(&Host) -> Result<Vec<&'static str>> + Sync) -> Result<Self> {
        let hosts = Hosts::with_engines(&Setup::swarmr(3, env!("CARGO_BIN_EXE_swarmr")))?;
        hosts.each(|host| host.start_daemon(&flags(host)?))?;
        Ok(Self {
            hosts,
            kept: RefCell::default(),
        })
    }

    pub(super) fn leader(&self) -> Result<&Host> {
        let leader = self.hosts.iter().find(|host| leads(host));
        leader.context("nobody leads")
    }

    /// Waits for a leader after the last one; gives it.
    pub(super) fn another_leads(&self, last: &Host) -> Result<&Host> {
        self.until("another one leads", || {
            let mut others = self.hosts.iter().filter(|host| host.name() != last.name());
            others.find(|host| leads(host)).context("nobody does")
        })
    }

    /// A `swarmr` command as one would type it into a shell of the first host.
    pub(super) fn swarmr(&self, line: &str) -> Result<String> {
        self.tried(line)?.ok()
    }

    /// The same, for commands that may fail.
    pub(super) fn tried(&self, line: &str) -> Result<Output> {
        let output = self.hosts[0].sh(&format!("timeout {COMMAND_LIMIT_SECONDS} swarmr {line}"))?;
        Ok(Output {
            command: format!("swarmr {line}"),
            ..output
        })
    }

    /// Makes a service without waiting for it: flags, image, command.
    pub(super) fn create(&self, name: &str, rest: &str) -> Result<()> {
        let common = "--detach --quiet --stop-grace-period 1s --name";
        self.swarmr(&format!("service create {common} {name} {rest}"))
            .map(drop)
    }

    /// Lets a service outlive the rule that makes it.
    pub(super) fn keep(&self, service: &str) {
        self.kept.borrow_mut().insert(service.to_owned());
    }

    /// All containers of a service, also those that have ended and those that only prepare.
    pub(super) fn containers(&self, service: &str) -> Result<Vec<Container>> {
        let mut found = self.all_containers()?;
        found.retain(|container| container.is_of(service));
        Ok(found)
    }

    /// The tasks' own containers that run.
    pub(super) fn running(&self, service: &str) -> Result<Vec<Container>> {
        let mut found = self.containers(service)?;
        found.retain(|container| container.runs() && !container.is_init());
        Ok(found)
    }

    /// Running containers of a service on each host.
    pub(super) fn counts(&self, service: &str) -> Result<[usize; 3]> {
        let mut counts = [0; 3];
        for container in self.running(service)? {
            counts[container.host] += 1;
        }
        Ok(counts)
    }

    /// Waits until the running containers of a service are as many on each host as is asked.
    pub(super) fn counted(
        &self,
        service: &str,
        wanted: &str,
        is_right: impl Fn([usize; 3]) -> bool,
    ) -> Result<[usize; 3]> {
        self.until(&format!("containers of {service}: {wanted}"), || {
            let counts = self.counts(service)?;
            ensure!(is_right(counts), "{counts:?} run");
            Ok(counts)
        })
    }

    /// Waits for exactly these numbers.
    pub(super) fn spread(&self, service: &str, wanted: [usize; 3]) -> Result<[usize; 3]> {
        self.counted(service, &format!("{wanted:?}"), |counts| counts == wanted)
    }

    /// Waits until this image runs in `count` containers of a service, and no other does.
    pub(super) fn all_of_image(
        &self,
        service: &str,
        image: &str,
        count: usize,
    ) -> Result<[usize; 3]> {
        self.until(
            &format!("{count} containers of {service} of {image}"),
            || {
                let running = self.running(service)?;
                let right = running.iter().filter(|it| it.image == image).count();
                let all = running.len();
                ensure!(right == count && all == count, "{right} of {all} are");
                self.counts(service)
            },
        )
    }

    /// The ids of the running containers.
    pub(super) fn ids(&self, service: &str) -> Result<BTreeSet<String>> {
        let running = self.running(service)?;
        Ok(running.into_iter().map(|container| container.id).collect())
    }

    /// What `docker inspect` says of a container.
    pub(super) fn inspect(&self, container: &Container) -> Result<Value> {
        let path = format!("/containers/{}/json", container.id);
        self.hosts[container.host]
            .engine()?
            .send("GET", &path, "", b"")?
            .json()
    }

    /// When a container started and when it ended, so written that they sort as they are.
    pub(super) fn lifetime(&self, container: &Container) -> Result<(String, String)> {
        let state = &self.inspect(container)?["State"];
        let moment = |key: &str| -> Result<String> {
            let text = state[key].as_str().with_context(|| format!("no {key}"))?;
            // Go leaves noughts out at the end of a fraction.
            let (second, fraction) = text
                .trim_end_matches('Z')
                .split_once('.')
                .unwrap_or((text, ""));
            Ok(format!("{}.{fraction:0<9}", second.trim_end_matches('Z')))
        };
        Ok((moment("StartedAt")?, moment("FinishedAt")?))
    }

    /// Runs a shell script in a container; gives what it wrote.
    pub(super) fn exec(&self, container: &Container, script: &str) -> Result<String> {
        self.hosts[container.host]
            .docker(&["exec", &container.id, "sh", "-c", script])?
            .ok()
    }

    /// Waits until a task of the service says why it waits, as `service ps` shows it.
    pub(super) fn says(&self, service: &str, reason: &str) -> Result<String> {
        self.until(&format!("a task of {service} says {reason:?}"), || {
            let tasks = self.tasks(service)?;
            let line = tasks.lines().find(|line| line.contains(reason));
            line.map(str::to_owned).ok_or_else(|| anyhow!("{tasks}"))
        })
    }

    /// `service ps`, a line for each task.
    pub(super) fn tasks(&self, service: &str) -> Result<String> {
        let format =
            "{{.Name}} {{.Node}} {{.Image}} {{.DesiredState}} {{.CurrentState}} {{.Error}}";
        self.swarmr(&format!(
            "service ps --no-trunc --format '{format}' {service}"
        ))
    }

    /// A field of a service, as `service inspect` shows it.
    pub(super) fn field(&self, service: &str, format: &str) -> Result<String> {
        self.swarmr(&format!("service inspect --format '{format}' {service}"))
    }

    /// Waits for a state of the service's update.
    pub(super) fn update_is(&self, service: &str, state: &str) -> Result<String> {
        self.until(&format!("the update of {service} is {state}"), || {
            let now = self.field(service, "{{.UpdateStatus.State}} {{.UpdateStatus.Message}}")?;
            ensure!(now.split(' ').next() == Some(state), "{now}");
            Ok(now)
        })
    }

    pub(super) fn until<T>(&self, what: &str, look: impl FnMut() -> Result<T>) -> Result<T> {
        eventually(what, PATIENCE, look)
    }

    /// Looks for some time; an error as soon as what is looked at is not so any more.
    pub(super) fn stays(&self, time: Duration, look: impl Fn() -> Result<()>) -> Result<()> {
        let begin = std::time::Instant::now();
        while begin.elapsed() < time {
            look()?;
        }
        Ok(())
    }

    /// Takes everything away that rules made, and lets all nodes take tasks.
    pub(super) fn clear(&self) -> Result<()> {
        let kept = self.kept.borrow();
        let all = self.swarmr("service ls --format '{{.Name}}'")?;
        let gone: Vec<&str> = all.lines().filter(|name| !kept.contains(*name)).collect();
        if !gone.is_empty() {
            self.swarmr(&format!("service rm {}", gone.join(" ")))?;
        }
        self.swarmr("node activate $(swarmr node ls -q)")?;
        self.until("nothing is left of a rule", || {
            let mut left = self.all_containers()?;
            left.retain(|it| !kept.iter().any(|service| it.is_of(service)));
            let names: Vec<&str> = left.iter().map(|it| it.name.as_str()).collect();
            ensure!(names.is_empty(), "{names:?}");
            Ok(())
        })
    }

    /// What swarmr and the engines say of all services.
    pub(super) fn scene(&self) -> String {
        let tasks = self.tried("service ps --no-trunc $(swarmr service ls -q)");
        let tasks = tasks.map(|output| output.to_string()).unwrap_or_default();
        let containers = self.all_containers().unwrap_or_default();
        let containers: Vec<String> = containers
            .iter()
            .map(|it| format!("h{} {} {}", it.host + 1, it.name, it.state))
            .collect();
        format!("{tasks}\n  engines: {}\n", containers.join(", "))
    }

    fn all_containers(&self) -> Result<Vec<Container>> {
        let mut all = Vec::new();
        for (host, engine) in self.hosts.iter().enumerate() {
            if !engine.is_on() {
                continue;
            }
            let path = "/containers/json?all=1";
            let listed = engine.engine()?.send("GET", path, "", b"")?.json()?;
            for container in listed.as_array().context("no list of containers")? {
                let text = |key: &str| container[key].as_str().unwrap_or_default().to_owned();
                let name = container["Names"][0].as_str().unwrap_or_default();
                all.push(Container {
                    host,
                    id: text("Id"),
                    name: name.trim_start_matches('/').to_owned(),
                    image: text("Image"),
                    state: text("State"),
                });
            }
        }
        Ok(all)
    }
}
