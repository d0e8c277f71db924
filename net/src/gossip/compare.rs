//! Two nodes that believe different things find out which, and mend it; and the dead are looked for.

use super::few::Few;
use super::message::{Brief, Kernel, Message};
use super::node::NodeId;
use super::roster::Seat;
use super::state::Gossip;
use super::time::Time;

/// Briefs in one message: they fit a datagram whatever the numbers are.
const BRIEFS: usize = 24;
/// Briefs in one answer; what does not fit is found by the next comparison.
const MOST_BRIEFS: usize = 4 * BRIEFS;
/// Knocks that a dead node gets in a pause between knocks, from all together.
const KNOCKS: u64 = 8;
/// One in so many knocks does not ask the kernel first, which a firewall may hide.
const BLIND: u64 = 6;

impl Gossip {
    /// A neighbour has told the hash of its beliefs.
    pub(super) fn compare_later(&mut self, from: Seat, view: u64) {
        let own = self.table.view();
        let due = self.clock.now() + self.timing.settle;
        let Some(link) = self.link(from) else {
            return;
        };
        let since = link.differs.map_or(due, |(since, _)| since);
        link.differs = (view != own).then_some((since, view));
    }

    /// Where a difference was no news under way, this side begins to compare.
    pub(super) fn compare_if_due(&mut self, at: usize, now: Time) {
        let Some((due, view)) = self.links[at].differs else {
            return;
        };
        if now < due {
            return;
        }
        let own = self.table.view();
        let next = self.compared + self.timing.compare;
        if view != own && self.compared != Time::ZERO && now < next {
            self.links[at].differs = Some((next, view));
            return;
        }
        self.links[at].differs = None;
        if view != own && self.budget.allows(now) {
            self.compared = now;
            let hashes: Few<[u8; 4]> = self.table.buckets().collect();
            let to = self.links[at].seat;
            self.say(to, &Message::Buckets { hashes });
        }
    }

    /// Answers with what is believed of all whose bucket differs.
    pub(super) fn compare_buckets(&mut self, from: Seat, theirs: &[[u8; 4]]) {
        if let Some(link) = self.link(from) {
            link.differs = None;
        }
        let now = self.clock.now();
        let differing = self.table.differing(theirs);
        if differing.is_empty() || !self.budget.allows(now) {
            return;
        }
        // It begins somewhere else each time, so that all are told of in the end.
        let count = self.table.roster.len() as u64;
        let start = self.dice.below(count);
        let seats = (start..count).chain(0..start).map(|seat| seat as Seat);
        let briefs: Vec<Brief> = seats
            .filter(|seat| differing.contain(self.table.roster.id(*seat)))
            .map(|seat| self.brief(seat))
            .take(MOST_BRIEFS)
            .collect();
        for some in briefs.chunks(BRIEFS) {
            let briefs = some.iter().copied().collect();
            self.say(from, &Message::Summary { briefs });
        }
    }

    /// What `from` believes of a node: what is newer is taken, what is older is told better.
    pub(super) fn compare_brief(&mut self, from: Seat, seat: Seat, theirs: &Brief) {
        if Some(seat) == self.me {
            self.compare_myself(theirs.life, theirs.version);
            if theirs.dead {
                self.suspect(seat, theirs.life, from, Kernel::Unknown, Some(from));
            }
        } else if theirs.dead {
            // Perhaps it was dead to one side of a network that was divided.
            self.buried(seat, theirs.life, from);
        } else {
            self.meet(seat, theirs.life, Some(from));
        }
        let mine = self.brief(seat);
        let same_start = mine.life.start == theirs.life.start;
        if same_start && theirs.version > mine.version && Some(seat) != self.me {
            let want = Message::Want {
                node: theirs.node,
                start: mine.life.start,
                since: mine.version,
            };
            self.say(from, &want);
        } else if mine.dead && !theirs.dead && mine.life >= theirs.life {
            let briefs = [mine].into_iter().collect();
            self.say(from, &Message::Summary { briefs });
        } else if !mine.dead && mine.life > theirs.life
            || same_start && mine.version > theirs.version && !mine.dead
        {
            let since = if same_start { theirs.version } else { 0 };
            self.say_news(from, seat, since);
        }
    }

    /// Whoever knows of a later life of the node answers.
    pub(super) fn ask_all_about(&mut self, seat: Seat) {
        for at in 0..self.links.len() {
            let to = self.links[at].seat;
            let briefs = [self.brief(seat)].into_iter().collect();
            self.say(to, &Message::Summary { briefs });
        }
    }

    pub(super) fn wanted(&mut self, from: Seat, seat: Seat, start: u64, since: u64) {
        let record = self.table.get(seat);
        let since = if record.life.start == start { since } else { 0 };
        if record.dead.is_none() && self.budget.allows(self.clock.now()) {
            self.say_news(from, seat, since);
        } else if record.version > since {
            // Of the dead, what they have said last.
            let pieces = record.news(self.table.roster.id(seat), since);
            for news in pieces {
                self.say(from, &Message::News(news));
            }
        }
    }

    /// Looks for one of the dead: so that the halves of a divided network find each other again.
    pub(super) fn knock_somewhere(&mut self) {
        let (dead, up) = (self.table.dead() as u64, self.table.up() as u64);
        // All together, so that nobody is knocked at more often in larger clusters.
        if dead == 0 || self.dice.below(up) >= KNOCKS * dead {
            return;
        }
        let chosen = self.dice.below(dead) as usize;
        let seats = 0..self.table.roster.len() as Seat;
        let found = seats.filter(|it| !self.table.is_up(*it)).nth(chosen);
        let Some(seat) = found else { return };
        if self.dice.below(BLIND) == 0 {
            self.knock_on(seat);
        } else {
            self.ask_kernel(seat);
        }
    }

    pub(super) fn knock_on(&mut self, seat: Seat) {
        self.say(seat, &Message::Ping { number: 0 });
    }

    fn brief(&self, seat: Seat) -> Brief {
        let record = self.table.get(seat);
        let node: NodeId = self.table.roster.id(seat);
        Brief {
            node,
            life: record.life,
            dead: record.dead.is_some(),
            version: record.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::DATAGRAM_BYTES;
    use super::*;

    #[test]
    fn a_summary_fits_a_datagram() {
        // A node, two words, a count and a flag, each as long as it gets.
        const { assert!(BRIEFS * (17 + 9 + 5 + 1 + 9) < DATAGRAM_BYTES) };
    }
}
