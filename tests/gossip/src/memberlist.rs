//! The control arm: SWIM as memberlist is described to run it on a LAN, by its published defaults and
//! formulas. Written from the description; sizes of messages are estimates for MessagePack with names
//! of 25 characters.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::dice::{Dice, mix};
use crate::machine::{Act, Machine, Packet, Told};
use crate::world::{Network, World};

const PROBE: u64 = 1_000_000;
const PROBE_TIMEOUT: u64 = 500_000;
/// Sooner than published, so that it is in time for the asker's own deadline.
const NACK: u64 = 400_000;
const INDIRECT: usize = 3;
const GOSSIP: u64 = 200_000;
const GOSSIP_NODES: usize = 3;
const RETRANSMIT_MULT: f64 = 4.0;
const SUSPICION_MULT: f64 = 4.0;
const MAX_TIMEOUT_MULT: f64 = 6.0;
const PUSH_PULL: u64 = 30_000_000;
const GOSSIP_TO_DEAD: u64 = 30_000_000;
const HEALTH_MAX: u64 = 8;
/// What one packet carries.
const PACKET: usize = 1_400;

#[derive(Debug)]
pub struct Memberlist {
    me: usize,
    dice: Dice,
    known: Vec<Known>,
    suspicions: BTreeMap<usize, Suspicion>,
    queue: Vec<Broadcast>,
    health: u64,
    order: Vec<u32>,
    at: usize,
    probe: Option<Probe>,
    number: u32,
    relays: BTreeMap<u32, (usize, u32, u64)>,
    next_probe: u64,
    next_gossip: u64,
    next_push_pull: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    incarnation: u32,
    state: State,
    since: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Suspect,
    Dead,
}

#[derive(Debug)]
struct Suspicion {
    since: u64,
    end: u64,
    confirmed: Vec<usize>,
}

#[derive(Debug)]
struct Broadcast {
    news: News,
    sent: u32,
}

#[derive(Debug)]
struct Probe {
    target: usize,
    number: u32,
    indirect_at: u64,
    end: u64,
    asked: bool,
    expected_nacks: u32,
    nacks: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    about: usize,
    state: State,
    incarnation: u32,
    from: usize,
}

#[derive(Debug)]
pub struct Parcel {
    parts: Vec<Part>,
    reliable: bool,
}

#[derive(Debug, Clone)]
enum Part {
    Ping(u32),
    Ack(u32),
    Nack(u32),
    Indirect(usize, u32),
    News(News),
    State(Rc<Vec<Known>>, bool),
}

impl Packet for Parcel {
    fn bytes(&self) -> usize {
        let parts = self.parts.iter().map(Part::bytes).sum::<usize>();
        parts + 3 * (self.parts.len() - 1)
    }

    fn reliable(&self) -> bool {
        self.reliable
    }
}

impl Part {
    fn bytes(&self) -> usize {
        match self {
            Self::Ping(_) => 100,
            Self::Ack(_) => 20,
            Self::Nack(_) => 12,
            Self::Indirect(..) => 110,
            Self::News(news) if news.state == State::Alive => 90,
            Self::News(_) => 75,
            Self::State(known, _) => 100 * known.len(),
        }
    }
}

impl Memberlist {
    pub fn start(me: usize, count: usize, seed: u64) -> Self {
        let mut dice = Dice::new(mix(seed ^ mix(me as u64)));
        let known = Known {
            incarnation: 1,
            state: State::Alive,
            since: 0,
        };
        Self {
            me,
            known: vec![known; count],
            suspicions: BTreeMap::new(),
            queue: Vec::new(),
            health: 0,
            order: Vec::new(),
            at: 0,
            probe: None,
            number: 0,
            relays: BTreeMap::new(),
            next_probe: dice.below(PROBE),
            next_gossip: dice.below(GOSSIP),
            next_push_pull: dice.below(push_pull(count)),
            dice,
        }
    }

    /// A cluster that has been up for a while.
    pub fn settled(count: usize, network: Network, seed: u64) -> World<Self> {
        let start = |node| Self::start(node, count, seed);
        let mut world = World::new((0..count).map(start).collect(), network, seed);
        world.run_for(2_000_000);
        world
    }

    fn send(&mut self, to: usize, part: Part, acts: &mut Vec<Act<Parcel>>) {
        let mut parts = vec![part];
        self.add_broadcasts(&mut parts);
        let reliable = false;
        acts.push(Act::Send {
            to,
            packet: Parcel { parts, reliable },
        });
    }

