//! What is believed of others changes here, and goes on to neighbours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::link::Rumour;
use super::message::{Kernel, Message, News, Reason};
use super::node::Life;
use super::output::Event;
use super::record::Taken;
use super::roster::Seat;
use super::state::Gossip;
use super::suspicion::Suspicion;
use super::time::Time;

/// All suspicions, and when each ends.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    about: BTreeMap<Seat, (Suspicion, Time)>,
    ends: BTreeSet<(Time, Seat)>,
}

/// Accusers of one node that others are told of.
const ACCUSERS_TOLD: usize = 4;
/// Who is missed is told so again after this.
const TELL_AGAIN: Duration = Duration::from_millis(50);

/// Before a node is given up that was only slow to be heard of, neighbours have so long to know better.
const LAST_QUESTION: Duration = Duration::from_millis(200);

impl Suspicions {
    pub(super) fn get(&self, seat: Seat) -> Option<&Suspicion> {
        self.about.get(&seat).map(|(suspicion, _)| suspicion)
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Members have other seats now.
    pub(super) fn move_to(&mut self, moved: impl Fn(Seat) -> Option<Seat>) {
        for (seat, (mut suspicion, end)) in std::mem::take(self).about {
            suspicion.move_to(&moved);
            if let Some(seat) = moved(seat) {
                self.keep(seat, suspicion, end);
            }
        }
    }

    pub(super) fn end(&mut self, seat: Seat) -> Option<Suspicion> {
        let (suspicion, end) = self.about.remove(&seat)?;
        self.ends.remove(&(end, seat));
        Some(suspicion)
    }

    fn keep(&mut self, seat: Seat, suspicion: Suspicion, end: Time) {
        let end = suspicion.asked_until.map_or(end, |until| until.max(end));
        self.ends.insert((end, seat));
        self.about.insert(seat, (suspicion, end));
    }
}

impl Gossip {
    pub(super) fn told_by(&mut self, from: Seat, message: Message) {
        let now = self.clock.now();
        match message {
            Message::Heartbeat { view } => self.compare_later(from, u64::from_le_bytes(view)),
            Message::Ping { number } => self.say(from, &Message::Ack { number }),
            Message::Ack { number } => {
                if let Some(link) = self.link(from)
                    && link.pong(number, now)
                {
                    let number = link.ping(now);
                    self.say(from, &Message::Ping { number });
                }
            }
            Message::Ask { about } => self.about(about, |it, about| it.asked(from, about)),
            Message::Heard { about } => {
                self.about(about, |it, about| it.relayed(from, about, true));
            }
            Message::Trying { about } => {
                self.about(about, |it, about| it.relayed(from, about, false));
            }
            Message::Suspect {
                node,
                life,
                by,
                kernel,
            } => self.about(node, |it, node| {
                if let Some(by) = it.seat(by) {
                    it.suspect(node, life, by, kernel, Some(from));
                }
            }),
            Message::Dead { node, life, reason } => {
                self.about(node, |it, node| it.give_up(node, life, reason, Some(from)));
            }
            Message::News(news) => {
                self.about(news.node, |it, node| it.learn(node, &news, from));
            }
            Message::Buckets { hashes } => self.compare_buckets(from, &hashes),
            Message::Summary { briefs } => {
                for brief in briefs.iter() {
                    self.about(brief.node, |it, node| it.compare_brief(from, node, brief));
                }
            }
            Message::Want { node, start, since } => {
                self.about(node, |it, node| it.wanted(from, node, start, since));
            }
        }
    }

    /// Of a member; of anybody else nothing is believed.
    fn about(&mut self, node: super::NodeId, what: impl FnOnce(&mut Self, Seat)) {
        if let Some(seat) = self.seat(node) {
            what(self, seat);
        }
    }

    /// This node itself has looked, and heard nothing.
    pub(super) fn suspect_myself(&mut self, seat: Seat, life: Life, kernel: Kernel) {
        if let Some(me) = self.me {
            self.suspect(seat, life, me, kernel, None);
        }
    }

