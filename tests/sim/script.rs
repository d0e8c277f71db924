//! Running a script: lines that begin with `> ` are commands, what they print follows them.
//!
//! ```text
//! cluster N                          N nodes n1 … nN, the first a manager
//! node add NAME [cpus=N] [memory=N] [arch=A] [has=ssd:3,card:a] [device=gpu:0] [plugin=Log:x] [LABEL=VALUE …]
//!                                    (resources by number or name, devices at /dev/KIND-ID)
//! node up|down|active|pause|drain|rm|break NAME       (a broken one fails every container)
//! node promote|demote NAME           to a manager, to a worker
//! node drain NAME now|LENGTH         what is left after so long is stopped
//! node label NAME LABEL=VALUE · node cpus NAME N · node has NAME ssd:1 · node device NAME gpu:0
//! network create NAME [SUBNET]
//! service create|update NAME WORD=VALUE …      (specs.rs has the words)
//! service scale NAME=N · service rollback NAME [REVISION] · service rebalance|rm NAME
//! service promote|finish|pause|resume|restart|stop|start NAME   (finish promotes to the end)
//! revisions NAME
//! service plan NAME WORD=VALUE …     what an update, or a creation, would do
//! explain NAME                       why its tasks wait
//! service run NAME                   a job, now
//! clock TIME · jump LENGTH           time passes without a leader and without any news
//! image works|missing|fails|hangs|stalls|stays NAME · image crashes|exits NAME after=3s
//! fail NAME.SLOT · complete NAME.SLOT
//! late NAME.SLOT                     a task that was given up turns out to have completed
//! history limit N                    ended tasks kept
//! advance LENGTH                     silently
//! watch NAME LENGTH                  one line whenever the service's slots change
//! leader crash                       another manager takes over
//! show · history NAME · runs NAME · nodes · count
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use swarmr::spec::device::Device;
use swarmr::spec::generic::GenericResource;
use swarmr::spec::network::{Ipam, IpamConfig};
use swarmr::spec::{Availability, Nanos, NetworkId, NetworkSpec, NodeId, Role};
use swarmr::state::command::{ServiceChange, Steer};
use swarmr::state::node::NodeState;
use swarmr::state::task::TaskState;
use swarmr::state::{Op, Reply, Service};

use super::agents::Image;
use super::show::clock;
use super::specs::{Words, length, number, spec};
use super::world::{Machine, World};

pub(super) struct Script {
    world: World,
    /// The words of each service, so that an update names only what changes.
    words: BTreeMap<String, Words>,
}

/// The script with what it prints now in place of what it says it prints.
pub(super) fn run(text: &str) -> String {
    let mut script = Script {
        world: World::new(7),
        words: BTreeMap::new(),
    };
    let mut shown = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            let _ = writeln!(shown, "{line}");
        } else if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(shown, "{line}");
            shown.push_str(&script.command(command));
        }
    }
    shown
}