    /// Those told least often first, each as often as its limit allows.
    fn add_broadcasts(&mut self, parts: &mut Vec<Part>) {
        if self.queue.is_empty() {
            return;
        }
        let nodes = self.known.len() as f64;
        let limit = (RETRANSMIT_MULT * (nodes + 1.0).log10().ceil()) as u32;
        let mut room = PACKET.saturating_sub(parts.iter().map(Part::bytes).sum());
        self.queue.sort_by_key(|it| it.sent);
        for broadcast in &mut self.queue {
            let part = Part::News(broadcast.news);
            if part.bytes() + 3 > room {
                break;
            }
            room -= part.bytes() + 3;
            broadcast.sent += 1;
            parts.push(part);
        }
        self.queue.retain(|it| it.sent < limit);
    }

    /// The next of the ticks that went unseen while there was nothing to tell.
    fn tick_after(&mut self, now: u64) {
        if self.queue.is_empty() && self.next_gossip < now {
            self.next_gossip += ((now - self.next_gossip) / GOSSIP + 1) * GOSSIP;
        }
    }

    fn broadcast(&mut self, news: News) {
        self.queue.retain(|it| it.news.about != news.about);
        self.queue.push(Broadcast { news, sent: 0 });
    }

    fn random(&mut self, count: usize, wanted: impl Fn(&Known) -> bool) -> Vec<usize> {
        let nodes = self.known.len();
        let mut chosen = Vec::new();
        for _ in 0..3 * nodes.min(100) {
            if chosen.len() == count {
                break;
            }
            let node = self.dice.below(nodes as u64) as usize;
            if node != self.me && wanted(&self.known[node]) && !chosen.contains(&node) {
                chosen.push(node);
            }
        }
        chosen
    }

    fn start_probe(&mut self, now: u64, acts: &mut Vec<Act<Parcel>>) {
        let scale = self.health + 1;
        self.next_probe = now + PROBE * scale;
        for _ in 0..self.known.len() {
            if self.at >= self.order.len() {
                self.at = 0;
                self.order = (0..self.known.len() as u32).collect();
                for last in (1..self.order.len()).rev() {
                    let other = self.dice.below(last as u64 + 1) as usize;
                    self.order.swap(last, other);
                }
            }
            let target = self.order[self.at] as usize;
            self.at += 1;
            if target == self.me || self.known[target].state == State::Dead {
                continue;
            }
            self.number += 1;
            let number = self.number;
            self.probe = Some(Probe {
                target,
                number,
                indirect_at: now + PROBE_TIMEOUT,
                end: now + PROBE * scale,
                asked: false,
                expected_nacks: 0,
                nacks: 0,
            });
            return self.send(target, Part::Ping(number), acts);
        }
    }

    fn ask_others(&mut self, acts: &mut Vec<Act<Parcel>>) {
        let Some(probe) = &mut self.probe else { return };
        probe.asked = true;
        let (target, number) = (probe.target, probe.number);
        let helpers = self.random(INDIRECT, |it| it.state == State::Alive);
        let helpers: Vec<usize> = helpers.into_iter().filter(|it| *it != target).collect();
        if let Some(probe) = &mut self.probe {
            probe.expected_nacks = helpers.len() as u32;
        }
        for helper in helpers {
            self.send(helper, Part::Indirect(target, number), acts);
        }
        // And once more over TCP.
        acts.push(Act::Send {
            to: target,
            packet: Parcel {
                parts: vec![Part::Ping(number)],
                reliable: true,
            },
        });
    }

    fn probe_failed(&mut self, now: u64, acts: &mut Vec<Act<Parcel>>) {
        let Some(probe) = self.probe.take() else {
            return;
        };
        let missing = probe.expected_nacks.saturating_sub(probe.nacks);
        let worse = if probe.expected_nacks > 0 { missing } else { 1 };
        self.health = (self.health + u64::from(worse)).min(HEALTH_MAX - 1);
        let incarnation = self.known[probe.target].incarnation;
        let news = News {
            about: probe.target,
            state: State::Suspect,
            incarnation,
            from: self.me,
        };
        self.believe(now, news, acts);
    }

