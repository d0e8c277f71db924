//! swarmr's state machine as a node of the simulation.

use std::sync::Arc;

use swarmr_net::gossip::{
    Event, Fact, Gossip, NodeId, Output, Phase, Roster, TaskId, Time, Timing,
};

use crate::dice::mix;
use crate::machine::{Act, Machine, Packet, Told};
use crate::world::{Network, World};

#[derive(Debug)]
pub struct Swarmr {
    pub gossip: Gossip,
    changes: u128,
}

impl Packet for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Swarmr {
    /// A process of the node that is started now.
    pub fn start(node: usize, start: u64, roster: &Arc<Roster>, seed: u64, now: u64) -> Self {
        let now = Time::from_micros(now);
        let seed = mix(seed ^ mix(node as u64));
        let mut gossip = Gossip::new(id(node), start, seed, Timing::default(), now);
        gossip.set_members(now, Arc::clone(roster));
        Self { gossip, changes: 0 }
    }

    pub fn roster(count: usize) -> Arc<Roster> {
        Arc::new(Roster::new((0..count).map(id)))
    }

    /// A cluster that has been up for a while: everybody is known and connected. It runs two seconds.
    pub fn settled(count: usize, network: Network, seed: u64) -> World<Self> {
        let roster = Self::roster(count);
        let start = |node| Self::start(node, 0, &roster, seed, 0);
        let machines: Vec<Self> = (0..count).map(start).collect();
        let near: Vec<Vec<usize>> = machines
            .iter()
            .map(|it| it.gossip.neighbours().map(number).collect())
            .collect();
        let lossless = Network {
            loss: 0.0,
            ..network
        };
        let mut world = World::new(machines, lossless, seed);
        for (node, near) in near.iter().enumerate() {
            near.iter().for_each(|other| world.stand(node, *other));
        }
        world.run_for(2_000_000);
        world.network = network;
        world
    }

    fn acts(&mut self, acts: &mut Vec<Act<Vec<u8>>>) {
        while let Some(output) = self.gossip.take() {
            acts.push(match output {
                Output::Send { to, datagram } => Act::Send {
                    to: number(to),
                    packet: datagram,
                },
                Output::AskKernel { node } => Act::AskKernel(number(node)),
                Output::Event(event) => Act::Tell(match event {
                    Event::Suspect(node) => Told::Suspect(number(node)),
                    Event::Dead { node, .. } => Told::Dead(number(node)),
                    Event::Alive(node) => Told::Alive(number(node)),
                    Event::Changed { node, .. } => Told::Changed(number(node)),
                }),
            });
        }
    }
}

impl Machine for Swarmr {
    type Packet = Vec<u8>;

    fn receive(&mut self, now: u64, from: usize, packet: Vec<u8>, acts: &mut Vec<Act<Vec<u8>>>) {
        self.gossip
            .receive(Time::from_micros(now), id(from), &packet);
        self.acts(acts);
    }

    fn kernel_answered(&mut self, now: u64, node: usize, acts: &mut Vec<Act<Vec<u8>>>) {
        self.gossip
            .kernel_answered(Time::from_micros(now), id(node));
        self.acts(acts);
    }

    fn wake(&mut self, now: u64, acts: &mut Vec<Act<Vec<u8>>>) {
        self.gossip.wake(Time::from_micros(now));
        self.acts(acts);
    }

    fn wake_at(&self) -> u64 {
        self.gossip.wake_at().as_micros()
    }

    fn change(&mut self, now: u64, acts: &mut Vec<Act<Vec<u8>>>) {
        let now = Time::from_micros(now);
        self.changes += 1;
        let task = TaskId(self.changes);
        // More than a node may say is refused, and no scenario says so much.
        let said = self.gossip.set(now, Fact::Task(task, Phase::Serving));
        debug_assert!(said.is_ok());
        self.acts(acts);
    }
}

/// Ids are spread over all 128 bits, and the number can be read back.
pub(crate) fn id(node: usize) -> NodeId {
    NodeId(u128::from(mix(node as u64 + 1)) << 64 | node as u128)
}

fn number(id: NodeId) -> usize {
    id.0 as u64 as usize
}
