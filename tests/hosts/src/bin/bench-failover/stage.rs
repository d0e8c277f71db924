//! The cluster that hosts are taken from.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use testhosts::{Apps, Host, Hosts, Setup, eventually};

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const HOSTS: u8 = 4;
/// The last one is no manager.
const WORKER: usize = 3;
const TASKS: usize = 4;

/// Who is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Leader,
    Worker,
    Manager,
}

pub(crate) struct Stage {
    pub(crate) hosts: Hosts,
    log_level: String,
}

impl Stage {
    pub(crate) fn new(swarmr: &Path, log_level: &str) -> Result<Self> {
        let hosts = Hosts::with_engines(&Setup::swarmr(HOSTS, swarmr))?;
        let log_level = format!("--log-level={log_level}");
        let stage = Self { hosts, log_level };
        let made = stage.form();
        stage.hosts.explain(made)?;
        Ok(stage)
    }

    pub(crate) fn tasks(&self) -> usize {
        TASKS
    }

    fn form(&self) -> Result<()> {
        self.hosts
            .each(|host| host.start_daemon(&[&self.log_level]))?;
        let first = &self.hosts[0];
        let address = first.address().to_string();
        swarmr(first, &["swarm", "init", "--advertise-addr", &address])?;
        for (number, host) in self.hosts.iter().enumerate().skip(1) {
            let role = if number == WORKER {
                "worker"
            } else {
                "manager"
            };
            let token = swarmr(first, &["swarm", "join-token", "-q", role])?;
            let manager = format!("{address}:2377");
            swarmr(host, &["swarm", "join", "--token", token.trim(), &manager])?;
        }
        self.ready(first)?;
        first.create_web(TASKS)?;
        self.spread(first)
    }

    /// A host that has a task.
    pub(crate) fn find(&self, victim: Victim) -> Result<&Host> {
        let by = self
            .hosts
            .iter()
            .find(|host| host.is_on())
            .context("no host is on")?;
        let leader = self.leader(by)?;
        let found = self
            .hosts
            .iter()
            .enumerate()
            .find(|(number, host)| match victim {
                Victim::Leader => host.name() == leader,
                Victim::Worker => *number == WORKER,
                Victim::Manager => *number != WORKER && host.name() != leader,
            });
        Ok(found.context("no such host")?.1)
    }

    fn leader(&self, by: &Host) -> Result<String> {
        eventually("somebody leads", PATIENCE, || {
            let format = "{{.Hostname}} {{.ManagerStatus}}";
            let nodes = swarmr(by, &["node", "ls", "--format", format])?;
            let leads = |line: &str| line.strip_suffix(" Leader").map(str::to_owned);
            nodes
                .lines()
                .find_map(leads)
                .ok_or_else(|| anyhow!("{nodes}"))
        })
    }

    /// Gives a host its power back and waits until all is as before.
    pub(crate) fn restore(&self, lost: &Host) -> Result<()> {
        lost.power_on()?;
        lost.start_engine()?;
        lost.start_daemon(&[&self.log_level])?;
        let by = self.hosts.iter().find(|host| host.name() != lost.name());
        let by = by.context("another host")?;
        self.ready(by)?;
        self.spread(by)
    }

    fn ready(&self, by: &Host) -> Result<()> {
        eventually("all nodes are ready", PATIENCE, || {
            let states = swarmr(by, &["node", "ls", "--format", "{{.Status}}"])?;
            let ready = states.lines().filter(|state| *state == "Ready").count();
            ensure!(ready == usize::from(HOSTS), "{states}");
            Ok(())
        })
    }

    /// Waits until each host has a task, and all hosts serve.
    fn spread(&self, by: &Host) -> Result<()> {
        eventually("each host has a task", PATIENCE, || {
            let each = self
                .hosts
                .iter()
                .map(|host| Ok(host.service_containers("web")?.len()));
            let each = each.collect::<Result<Vec<_>>>()?;
            if each.iter().sum::<usize>() == TASKS && each.contains(&0) {
                let on_swarmr = by.swarmr(&["service", "rebalance", "web"])?;
                ensure!(on_swarmr.succeeded(), "{on_swarmr:?}");
            }
            ensure!(each.iter().all(|count| *count == 1), "{each:?}");
            Ok(())
        })?;
        Apps::new(self.hosts.iter(), 80).wait(TASKS, PATIENCE)?;
        // Two of the 250 ms within which the kernels of new neighbours are asked, and their answers.
        thread::sleep(Duration::from_secs(3));
        Ok(())
    }

    /// Watches, as one manager after the other sees it, whether a node is ever down, and whether any
    /// task is ever replaced.
    pub(crate) fn alarms(&self) -> Alarms<'_> {
        Alarms::start(self)
    }
}

pub(crate) struct Alarms<'a> {
    stage: &'a Stage,
    before: Result<BTreeSet<String>>,
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<usize>,
}

impl<'a> Alarms<'a> {
    fn start(stage: &'a Stage) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let apis: Vec<_> = stage
            .hosts
            .iter()
            .take(WORKER)
            .filter_map(|it| it.swarmr_api().ok())
            .collect();
        let over = stop.clone();
        let watcher = thread::spawn(move || {
            let mut down: BTreeSet<String> = BTreeSet::new();
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                for api in &apis {
                    let Ok(nodes) = api.within(Duration::from_secs(1)).get("/nodes") else {
                        continue;
                    };
                    for node in nodes.as_array().into_iter().flatten() {
                        let id = node["ID"].as_str().unwrap_or_default().to_owned();
                        if node["Status"]["State"] == "down" {
                            number += usize::from(down.insert(id));
                        } else {
                            down.remove(&id);
                        }
                    }
                }
                thread::sleep(Duration::from_millis(100));
            }
            number
        });
        Self {
            before: containers(stage),
            stage,
            stop,
            watcher,
        }
    }

    /// How often a node was declared down, with the tasks that were replaced.
    pub(crate) fn take(self) -> Result<usize> {
        self.stop.store(true, Ordering::SeqCst);
        let down = self
            .watcher
            .join()
            .map_err(|_| anyhow!("the watcher panicked"))?;
        let replaced = containers(self.stage)?.difference(&self.before?).count();
        Ok(down + replaced)
    }
}

fn containers(stage: &Stage) -> Result<BTreeSet<String>> {
    let each = stage
        .hosts
        .iter()
        .map(|host| host.service_containers("web"));
    Ok(each
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

fn swarmr(host: &Host, words: &[&str]) -> Result<String> {
    host.docker_on_swarmr(words)?.ok()
}
