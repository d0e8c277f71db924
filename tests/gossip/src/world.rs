//! The simulation: a queue of what happens next, and what stands between the nodes.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use crate::cost::{self, Transport, Wire};
use crate::dice::Dice;
use crate::machine::{Act, Machine, Packet, Told};

/// What packets meet on their way.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// Each packet's chance to get lost.
    pub loss: f64,
    pub transport: Transport,
}

#[derive(Debug)]
pub struct World<M: Machine> {
    pub now: u64,
    pub network: Network,
    /// Who believes what since when, if it is kept.
    pub told: Vec<(u64, usize, Told)>,
    pub keep_told: bool,
    nodes: Vec<Node<M>>,
    queue: BinaryHeap<Due<M::Packet>>,
    numbered: u64,
    dice: Dice,
    /// On which side of a partition each node is.
    sides: Vec<u8>,
    acts: Vec<Act<M::Packet>>,
}

#[derive(Debug)]
struct Node<M: Machine> {
    machine: M,
    state: State,
    wire: Wire,
    /// When a wake is in the queue for it.
    wake: u64,
    /// What came while it was stopped, as far as its socket has room.
    inbox: VecDeque<(usize, M::Packet)>,
    kernel_said: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Stopped,
    Crashed,
}

#[derive(Debug)]
struct Due<P> {
    at: u64,
    number: u64,
    what: What<P>,
}

#[derive(Debug)]
enum What<P> {
    Arrive { to: usize, from: usize, packet: P },
    KernelSays { to: usize, about: usize },
    Wake(usize),
}

/// Packets that a stopped process's socket keeps: 208 KiB of the kernel's bookkeeping.
const INBOX: usize = 256;