impl Script {
    fn command(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let reply = match words.as_slice() {
            ["cluster", count] => {
                for n in 2..=number(count) {
                    self.world.add_node(&Machine::named(&format!("n{n}")));
                }
                Reply::Done
            }
            ["node", "add", name, words @ ..] => self.add_node(name, words),
            ["node", "label", name, label] => {
                let (label, value) = label.split_once('=').expect("LABEL=VALUE");
                let node = self.node(name);
                self.world.label_node(node, label, value)
            }
            ["node", "cpus", name, cpus] => {
                let node = self.node(name);
                self.world.resize_node(node, number(cpus));
                Reply::Done
            }
            ["node", "has", name, resources @ ..] => {
                let node = self.node(name);
                let resources = resources.iter().flat_map(|it| list(it)).map(resource);
                let resources = resources.collect();
                self.world.describe_node(node, |description| {
                    description.generic_resources = resources
                });
                Reply::Done
            }
            ["node", "device", name, devices @ ..] => {
                let node = self.node(name);
                let devices = devices.iter().flat_map(|it| list(it)).map(device).collect();
                self.world
                    .describe_node(node, |description| description.devices = devices);
                Reply::Done
            }
            ["node", "drain", name, limit] => {
                let limit = match *limit {
                    "now" => Nanos::ZERO,
                    limit => length(limit),
                };
                let node = self.node(name);
                self.world.drain(node, Some(limit))
            }
            ["node", verb, name] => self.node_verb(verb, name),
            ["network", "create", name, subnet @ ..] => self.create_network(name, subnet),
            ["service", "create", name, words @ ..] => {
                let spec = self.reworded(name, words);
                self.world.create_service(spec)
            }
            ["service", "update", name, words @ ..] => {
                let spec = self.reworded(name, words);
                self.change(name, ServiceChange::Spec(spec))
            }
            ["service", "plan", name, words @ ..] => return self.rehearse(name, words),
            ["explain", name] => return self.titled(|world| world.explain(name)),
            ["service", "scale", scale] => {
                let (name, count) = scale.split_once('=').expect("NAME=COUNT");
                let spec = self.reworded(name, &[&format!("replicas={count}")]);
                self.change(name, ServiceChange::Spec(spec))
            }
            ["service", "rollback", name] => self.change(name, ServiceChange::RollBack),
            ["service", "rollback", name, revision] => {
                let revision = number(revision);
                self.steer(name, |_| Steer::RollBackTo { revision })
            }
            ["service", verb @ ("promote" | "finish"), name] => {
                let to_the_end = *verb == "finish";
                self.steer(name, |service| Steer::Promote {
                    from: service.rollout.as_ref().map_or(0, |rollout| rollout.step),
                    to_the_end,
                })
            }
            ["service", "pause", name] => self.steer(name, |_| Steer::Pause),
            ["service", "resume", name] => self.steer(name, |_| Steer::Resume),
            ["service", "restart", name] => {
                let seen = self.world.state.index();
                self.steer(name, |_| Steer::Restart { seen })
            }
            ["service", "stop", name] => self.steer(name, |_| Steer::Stop),
            ["service", "start", name] => self.steer(name, |_| Steer::Start),
            ["revisions", name] => return self.titled(|world| world.revisions(name)),
            ["service", "rebalance", name] => {
                let service = self.world.state.find_service(name).expect("the service").id;
                self.world.propose(Op::Rebalance { service })
            }
            ["service", "rm", name] => {
                let id = self.world.state.find_service(name).expect("the service").id;
                self.world.propose(Op::RemoveService { id })
            }
            ["service", "run", name] => {
                let id = self.world.state.find_service(name).expect("the service").id;
                self.world.run_job(id)
            }
            ["clock", time] => {
                self.world.jump(time.parse().expect("a time of RFC 3339"));
                Reply::Done
            }
            ["jump", time] => {
                self.world.jump(self.world.now + length(time));
                Reply::Done
            }
            ["image", behaviour, name, words @ ..] => {
                self.world
                    .agents
                    .set_image(name, image(behaviour, words.first().copied()));
                return String::new();
            }
            ["fail", name] => return self.end(name, TaskState::Failed),
            ["complete", name] => return self.end(name, TaskState::Complete),
            ["late", name] => {
                let task = self.world.task_given_up(name).expect("a task given up");
                self.world.agents.complete(task);
                return String::new();
            }
            ["history", "limit", limit] => {
                let limit = limit.parse().expect("a whole number");
                self.world.limit_history(limit);
                Reply::Done
            }
            ["advance", time] => {
                self.world.advance(length(time), |_| {});
                return String::new();
            }
            ["watch", name, time] => return self.watch(name, time),
            ["leader", "crash"] => {
                self.world.crash_leader();
                self.world.plan();
                let changes = self.world.changes().count();
                return format!("{changes} changes by the new leader\n");
            }
            ["show"] => return self.titled(World::show),
            ["nodes"] => return self.world.nodes(),
            ["count"] => return self.world.count(),
            ["runs", name] => return self.titled(|world| world.runs(name)),
            ["history", name] => return self.titled(|world| world.history(name)),
            _ => panic!("no such command: {command}"),
        };
        self.world.plan();
        match reply {
            Reply::Rejected(why) => format!("refused: {why}\n"),
            Reply::Done | Reply::Written { .. } | Reply::Planned { .. } => String::new(),
        }
    }

    fn titled(&self, show: impl FnOnce(&World) -> String) -> String {
        format!("--- {}\n{}", clock(self.world.now), show(&self.world))
    }

    fn node(&self, name: &str) -> NodeId {
        self.world.state.find_node(name).expect("the node").id
    }

    fn add_node(&mut self, name: &str, words: &[&str]) -> Reply {
        let mut machine = Machine::named(name);
        let mut labels = Vec::new();
        for word in words {
            match word.split_once('=').expect("KEY=VALUE") {
                ("cpus", cpus) => machine.cpus = i64::try_from(number(cpus)).expect("few"),
                ("memory", gib) => machine.memory_gib = i64::try_from(number(gib)).expect("few"),
                ("has", resources) => machine.has = list(resources).map(resource).collect(),
                ("device", devices) => machine.devices = list(devices).map(device).collect(),
                ("plugin", plugins) => {
                    let pair = |text: &str| {
                        let (kind, name) = text.split_once(':').expect("KIND:NAME");
                        (kind.to_owned(), name.to_owned())
                    };
                    machine.plugins = list(plugins).map(pair).collect();
                }
                ("arch", architecture) => machine.architecture = architecture.to_owned(),
                label => labels.push(label),
            }
        }
        let node = self.world.add_node(&machine);
        for (label, value) in labels {
            self.world.label_node(node, label, value);
        }
        Reply::Done
    }

