//! Hearing neighbours, and looking closely at those that are silent.

use std::time::Duration;

use super::link::{CloseLook, KERNEL_PAUSE, Link};
use super::message::{Kernel, Message};
use super::roster::Seat;
use super::state::Gossip;
use super::time::Time;

/// Somebody wants to know whether a node is heard.
#[derive(Debug)]
pub(super) struct Asked {
    by: Seat,
    about: Seat,
    until: Time,
}

/// Questions that are kept for an answer.
const MOST_ASKED: usize = 32;
const ASKED_FOR: Duration = Duration::from_secs(1);
/// Whoever said something so short a time ago need not be asked again.
const FRESH: Duration = Duration::from_millis(50);
/// Neighbours of both that are asked about a silent one.
const RELAYS: usize = 3;
/// After so much time without trouble, a node trusts itself a bit more.
const HEALING: Duration = Duration::from_secs(2);

impl Gossip {
    /// Somebody has said something, whatever it was.
    pub(super) fn heard(&mut self, from: Seat) {
        let now = self.clock.now();
        let mut was_looked_at = false;
        if let Some(link) = self.link(from) {
            link.heard = now;
            was_looked_at = link.close_look.take().is_some();
        }
        if was_looked_at {
            self.health.better();
        }
        self.answer_askers(from);
        self.tell_the_missed(from);
    }

    pub(super) fn kernel_heard(&mut self, seat: Seat) {
        let mut retract = false;
        if let Some(link) = self.link(seat) {
            link.kernel.answers = true;
            link.kernel.asks_left = 0;
            if let Some(look) = &mut link.close_look {
                look.kernel_answered = true;
                retract = look.accused;
            }
        }
        if retract {
            let life = self.table.get(seat).life;
            self.suspect_myself(seat, life, Kernel::Answers);
        }
        if !self.table.is_up(seat) {
            self.knock_on(seat);
        }
    }

    /// Whoever watches `about` too wants to know.
    pub(super) fn asked(&mut self, by: Seat, about: Seat) {
        let now = self.clock.now();
        let id = self.table.roster.id(about);
        let Some(link) = self.link(about) else {
            return;
        };
        if now.since(link.heard) <= FRESH {
            return self.say(by, &Message::Heard { about: id });
        }
        self.say(by, &Message::Trying { about: id });
        self.look_closely(about);
        let known = |it: &Asked| it.by == by && it.about == about;
        if self.asked.len() < MOST_ASKED && !self.asked.iter().any(known) {
            let until = now + ASKED_FOR;
            self.asked.push(Asked { by, about, until });
        }
    }

    /// `by`, which was asked, has heard the node, or tries to.
    pub(super) fn relayed(&mut self, by: Seat, about: Seat, heard: bool) {
        let now = self.clock.now();
        let Some(link) = self.link(about) else {
            return;
        };
        let Some(look) = &mut link.close_look else {
            return;
        };
        if !look.relays.contains(&by) {
            return;
        }
        look.relay_answered = true;
        if heard && !look.accused {
            link.heard = now;
            link.close_look = None;
            self.answer_askers(about);
        }
    }

    /// Begins, unless it was heard just now or has begun.
    pub(super) fn look_closely(&mut self, seat: Seat) {
        let now = self.clock.now();
        let shared = self.shared_with(seat);
        let Some(link) = self.link(seat) else {
            return;
        };
        if link.close_look.is_none() && now.since(link.heard) > FRESH {
            link.close_look = Some(CloseLook::new(now, shared));
        }
    }

    /// All that is due.
    pub(super) fn tick(&mut self) {
        let now = self.clock.now();
        for at in 0..self.links.len() {
            self.beat(at, now);
            self.first_question_to_kernel(at, now);
            let silence = self.health.stretch(self.timing.silence);
            if now >= self.links[at].heard + silence {
                self.look_closely(self.links[at].seat);
            }
            self.next_round(at, now);
            self.compare_if_due(at, now);
        }
        self.give_up_who_is_due(now);
        self.asked.retain(|it| it.until > now);
        if now >= self.knock {
            self.knock = now + self.timing.knock;
            self.knock_somewhere();
        }
        if now >= self.healed + HEALING {
            self.healed = now;
            self.health.better();
        }
    }

