//! What is measured, of either arm.

use crate::cost::Transport;
use crate::dice::Dice;
use crate::machine::{Machine, Told};
use crate::memberlist::Memberlist;
use crate::swarmr::Swarmr;
use crate::world::{Network, World};

const SECOND: u64 = 1_000_000;

/// A state machine of which a cluster can be made.
pub trait Kind: Machine + Sized {
    const TRANSPORT: Transport;

    fn cluster(count: usize, network: Network, seed: u64) -> World<Self>;
}

impl Kind for Swarmr {
    const TRANSPORT: Transport = Transport::Quic;

    fn cluster(count: usize, network: Network, seed: u64) -> World<Self> {
        Self::settled(count, network, seed)
    }
}

impl Kind for Memberlist {
    const TRANSPORT: Transport = Transport::Udp;

    fn cluster(count: usize, network: Network, seed: u64) -> World<Self> {
        Self::settled(count, network, seed)
    }
}

/// Of one crash, microseconds after it; none: not until the end.
#[derive(Debug, Clone, Copy)]
pub struct Detection {
    /// Somebody believes that the node is dead.
    pub first: Option<u64>,
    /// Everybody does, whoever lives.
    pub all: Option<u64>,
}

/// Crashes one node after the other and watches until `patience` after the last.
pub fn crashes<M: Kind>(
    count: usize,
    loss: f64,
    seed: u64,
    crashed: usize,
    pause: u64,
    patience: u64,
) -> Vec<Detection> {
    let mut world = network::<M>(count, loss, seed);
    let mut dice = Dice::new(seed ^ 0xc4a5);
    let mut when = Vec::new();
    while when.len() < crashed {
        let node = dice.below(count as u64) as usize;
        if world.is_crashed(node) {
            continue;
        }
        world.crash(node);
        when.push((node, world.now));
        world.run_for(pause / 2 + dice.below(pause.max(1)));
    }
    world.run_for(patience);
    let living = (0..count).filter(|it| !world.is_crashed(*it)).count();
    let judge = |(node, at): &(usize, u64)| {
        let verdicts = world
            .told
            .iter()
            .filter(|(_, by, told)| *told == Told::Dead(*node) && !world.is_crashed(*by));
        let times: Vec<u64> = verdicts.map(|(when, ..)| when - at).collect();
        Detection {
            first: times.first().copied(),
            all: (times.len() >= living)
                .then(|| times.last().copied())
                .flatten(),
        }
    };
    when.iter().map(judge).collect()
}

/// How long changes take to everybody, microseconds; none: not until the end.
pub fn spreads<M: Kind>(
    count: usize,
    loss: f64,
    seed: u64,
    changes: usize,
    patience: u64,
) -> Vec<Option<u64>> {
    let mut world = network::<M>(count, loss, seed);
    let mut dice = Dice::new(seed ^ 0x5b3d);
    let spread = |_| {
        world.told.clear();
        let (node, at) = (dice.below(count as u64) as usize, world.now);
        world.change(node);
        let mut heard = 0;
        let mut seen = 0;
        while heard < count - 1 && world.now < at + patience {
            world.run_for(SECOND / 20);
            let new = &world.told[seen..];
            heard += new.iter().filter(|it| it.2 == Told::Changed(node)).count();
            seen = world.told.len();
        }
        let last = world
            .told
            .iter()
            .rev()
            .find(|it| it.2 == Told::Changed(node));
        last.filter(|_| heard >= count - 1).map(|it| it.0 - at)
    };
    (0..changes).map(spread).collect()
}

/// Bytes that a node sends in a second while nothing happens.
pub fn idle_bytes<M: Kind>(count: usize, loss: f64, seed: u64, seconds: u64) -> f64 {
    let mut world = network::<M>(count, loss, seed);
    world.run_for(12 * SECOND);
    let before = world.sent();
    world.run_for(seconds * SECOND);
    (world.sent() - before) as f64 / count as f64 / seconds as f64
}

/// Runs and counts how often a living node was declared dead. A share of the nodes, others every time,
/// is stopped at any moment, each for half a second to five; between two stops it runs for a second.
pub fn watch<M: Kind>(count: usize, loss: f64, stopped: f64, seed: u64, seconds: u64) -> usize {
    let mut world = network::<M>(count, loss, seed);
    let mut dice = Dice::new(seed ^ 0xa11e);
    let wanted = (count as f64 * stopped) as usize;
    let mut resume_at: Vec<(u64, usize)> = Vec::new();
    let mut free_at = vec![0; count];
    let mut alarms = Alarms::default();
    let end = world.now + seconds * SECOND;
    while world.now < end {
        while resume_at.len() < wanted {
            let node = dice.below(count as u64) as usize;
            if world.is_up(node) && free_at[node] <= world.now {
                world.stop(node);
                let pause = SECOND / 2 + dice.below(9 * SECOND / 2);
                resume_at.push((world.now + pause, node));
            }
        }
        world.run_for(SECOND / 50);
        let now = world.now;
        resume_at.retain(|(at, node)| {
            let over = *at <= now;
            if over {
                world.resume(*node);
                free_at[*node] = now + SECOND;
            }
            !over
        });
        alarms.count(&mut world);
    }
    alarms.number
}

#[derive(Debug, Default)]
struct Alarms {
    number: usize,
    /// Who was declared dead lately, by however many: that is one alarm.
    recent: Vec<(u64, usize)>,
}

impl Alarms {
    fn count<M: Machine>(&mut self, world: &mut World<M>) {
        let told = std::mem::take(&mut world.told);
        self.recent.retain(|(at, _)| world.now < at + 30 * SECOND);
        for (at, _, told) in told {
            if let Told::Dead(node) = told
                && !world.is_crashed(node)
                && !self.recent.iter().any(|it| it.1 == node)
            {
                self.number += 1;
                self.recent.push((at, node));
            }
        }
    }
}

fn network<M: Kind>(count: usize, loss: f64, seed: u64) -> World<M> {
    let network = Network {
        loss,
        transport: M::TRANSPORT,
    };
    M::cluster(count, network, seed)
}

/// Of what is not there, nothing; what was never reached counts as the longest.
pub fn quantile(times: &[Option<u64>], share: f64) -> Option<u64> {
    let mut times: Vec<u64> = times.iter().map(|it| it.unwrap_or(u64::MAX)).collect();
    times.sort_unstable();
    let at = ((times.len() as f64 * share) as usize).min(times.len().checked_sub(1)?);
    times.get(at).copied().filter(|it| *it != u64::MAX)
}
