//! The state machine: its inputs, and what every one of them ends with.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::budget::{self, Budget};
use super::dice::Dice;
use super::fact::{Change, Fact, FactKey};
use super::health::Health;
use super::link::Link;
use super::message::Message;
use super::node::{Life, NodeId};
use super::output::{Event, Output};
use super::probe::Asked;
use super::roster::{Roster, Seat};
use super::rumour::Suspicions;
use super::table::Table;
use super::time::{AwakeClock, Time};
use super::timing::Timing;
use super::wire::{self, Packet};

/// What one node knows of all, and what it does about it. After each input, [`Self::take`] until it
/// gives nothing more, and call [`Self::wake`] at [`Self::wake_at`].
#[derive(Debug)]
pub struct Gossip {
    pub(super) timing: Timing,
    pub(super) clock: AwakeClock,
    pub(super) dice: Dice,
    pub(super) id: NodeId,
    /// Its own place in the roster; none when it does not belong to the cluster (any more).
    pub(super) me: Option<Seat>,
    pub(super) table: Table,
    pub(super) links: Vec<Link>,
    pub(super) suspicions: Suspicions,
    pub(super) asked: Vec<Asked>,
    pub(super) health: Health,
    pub(super) healed: Time,
    pub(super) budget: Budget,
    pub(super) compared: Time,
    pub(super) knock: Time,
    /// When nodes that are believed dead or silent were told so.
    pub(super) told: BTreeMap<Seat, Time>,
    /// Somebody died or came back, so neighbours may be others.
    pub(super) neighbours_moved: bool,
    /// A load that it is too soon to tell, and when it no longer is.
    load: (Option<u8>, Time),
    packets: Vec<(Seat, Packet)>,
    outputs: VecDeque<Output>,
    wake_at: Time,
}

/// What is believed of a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Alive,
    Suspect,
    Dead,
}

/// Steps of the load that are worth telling.
const LOAD_STEP: u8 = 16;
const LOAD_PAUSE_LEAST: std::time::Duration = std::time::Duration::from_secs(5);

impl Gossip {
    /// `start` grows with every start of this node's process. `seed` is this node's own.
    pub fn new(id: NodeId, start: u64, seed: u64, timing: Timing, now: Time) -> Self {
        let alone = Arc::new(Roster::new([id]));
        let mut table = Table::new(alone);
        table.change(0, |own| own.begin(Life::of_start(start)));
        Self {
            timing,
            clock: AwakeClock::new(now),
            dice: Dice::new(seed),
            id,
            me: Some(0),
            table,
            links: Vec::new(),
            suspicions: Suspicions::default(),
            asked: Vec::new(),
            health: Health::default(),
            healed: now,
            budget: Budget::new(timing.bytes_per_second, timing.burst_bytes, now),
            compared: Time::ZERO,
            knock: now + timing.knock,
            told: BTreeMap::new(),
            neighbours_moved: false,
            load: (None, now),
            packets: Vec::new(),
            outputs: VecDeque::new(),
            wake_at: Time::NEVER,
        }
    }

    /// Who belongs to the cluster from now on.
    pub fn set_members(&mut self, now: Time, roster: Arc<Roster>) {
        self.turn(now, |gossip| gossip.move_to(roster));
    }

    /// A datagram that `from`, and nobody else, has sent.
    pub fn receive(&mut self, now: Time, from: NodeId, datagram: &[u8]) {
        self.turn(now, |gossip| {
            let Some(from) = gossip.seat(from).filter(|it| Some(*it) != gossip.me) else {
                return;
            };
            gossip.heard(from);
            for message in wire::messages(datagram) {
                gossip.told_by(from, message);
            }
        });
    }

    /// The node's kernel answered what [`Output::AskKernel`] asked of it.
    pub fn kernel_answered(&mut self, now: Time, node: NodeId) {
        self.turn(now, |gossip| {
            if let Some(seat) = gossip.seat(node) {
                gossip.kernel_heard(seat);
            }
        });
    }

    /// Time has passed.
    pub fn wake(&mut self, now: Time) {
        self.turn(now, |_| {});
    }

    /// This node says so of itself from now on. Not when it says too much already.
    pub fn set(&mut self, now: Time, fact: Fact) -> Result<(), TooManyFacts> {
        self.turn(now, |gossip| match fact {
            Fact::Load(load) => {
                gossip.load.0 = Some(load);
                Ok(())
            }
            other => gossip.say_of_myself(Change::Set(other), true),
        })
    }

    /// This node no longer says so of itself.
    pub fn unset(&mut self, now: Time, key: FactKey) {
        self.turn(now, |gossip| {
            let Some(me) = gossip.me else { return };
            if gossip.table.get(me).fact(key).is_some() {
                // What is there can always go.
                let _ = gossip.say_of_myself(Change::Gone(key), true);
            }
        });
    }