    fn believe(&mut self, now: u64, news: News, acts: &mut Vec<Act<Parcel>>) {
        let News {
            about, incarnation, ..
        } = news;
        let known = self.known[about];
        if about == self.me {
            if news.state != State::Alive && incarnation >= known.incarnation {
                self.health = (self.health + 1).min(HEALTH_MAX - 1);
                self.say_alive(incarnation + 1);
            }
            return;
        }
        match news.state {
            State::Alive if incarnation > known.incarnation => {
                self.suspicions.remove(&about);
                self.know(now, about, incarnation, State::Alive);
                self.broadcast(news);
                if known.state != State::Alive {
                    acts.push(Act::Tell(Told::Alive(about)));
                }
                acts.push(Act::Tell(Told::Changed(about)));
            }
            State::Suspect if incarnation >= known.incarnation => match known.state {
                State::Suspect => self.confirm(news),
                State::Alive => {
                    self.know(now, about, incarnation, State::Suspect);
                    self.broadcast(news);
                    let (_, longest) = self.suspicion_times();
                    let suspicion = Suspicion {
                        since: now,
                        end: now + longest,
                        confirmed: vec![news.from],
                    };
                    self.suspicions.insert(about, suspicion);
                    acts.push(Act::Tell(Told::Suspect(about)));
                }
                State::Dead => {}
            },
            State::Dead if incarnation >= known.incarnation && known.state != State::Dead => {
                self.suspicions.remove(&about);
                self.know(now, about, incarnation, State::Dead);
                self.broadcast(news);
                acts.push(Act::Tell(Told::Dead(about)));
            }
            _ => {}
        }
    }

    fn know(&mut self, since: u64, about: usize, incarnation: u32, state: State) {
        self.known[about] = Known {
            incarnation,
            state,
            since,
        };
    }

    fn say_alive(&mut self, incarnation: u32) {
        let me = self.me;
        self.known[me].incarnation = incarnation;
        self.broadcast(News {
            about: me,
            state: State::Alive,
            incarnation,
            from: me,
        });
    }

    /// Shortest and longest.
    fn suspicion_times(&self) -> (u64, u64) {
        let scale = (self.known.len() as f64).max(1.0).log10().max(1.0);
        let least = SUSPICION_MULT * scale * PROBE as f64;
        (least as u64, (least * MAX_TIMEOUT_MULT) as u64)
    }

    fn confirm(&mut self, news: News) {
        let (least, most) = self.suspicion_times();
        let wanted = match self.known.len() {
            0..=3 => 0,
            _ => SUSPICION_MULT as usize - 2,
        };
        let Some(suspicion) = self.suspicions.get_mut(&news.about) else {
            return;
        };
        if suspicion.confirmed.len() > wanted || suspicion.confirmed.contains(&news.from) {
            return;
        }
        suspicion.confirmed.push(news.from);
        let others = suspicion.confirmed.len() - 1;
        let share = (others as f64 + 1.0).ln() / (wanted as f64 + 1.0).ln();
        let time = most as f64 - share * (most - least) as f64;
        suspicion.end = suspicion.since + (time as u64).max(least);
        self.broadcast(news);
    }

    fn exchange(&mut self, to: usize, answer: bool, acts: &mut Vec<Act<Parcel>>) {
        let state = Part::State(Rc::new(self.known.clone()), answer);
        acts.push(Act::Send {
            to,
            packet: Parcel {
                parts: vec![state],
                reliable: true,
            },
        });
    }

    fn merge(&mut self, now: u64, from: usize, theirs: &[Known], acts: &mut Vec<Act<Parcel>>) {
        for (about, known) in theirs.iter().enumerate() {
            let state = match known.state {
                State::Alive => State::Alive,
                // The dead are suspected first, so that they can refute it.
                State::Suspect | State::Dead => State::Suspect,
            };
            let incarnation = known.incarnation;
            let news = News {
                about,
                state,
                incarnation,
                from,
            };
            self.believe(now, news, acts);
        }
    }
}

impl Machine for Memberlist {
    type Packet = Parcel;