    pub(super) fn suspect(
        &mut self,
        seat: Seat,
        life: Life,
        by: Seat,
        kernel: Kernel,
        from: Option<Seat>,
    ) {
        if Some(seat) == self.me {
            return self.refute(life, from);
        }
        if life < self.table.get(seat).life || !self.table.is_up(seat) {
            return;
        }
        self.meet(seat, life, from);
        let now = self.clock.now();
        let known = self.suspicions.end(seat);
        let new = known.is_none();
        let mut suspicion = known.unwrap_or_else(|| Suspicion::new(life, now));
        let counts = suspicion.accuse(by, kernel);
        let place = suspicion.accusers().iter().position(|it| it.0 == by);
        let told = place.is_some_and(|place| place < ACCUSERS_TOLD);
        let confirmers = self.confirmers(seat);
        let (end, _) = suspicion.verdict(confirmers, &self.timing);
        self.suspicions.keep(seat, suspicion, end);
        if new {
            self.event(Event::Suspect(self.table.roster.id(seat)));
            // Whoever watches it too does not wait for its own second of silence to pass.
            self.look_closely(seat);
        }
        if counts && told {
            for link in self.links.iter_mut().filter(|it| it.adjacent) {
                if Some(link.seat) != from {
                    link.queue.add_suspicion(seat, by, kernel);
                }
            }
        }
    }

    /// `from` has given the node up: here it can still refute that, but need not be given all the time.
    pub(super) fn buried(&mut self, seat: Seat, life: Life, from: Seat) {
        self.suspect(seat, life, from, Kernel::Unknown, Some(from));
        let Some(mut suspicion) = self.suspicions.end(seat) else {
            return;
        };
        suspicion.buried_since.get_or_insert(self.clock.now());
        let (end, _) = suspicion.verdict(self.confirmers(seat), &self.timing);
        self.suspicions.keep(seat, suspicion, end);
    }

    /// Neighbours who have to agree on a node's death: few enough that those who can do.
    fn confirmers(&self, seat: Seat) -> usize {
        let up = |seat: Seat| self.table.is_up(seat);
        let around = self.table.roster.neighbours(seat, up);
        let judges = around
            .iter()
            .filter(|it| self.suspicions.get(it.seat).is_none())
            .count();
        self.timing.confirmers.min(judges).max(1)
    }

    pub(super) fn give_up_who_is_due(&mut self, now: Time) {
        while let Some((end, seat)) = self.suspicions.ends.first().copied()
            && end <= now
        {
            let confirmers = self.confirmers(seat);
            let Some(mut suspicion) = self.suspicions.end(seat) else {
                break;
            };
            let (_, reason) = suspicion.verdict(confirmers, &self.timing);
            let life = suspicion.life;
            if reason == Reason::Unresponsive && suspicion.asked_until.is_none() {
                // It may have refuted long ago, and this node was stopped or overrun when that came by.
                let until = now + LAST_QUESTION;
                suspicion.asked_until = Some(until);
                self.suspicions.keep(seat, suspicion, until);
                self.ask_all_about(seat);
            } else {
                self.give_up(seat, life, reason, None);
            }
        }
    }

    fn give_up(&mut self, seat: Seat, life: Life, reason: Reason, from: Option<Seat>) {
        if Some(seat) == self.me {
            return self.refute(life, from);
        }
        if life < self.table.get(seat).life || !self.table.is_up(seat) {
            return;
        }
        self.meet(seat, life, from);
        self.suspicions.end(seat);
        self.table.change(seat, |record| record.dead = Some(reason));
        self.neighbours_moved = true;
        let node = self.table.roster.id(seat);
        self.event(Event::Dead { node, reason });
        let since = self.table.get(seat).version;
        self.spread_news(seat, since, from, true);
    }

    /// A later life of the node than the one that was known: it lived to begin that.
    pub(super) fn meet(&mut self, seat: Seat, life: Life, from: Option<Seat>) {
        let record = self.table.get(seat);
        if life <= record.life {
            return;
        }
        let was_dead = record.dead.is_some();
        let gone = self.table.change(seat, |record| {
            record.dead = None;
            record.begin(life)
        });
        let node = self.table.roster.id(seat);
        self.neighbours_moved |= was_dead;
        let suspected = self.suspicions.end(seat).is_some();
        let now = self.clock.now();
        if let Some(link) = self.link(seat) {
            link.heard = now;
            link.close_look = None;
        }
        if was_dead || suspected {
            self.event(Event::Alive(node));
        }
        for change in gone {
            self.event(Event::Changed { node, change });
        }
        let since = self.table.get(seat).version;
        self.spread_news(seat, since, from, true);
    }

    /// News of a node, by `from`.
    fn learn(&mut self, seat: Seat, news: &News, from: Seat) {
        if Some(seat) == self.me {
            return self.compare_myself(news.life, news.to);
        }
        self.meet(seat, news.life, Some(from));
        let record = self.table.get(seat);
        if news.life.start != record.life.start {
            return;
        }
        let (start, since) = (record.life.start, record.version);
        if !news.whole && (news.to <= since || news.from > since) {
            if news.from > since {
                let node = news.node;
                self.say(from, &Message::Want { node, start, since });
            }
            return;
        }
        let (now, remember) = (self.clock.now(), self.timing.remember);
        let taken = self
            .table
            .change(seat, |record| record.take(news, now, remember));
        if let Taken::New(changes) = taken {
            let node = news.node;
            let urgent = changes.iter().any(|it| it.key() != super::FactKey::Load);
            for change in changes {
                self.event(Event::Changed { node, change });
            }
            if self.table.get(seat).version > since {
                self.spread_news(seat, since, Some(from), urgent);
            }
        }
    }