    pub(super) fn next_tick(&self) -> Time {
        let silence = self.health.stretch(self.timing.silence);
        let of_links = self.links.iter().flat_map(|link| {
            let look = link.close_look.as_ref();
            [
                Some(link.beat),
                Some(look.map_or(link.heard + silence, |look| look.next)),
                link.differs.map(|(due, _)| due),
                (link.kernel.asks_left > 0).then_some(link.kernel.next),
            ]
        });
        let knock = (self.table.dead() > 0).then_some(self.knock);
        let others = [self.suspicions.next(), knock];
        let next = of_links.chain(others).flatten().min();
        next.unwrap_or(Time::NEVER)
    }

    /// The process was stopped, and others may have missed it: they hear of it at once.
    pub(super) fn was_stopped(&mut self) {
        let now = self.clock.now();
        self.health.worse();
        for link in &mut self.links {
            link.beat = now;
        }
    }

    /// Neighbours may be others than before.
    pub(super) fn relink(&mut self) {
        let now = self.clock.now();
        let around = match self.me {
            Some(me) => {
                let up = |seat: Seat| self.table.is_up(seat);
                self.table.roster.neighbours(me, up)
            }
            None => Vec::new(),
        };
        let mut before = std::mem::take(&mut self.links);
        for neighbour in around {
            let known = before.iter().position(|link| link.seat == neighbour.seat);
            if let Some(at) = known {
                let mut link = before.swap_remove(at);
                link.adjacent = neighbour.adjacent;
                self.links.push(link);
            } else {
                let beat = self.timing.beat.as_micros() as u64;
                let first = Duration::from_micros(self.dice.below(beat));
                let mut link = Link::new(neighbour, now, now + first);
                let number = link.ping(now);
                self.links.push(link);
                self.say(neighbour.seat, &Message::Ping { number });
            }
        }
    }

    fn beat(&mut self, at: usize, now: Time) {
        let view = self.table.view().to_le_bytes();
        let link = &mut self.links[at];
        if now < link.beat {
            return;
        }
        link.beat += self.timing.beat;
        if link.beat <= now {
            link.beat = now + self.timing.beat;
        }
        let to = link.seat;
        self.say(to, &Message::Heartbeat { view });
    }

    fn first_question_to_kernel(&mut self, at: usize, now: Time) {
        let link = &mut self.links[at];
        if link.kernel.asks_left > 0 && now >= link.kernel.next {
            link.kernel.asks_left -= 1;
            link.kernel.next = now + KERNEL_PAUSE;
            let seat = link.seat;
            self.ask_kernel(seat);
        }
    }

    fn next_round(&mut self, at: usize, now: Time) {
        let link = &mut self.links[at];
        let pause = self.health.stretch(link.round(self.timing.round));
        let seat = link.seat;
        let Some(look) = &mut link.close_look else {
            return;
        };
        if now < look.next {
            return;
        }
        look.round += 1;
        if look.round <= self.timing.rounds {
            look.next = now + pause;
            let ask_kernel = !look.kernel_answered;
            // The first ping may just have been lost.
            let relays = match look.round {
                0 | 1 => Vec::new(),
                _ => look.relays.clone(),
            };
            let number = link.ping(now);
            self.say(seat, &Message::Ping { number });
            if ask_kernel {
                self.ask_kernel(seat);
            }
            let about = self.table.roster.id(seat);
            for relay in relays {
                self.say(relay, &Message::Ask { about });
            }
            return;
        }
        // It goes on, slowly: whoever comes back is to be met.
        look.next = now + self.timing.beat;
        let first = !std::mem::replace(&mut look.accused, true);
        let alone = !look.relays.is_empty() && !look.relay_answered;
        let answered = look.kernel_answered;
        let kernel = link.evidence(answered);
        let number = link.ping(now);
        self.say(seat, &Message::Ping { number });
        if first {
            if alone {
                self.health.worse();
            }
            let life = self.table.get(seat).life;
            self.suspect_myself(seat, life, kernel);
        }
    }

    /// Neighbours of this node that watch `seat` too.
    fn shared_with(&self, seat: Seat) -> Vec<Seat> {
        let around = self
            .table
            .roster
            .neighbours(seat, |seat| self.table.is_up(seat));
        let mine = |seat: Seat| self.links.iter().any(|link| link.seat == seat);
        let shared = around.iter().map(|it| it.seat).filter(|it| mine(*it));
        shared.take(RELAYS).collect()
    }

    fn answer_askers(&mut self, about: Seat) {
        if self.asked.is_empty() {
            return;
        }
        let id = self.table.roster.id(about);
        for asked in std::mem::take(&mut self.asked) {
            if asked.about == about {
                self.say(asked.by, &Message::Heard { about: id });
            } else {
                self.asked.push(asked);
            }
        }
    }
}