    /// What is to be done now.
    pub fn take(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::wake`].
    pub const fn wake_at(&self) -> Time {
        self.wake_at
    }

    /// With whom connections should stand.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.links
            .iter()
            .map(|link| self.table.roster.id(link.seat))
    }

    /// What is believed of a member.
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        let seat = self.seat(node)?;
        Some(match self.table.is_up(seat) {
            false => Standing::Dead,
            true if self.suspicions.get(seat).is_some() => Standing::Suspect,
            true => Standing::Alive,
        })
    }

    /// What a member says of itself.
    pub fn facts(&self, node: NodeId) -> impl Iterator<Item = &Fact> {
        let seat = self.seat(node);
        seat.into_iter()
            .flat_map(|seat| self.table.get(seat).facts())
    }

    /// The same on all nodes that believe the same.
    pub fn view(&self) -> u64 {
        self.table.view()
    }

    fn turn<T>(&mut self, now: Time, input: impl FnOnce(&mut Self) -> T) -> T {
        if self.clock.advance(now).is_some() {
            self.was_stopped();
        }
        let result = input(self);
        if self.me.is_some() {
            self.tick();
            self.tell_load();
            if std::mem::take(&mut self.neighbours_moved) {
                self.relink();
            }
        }
        self.flush();
        self.promise();
        result
    }

    fn move_to(&mut self, roster: Arc<Roster>) {
        self.flush();
        let old = Arc::clone(&self.table.roster);
        let moved = |seat: Seat| roster.seat(old.id(seat));
        self.table.move_to(Arc::clone(&roster));
        self.links.retain_mut(|link| link.move_to(moved));
        self.suspicions.move_to(moved);
        self.asked.clear();
        self.told.clear();
        self.me = roster.seat(self.id);
        self.relink();
        // Who has just come is not known to anybody; all others are.
        if let Some(me) = self.me
            && old.len() <= 1
        {
            for link in &mut self.links {
                link.queue.add_news(me, 0, true);
            }
        }
    }

    fn say_of_myself(&mut self, change: Change, urgent: bool) -> Result<(), TooManyFacts> {
        let Some(me) = self.me else { return Ok(()) };
        let own = self.table.get(me);
        let since = own.version;
        if let Change::Set(fact) = change
            && own.fact(fact.key()) == Some(&fact)
        {
            return Ok(());
        }
        let (now, remember) = (self.clock.now(), self.timing.remember);
        let kept = self.table.change(me, |own| own.set(change, now, remember));
        if !kept {
            return Err(TooManyFacts);
        }
        self.spread_news(me, since, None, urgent);
        Ok(())
    }

    /// Loads change all the time, so they are told in steps, seldom, and with the heartbeats.
    fn tell_load(&mut self) {
        let (Some(load), due) = self.load else { return };
        let Some(me) = self.me else { return };
        let now = self.clock.now();
        if now < due {
            return;
        }
        self.load.0 = None;
        let told = match self.table.get(me).fact(FactKey::Load) {
            Some(Fact::Load(told)) => Some(*told),
            _ => None,
        };
        if told.is_none_or(|told| told.abs_diff(load) >= LOAD_STEP) {
            let size = u32::try_from(self.table.roster.len()).unwrap_or(u32::MAX);
            let pause = self.timing.load.saturating_mul(size);
            self.load.1 = now + pause.max(LOAD_PAUSE_LEAST);
            // There is always room for one of four facts that are not tasks, or it is not told.
            let _ = self.say_of_myself(Change::Set(Fact::Load(load)), false);
        }
    }

    /// Puts what is to be said into datagrams.
    fn flush(&mut self) {
        let now = self.clock.now();
        for at in 0..self.links.len() {
            let to = self.links[at].seat;
            // What is not urgent goes with whatever else goes there.
            let sending = self.packets.iter().any(|(seat, _)| *seat == to);
            while (sending || self.links[at].queue.urgent) && self.budget.allows(now) {
                let Some((about, rumour)) = self.links[at].queue.pop() else {
                    break;
                };
                self.say_rumour(to, about, &rumour);
            }
        }
        for (to, packet) in std::mem::take(&mut self.packets) {
            let to = self.table.roster.id(to);
            let datagram = packet.into_bytes();
            self.outputs.push_back(Output::Send { to, datagram });
        }
    }

    fn promise(&mut self) {
        let mut wake = self.next_tick();
        if self.links.iter().any(|link| link.queue.urgent) {
            wake = wake.min(self.clock.now() + budget::REFILL);
        }
        if let (Some(_), due) = self.load {
            wake = wake.min(due);
        }
        self.wake_at = if self.links.is_empty() {
            Time::NEVER
        } else {
            self.clock.promise(wake)
        };
    }

    pub(super) fn seat(&self, node: NodeId) -> Option<Seat> {
        self.table.roster.seat(node)
    }

    pub(super) fn link(&mut self, seat: Seat) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.seat == seat)
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn ask_kernel(&mut self, seat: Seat) {
        let node = self.table.roster.id(seat);
        self.outputs.push_back(Output::AskKernel { node });
    }

    /// Into the datagram that goes to `to` at the end of this turn.
    pub(super) fn say(&mut self, to: Seat, message: &Message) {
        let at = match self.packets.iter().position(|(seat, _)| *seat == to) {
            Some(at) => at,
            None => {
                self.packets.push((to, Packet::new()));
                self.packets.len() - 1
            }
        };
        let packet = &mut self.packets[at].1;
        let before = packet.len();
        let full = packet.push(message);
        let written = match &full {
            Some(_) => packet.len(),
            None => packet.len() - before,
        };
        self.budget.spend(written);
        if let Some(datagram) = full {
            let to = self.table.roster.id(to);
            self.outputs.push_back(Output::Send { to, datagram });
        }
    }
}

/// The node says as many things of itself as others keep of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node says at most {} things of itself", super::MOST_FACTS)]
pub struct TooManyFacts;