    /// Somebody believes of this node what it has not said, in this life or in one before.
    pub(super) fn compare_myself(&mut self, life: Life, version: u64) {
        let Some(me) = self.me else { return };
        let own = self.table.get(me);
        let same_start = life.start == own.life.start;
        if life > own.life || same_start && version > own.version {
            self.refute_beyond(life, same_start && version > own.version);
        }
    }

    /// Somebody misses this node, in this life or a later one.
    fn refute(&mut self, life: Life, from: Option<Seat>) {
        let Some(me) = self.me else { return };
        if life >= self.table.get(me).life {
            self.health.worse();
            self.refute_beyond(life, false);
        }
        // Whoever said so may be no neighbour: on the other side of a network that was divided.
        if let Some(from) = from {
            let since = self.table.get(me).version;
            self.say_news(from, me, since);
        }
    }

    /// Begins a life that outdoes what others believe of this node. With a new start it says again all
    /// that it has said: others believe what a process of before has said.
    fn refute_beyond(&mut self, life: Life, mut new_start: bool) {
        let Some(me) = self.me else { return };
        let own = self.table.get(me).life;
        new_start |= life.start > own.start;
        let facts: Vec<_> = self.table.get(me).facts().copied().collect();
        let next = match new_start {
            true => Life::of_start(own.start.max(life.start).saturating_add(1)),
            false => own.beyond(life),
        };
        let (now, remember) = (self.clock.now(), self.timing.remember);
        self.table.change(me, |own| {
            own.begin(next);
            if new_start {
                for fact in facts {
                    own.set(super::Change::Set(fact), now, remember);
                }
            }
        });
        let since = match new_start {
            true => 0,
            false => self.table.get(me).version,
        };
        for link in &mut self.links {
            link.queue.add_news(me, since, true);
        }
    }

    /// Queues what is believed of `seat` for those beside this node, except who said so.
    pub(super) fn spread_news(&mut self, seat: Seat, since: u64, from: Option<Seat>, urgent: bool) {
        for link in self.links.iter_mut().filter(|it| it.adjacent) {
            if Some(link.seat) != from {
                link.queue.add_news(seat, since, urgent);
            }
        }
    }

    /// What is to be told is what is believed now.
    pub(super) fn say_rumour(&mut self, to: Seat, about: Seat, rumour: &Rumour) {
        let node = self.table.roster.id(about);
        if let Some(since) = rumour.news_since {
            self.say_news(to, about, since);
        }
        let Some(life) = self.suspicions.get(about).map(|it| it.life) else {
            return;
        };
        for (by, kernel) in &rumour.suspicions {
            let by = self.table.roster.id(*by);
            let kernel = *kernel;
            let suspect = Message::Suspect {
                node,
                life,
                by,
                kernel,
            };
            self.say(to, &suspect);
        }
    }

    pub(super) fn say_news(&mut self, to: Seat, about: Seat, since: u64) {
        let node = self.table.roster.id(about);
        let record = self.table.get(about);
        let life = record.life;
        if let Some(reason) = record.dead {
            return self.say(to, &Message::Dead { node, life, reason });
        }
        for news in record.news(node, since) {
            self.say(to, &Message::News(news));
        }
    }

    /// Who is believed dead or silent and says something is told, for only it can refute that.
    pub(super) fn tell_the_missed(&mut self, from: Seat) {
        let record = self.table.get(from);
        let suspicion = self.suspicions.get(from);
        if record.dead.is_none() && suspicion.is_none() {
            return;
        }
        let now = self.clock.now();
        let told = self.told.get(&from).copied().unwrap_or_default();
        if told != Time::ZERO && now < told + TELL_AGAIN {
            return;
        }
        self.told.retain(|_, at| now < *at + TELL_AGAIN);
        self.told.insert(from, now);
        let accuser = suspicion.and_then(|it| it.accusers().first().copied());
        match accuser {
            Some((by, kernel)) => {
                let rumour = Rumour {
                    news_since: None,
                    suspicions: vec![(by, kernel)],
                };
                self.say_rumour(from, from, &rumour);
            }
            None => self.say_news(from, from, u64::MAX),
        }
    }
}