    fn receive(&mut self, now: u64, from: usize, packet: Parcel, acts: &mut Vec<Act<Parcel>>) {
        self.tick_after(now);
        let reliable = packet.reliable;
        for part in packet.parts {
            match part {
                Part::Ping(number) if reliable => acts.push(Act::Send {
                    to: from,
                    packet: Parcel {
                        parts: vec![Part::Ack(number)],
                        reliable,
                    },
                }),
                Part::Ping(number) => self.send(from, Part::Ack(number), acts),
                Part::Ack(number) => {
                    if self.probe.as_ref().is_some_and(|it| it.number == number) {
                        self.probe = None;
                        self.health = self.health.saturating_sub(1);
                    } else if let Some((asker, their, _)) = self.relays.remove(&number) {
                        self.send(asker, Part::Ack(their), acts);
                    }
                }
                Part::Nack(number) => {
                    if let Some(probe) = self.probe.as_mut().filter(|it| it.number == number) {
                        probe.nacks += 1;
                    }
                }
                Part::Indirect(target, number) => {
                    self.number += 1;
                    let mine = self.number;
                    let end = now + NACK;
                    self.relays.insert(mine, (from, number, end));
                    self.send(target, Part::Ping(mine), acts);
                }
                Part::News(news) => self.believe(now, news, acts),
                Part::State(theirs, answer) => {
                    if !answer {
                        self.exchange(from, true, acts);
                    }
                    self.merge(now, from, &theirs, acts);
                }
            }
        }
    }

    fn kernel_answered(&mut self, _: u64, _: usize, _: &mut Vec<Act<Parcel>>) {}

    fn wake(&mut self, now: u64, acts: &mut Vec<Act<Parcel>>) {
        if let Some(probe) = &self.probe {
            if now >= probe.end {
                self.probe_failed(now, acts);
            } else if now >= probe.indirect_at && !probe.asked {
                self.ask_others(acts);
            }
        }
        if now >= self.next_probe {
            self.start_probe(now, acts);
        }
        let late = |(_, _, end): &(usize, u32, u64)| *end <= now;
        let due: Vec<u32> = self
            .relays
            .iter()
            .filter(|(_, relay)| late(relay))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            if let Some((asker, their, _)) = self.relays.remove(&number) {
                self.send(asker, Part::Nack(their), acts);
            }
        }
        let ended: Vec<usize> = self
            .suspicions
            .iter()
            .filter(|(_, it)| it.end <= now)
            .map(|(about, _)| *about)
            .collect();
        for about in ended {
            let news = News {
                about,
                state: State::Dead,
                incarnation: self.known[about].incarnation,
                from: self.me,
            };
            self.believe(now, news, acts);
        }
        if now >= self.next_gossip {
            // It ticks on while there is nothing to tell; nobody sees that.
            let missed = (now - self.next_gossip) / GOSSIP;
            self.next_gossip += (missed + 1) * GOSSIP;
            if !self.queue.is_empty() {
                let recent =
                    |it: &Known| it.state != State::Dead || now - it.since < GOSSIP_TO_DEAD;
                for to in self.random(GOSSIP_NODES, recent) {
                    let mut parts = Vec::new();
                    self.add_broadcasts(&mut parts);
                    if !parts.is_empty() {
                        let reliable = false;
                        acts.push(Act::Send {
                            to,
                            packet: Parcel { parts, reliable },
                        });
                    }
                }
            }
        }
        if now >= self.next_push_pull {
            self.next_push_pull = now + push_pull(self.known.len());
            for to in self.random(1, |it| it.state == State::Alive) {
                self.exchange(to, false, acts);
            }
        }
    }

    fn wake_at(&self) -> u64 {
        let probe = self.probe.as_ref();
        let probe = probe.map_or(
            u64::MAX,
            |it| if it.asked { it.end } else { it.indirect_at },
        );
        let relay = self.relays.values().map(|it| it.2).min();
        let suspicion = self.suspicions.values().map(|it| it.end).min();
        let gossip = match self.queue.is_empty() {
            true => u64::MAX,
            false => self.next_gossip,
        };
        [
            self.next_probe,
            self.next_push_pull,
            gossip,
            probe,
            relay.unwrap_or(u64::MAX),
            suspicion.unwrap_or(u64::MAX),
        ]
        .into_iter()
        .min()
        .unwrap_or(u64::MAX)
    }

    fn change(&mut self, now: u64, _: &mut Vec<Act<Parcel>>) {
        self.tick_after(now);
        let next = self.known[self.me].incarnation + 1;
        self.say_alive(next);
    }
}

/// Stretched in clusters of more than 32.
fn push_pull(count: usize) -> u64 {
    match count {
        0..=32 => PUSH_PULL,
        _ => {
            let times = ((count as f64).log2() - 32f64.log2()).ceil() + 1.0;
            PUSH_PULL * times as u64
        }
    }
}