    fn node_verb(&mut self, verb: &str, name: &str) -> Reply {
        let node = self.node(name);
        let availability = match verb {
            "active" => Availability::Active,
            "pause" => Availability::Pause,
            "drain" => Availability::Drain,
            "promote" => return self.world.set_role(node, Role::Manager),
            "demote" => return self.world.set_role(node, Role::Worker),
            "break" => {
                self.world.agents.break_node(node);
                return Reply::Done;
            }
            "up" | "down" => {
                let state = if verb == "up" {
                    NodeState::Ready
                } else {
                    NodeState::Down
                };
                self.world.observe(node, state);
                return Reply::Done;
            }
            "rm" => {
                return self.world.propose(Op::RemoveNode {
                    id: node,
                    force: false,
                });
            }
            _ => panic!("no such verb: {verb}"),
        };
        self.world.set_availability(node, availability)
    }

    fn create_network(&mut self, name: &str, subnet: &[&str]) -> Reply {
        let id = NetworkId::from_bits(self.world.id());
        let config = subnet.iter().map(|subnet| IpamConfig {
            subnet: (*subnet).to_owned(),
            ..IpamConfig::default()
        });
        let spec = NetworkSpec {
            name: name.to_owned(),
            ipam: Ipam {
                driver: String::new(),
                config: config.collect(),
            },
            ..NetworkSpec::default()
        };
        self.world.propose(Op::CreateNetwork {
            id,
            spec: Box::new(spec),
        })
    }

    fn reworded(&mut self, name: &str, words: &[&str]) -> swarmr::spec::ServiceSpec {
        let known = self.words.entry(name.to_owned()).or_default();
        for word in words {
            let (key, value) = word.split_once('=').expect("KEY=VALUE");
            known.insert(key.to_owned(), value.to_owned());
        }
        let mut known = known.clone();
        if let Some(network) = known.get_mut("network") {
            let found = self.world.state.find_network(network);
            *network = found.expect("the network").id.to_string();
        }
        spec(name, &known)
    }

    /// The words are forgotten again.
    fn rehearse(&mut self, name: &str, words: &[&str]) -> String {
        let known = self.words.get(name).cloned();
        let spec = self.reworded(name, words);
        match known {
            Some(known) => self.words.insert(name.to_owned(), known),
            None => self.words.remove(name),
        };
        self.world.rehearse(name, spec)
    }

    fn change(&mut self, name: &str, change: ServiceChange) -> Reply {
        let id = self.world.state.find_service(name).expect("the service").id;
        self.world.change_service(id, change)
    }

    fn steer(&mut self, name: &str, steer: impl FnOnce(&Service) -> Steer) -> Reply {
        let service = self.world.state.find_service(name).expect("the service");
        let (id, steer) = (service.id, steer(service));
        self.world.propose(Op::SteerService { id, steer })
    }

    fn end(&mut self, name: &str, state: TaskState) -> String {
        let task = self.world.task_named(name);
        if task.is_some_and(|task| self.world.agents.end(task, state)) {
            String::new()
        } else {
            format!("{name} does not run\n")
        }
    }

    fn watch(&mut self, name: &str, time: &str) -> String {
        let (mut shown, mut last) = (String::new(), String::new());
        self.world.advance(length(time), |world| {
            let line = world.slots_line(name);
            if line != last {
                let _ = writeln!(shown, "{:<5} {line}", clock(world.now));
                last = line;
            }
        });
        shown
    }
}

fn image(behaviour: &str, after: Option<&str>) -> Image {
    let seconds = after
        .and_then(|word| word.strip_prefix("after="))
        .map_or(0, |time| {
            u64::try_from(length(time).0 / 1_000_000_000).unwrap_or(0)
        });
    match behaviour {
        "works" => Image::Works,
        "missing" => Image::Missing,
        "fails" => Image::Fails,
        "hangs" => Image::Hangs,
        "stalls" => Image::Stalls,
        "stays" => Image::Stays,
        "crashes" => Image::Crashes(seconds),
        "exits" => Image::Exits(seconds),
        _ => panic!("no such behaviour: {behaviour}"),
    }
}

pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| !word.is_empty())
}

/// `ssd:3` is a number of them, `card:a` one by its name.
pub(super) fn resource(text: &str) -> GenericResource {
    let (kind, value) = text.split_once(':').expect("KIND:COUNT or KIND:NAME");
    match value.parse() {
        Ok(count) => GenericResource::discrete(kind, count),
        Err(_) => GenericResource::named(kind, value),
    }
}

/// `gpu:0`, or `dri:0:shared`.
fn device(text: &str) -> Device {
    let (kind, id) = text.split_once(':').expect("KIND:ID");
    let (id, shared) = match id.strip_suffix(":shared") {
        Some(id) => (id, true),
        None => (id, false),
    };
    Device {
        kind: kind.to_owned(),
        id: id.to_owned(),
        path: format!("/dev/{kind}-{id}"),
        driver: String::new(),
        shared,
    }
}