impl<M: Machine> World<M> {
    pub fn new(machines: Vec<M>, network: Network, seed: u64) -> Self {
        let count = machines.len();
        let nodes = machines.into_iter().map(|machine| Node {
            machine,
            state: State::Up,
            wire: Wire::default(),
            wake: u64::MAX,
            inbox: VecDeque::new(),
            kernel_said: Vec::new(),
        });
        let mut world = Self {
            now: 0,
            network,
            told: Vec::new(),
            keep_told: true,
            nodes: nodes.collect(),
            queue: BinaryHeap::new(),
            numbered: 0,
            dice: Dice::new(seed),
            sides: vec![0; count],
            acts: Vec::new(),
        };
        for node in 0..count {
            world.input(node, |machine, now, acts| machine.wake(now, acts));
        }
        world
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn machine(&self, node: usize) -> &M {
        &self.nodes[node].machine
    }

    pub fn is_crashed(&self, node: usize) -> bool {
        self.nodes[node].state == State::Crashed
    }

    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].state == State::Up
    }

    /// Bytes sent by all.
    pub fn sent(&self) -> u64 {
        self.nodes.iter().map(|node| node.wire.sent).sum()
    }

    pub fn sent_by(&self, node: usize) -> u64 {
        self.nodes[node].wire.sent
    }

    /// Connections between these stand from the beginning.
    pub fn stand(&mut self, one: usize, other: usize) {
        let now = self.now;
        self.nodes[one].wire.stand(other, now);
        self.nodes[other].wire.stand(one, now);
    }

    /// An input from outside.
    pub fn input(
        &mut self,
        node: usize,
        input: impl FnOnce(&mut M, u64, &mut Vec<Act<M::Packet>>),
    ) {
        let mut acts = std::mem::take(&mut self.acts);
        input(&mut self.nodes[node].machine, self.now, &mut acts);
        for act in acts.drain(..) {
            self.act(node, act);
        }
        self.acts = acts;
        let wake = self.nodes[node].machine.wake_at().max(self.now);
        if wake < self.nodes[node].wake {
            self.nodes[node].wake = wake;
            self.push(wake, What::Wake(node));
        }
    }

    pub fn change(&mut self, node: usize) {
        self.input(node, |machine, now, acts| machine.change(now, acts));
    }

    /// Power and link are gone.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].state = State::Crashed;
    }

    /// Another process takes a crashed node's place.
    pub fn restart(&mut self, node: usize, machine: M) {
        let place = &mut self.nodes[node];
        place.machine = machine;
        place.state = State::Up;
        place.wake = u64::MAX;
        place.wire.forget();
        self.input(node, |machine, now, acts| machine.wake(now, acts));
    }

    /// The process neither reads nor sends; its kernel lives.
    pub fn stop(&mut self, node: usize) {
        if self.is_up(node) {
            self.nodes[node].state = State::Stopped;
        }
    }

    pub fn resume(&mut self, node: usize) {
        if self.nodes[node].state != State::Stopped {
            return;
        }
        self.nodes[node].state = State::Up;
        let inbox = std::mem::take(&mut self.nodes[node].inbox);
        for (from, packet) in inbox {
            self.arrive(node, from, packet);
        }
        for about in std::mem::take(&mut self.nodes[node].kernel_said) {
            self.input(node, |machine, now, acts| {
                machine.kernel_answered(now, about, acts);
            });
        }
        self.input(node, |machine, now, acts| machine.wake(now, acts));
    }

    /// Only nodes on the same side reach each other.
    pub fn divide(&mut self, side: impl Fn(usize) -> u8) {
        self.sides = (0..self.nodes.len()).map(side).collect();
    }

    pub fn heal(&mut self) {
        self.divide(|_| 0);
    }

    pub fn run_until(&mut self, end: u64) {
        while self.queue.peek().is_some_and(|due| due.at <= end) {
            let Some(due) = self.queue.pop() else { break };
            self.now = due.at;
            self.happen(due.what);
        }
        self.now = end;
    }

    pub fn run_for(&mut self, time: u64) {
        self.run_until(self.now + time);
    }

    fn happen(&mut self, what: What<M::Packet>) {
        match what {
            What::Arrive { to, from, packet } => match self.nodes[to].state {
                State::Up => self.arrive(to, from, packet),
                State::Stopped if self.nodes[to].inbox.len() < INBOX => {
                    self.nodes[to].inbox.push_back((from, packet));
                }
                State::Stopped | State::Crashed => {}
            },
            What::KernelSays { to, about } => match self.nodes[to].state {
                State::Up => self.input(to, |machine, now, acts| {
                    machine.kernel_answered(now, about, acts);
                }),
                State::Stopped => self.nodes[to].kernel_said.push(about),
                State::Crashed => {}
            },
            What::Wake(node) => {
                if self.nodes[node].wake != self.now {
                    return;
                }
                self.nodes[node].wake = u64::MAX;
                if self.is_up(node) {
                    self.input(node, |machine, now, acts| machine.wake(now, acts));
                }
            }
        }
    }

    fn arrive(&mut self, to: usize, from: usize, packet: M::Packet) {
        let (transport, now) = (self.network.transport, self.now);
        self.nodes[to].wire.receive(transport, now, from);
        self.input(to, |machine, now, acts| {
            machine.receive(now, from, packet, acts);
        });
    }

    fn act(&mut self, node: usize, act: Act<M::Packet>) {
        match act {
            Act::Send { to, packet } => self.send(node, to, packet),
            Act::AskKernel(about) => {
                self.nodes[node].wire.sent += cost::KERNEL_PACKET;
                let answers = self.reach(node, about) && !self.is_crashed(about);
                if answers && !self.lost() {
                    self.nodes[about].wire.sent += cost::KERNEL_PACKET;
                    if !self.lost() {
                        let at = self.now + self.latency() + self.latency();
                        self.push(at, What::KernelSays { to: node, about });
                    }
                }
            }
            Act::Tell(told) => {
                if self.keep_told {
                    self.told.push((self.now, node, told));
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, packet: M::Packet) {
        let there = self.reach(from, to) && !self.is_crashed(to);
        let (transport, now) = (self.network.transport, self.now);
        let (bytes, reliable) = (packet.bytes(), packet.reliable());
        let wire = &mut self.nodes[from].wire;
        let opened = wire.send(transport, now, to, bytes, reliable, there);
        if !there {
            return;
        }
        let mut at = now + self.latency();
        if opened {
            self.nodes[to].wire.accept(now, from);
            at += self.latency() + self.latency();
        }
        if reliable {
            // TCP sends again after 200 ms.
            while self.lost() {
                at += 200_000;
            }
        } else if self.lost() {
            return;
        }
        self.push(at, What::Arrive { to, from, packet });
    }

    fn reach(&self, one: usize, other: usize) -> bool {
        self.sides[one] == self.sides[other]
    }

    fn lost(&mut self) -> bool {
        self.dice.happens(self.network.loss)
    }

    /// One way: a quarter of a millisecond, as much again on average in queues and in waiting for a
    /// processor, and one in a hundred up to ten more.
    fn latency(&mut self) -> u64 {
        let queued = -250.0 * (1.0 - self.dice.share()).ln();
        let slow = match self.dice.happens(0.01) {
            true => self.dice.below(10_000),
            false => 0,
        };
        250 + queued as u64 + slow
    }

    fn push(&mut self, at: u64, what: What<M::Packet>) {
        self.numbered += 1;
        self.queue.push(Due {
            at: at.max(self.now),
            number: self.numbered,
            what,
        });
    }
}

impl<P> Ord for Due<P> {
    /// The next one is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<P> PartialOrd for Due<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> PartialEq for Due<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<P> Eq for Due<P> {}
