//! What is believed of one node.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fact::{Change, Fact, FactKey};
use super::few::Few;
use super::message::{News, Reason, Stamped};
use super::node::{Life, NodeId};
use super::time::Time;

/// There is one of each member on each member, so it is small while there is nothing to say.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) life: Life,
    /// Up to which version of what the node says of itself all is known.
    pub(super) version: u64,
    pub(super) dead: Option<Reason>,
    facts: Option<Box<Facts>>,
}

#[derive(Debug, Default)]
struct Facts {
    by_key: BTreeMap<FactKey, Held>,
    /// Up to which version it is no longer known what has gone.
    forgotten: u64,
}

#[derive(Debug)]
struct Held {
    version: u64,
    change: Change,
    since: Time,
}

/// Facts that one node may say of itself; more are not kept.
pub const MOST_FACTS: usize = 4_096;

/// Changes in one piece of news: even the longest fit a datagram.
const PIECE: usize = 16;

/// What became of news.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Known,
    /// Something between what is known and this is missing.
    Gap,
    New(Vec<Change>),
}

impl Record {
    pub(super) fn facts(&self) -> impl Iterator<Item = &Fact> {
        let held = self.facts.iter().flat_map(|facts| facts.by_key.values());
        held.filter_map(|held| held.change.fact())
    }

    pub(super) fn fact(&self, key: FactKey) -> Option<&Fact> {
        self.facts.as_ref()?.by_key.get(&key)?.change.fact()
    }

    /// The node's own change, under a new version. Not kept when there are too many.
    pub(super) fn set(&mut self, change: Change, now: Time, remember: Duration) -> bool {
        let facts = self.facts.get_or_insert_default();
        facts.forget(now, remember);
        if facts.by_key.len() >= MOST_FACTS && !facts.by_key.contains_key(&change.key()) {
            return false;
        }
        self.version += 1;
        facts.hold(self.version, change, now);
        true
    }

    /// A later life of the node: of another start nothing is known yet. Gives what is gone with it.
    pub(super) fn begin(&mut self, life: Life) -> Vec<Change> {
        let mut gone = Vec::new();
        if life.start != self.life.start {
            gone = self.facts().map(|it| Change::Gone(it.key())).collect();
            self.facts = None;
            self.version = 0;
        }
        self.life = life;
        gone
    }

    /// Takes news of this start of the node.
    pub(super) fn take(&mut self, news: &News, now: Time, remember: Duration) -> Taken {
        if news.to <= self.version && !news.whole {
            return Taken::Known;
        }
        if news.from > self.version {
            return Taken::Gap;
        }
        let facts = self.facts.get_or_insert_default();
        facts.forget(now, remember);
        let mut changed = facts.drop_unnamed(news);
        let known = self.version;
        let valid =
            |it: &&Stamped| it.version > known && it.version > news.from && it.version <= news.to;
        for Stamped { version, change } in news.changes.iter().filter(valid) {
            let held = facts.by_key.get(&change.key());
            if held.is_some_and(|held| held.version >= *version)
                || held.is_none() && facts.by_key.len() >= MOST_FACTS
            {
                continue;
            }
            if held.and_then(|held| held.change.fact()) != change.fact() {
                changed.push(*change);
            }
            facts.hold(*version, *change, now);
        }
        self.version = news.to.max(known);
        Taken::New(changed)
    }

    /// All that changed since a version, in pieces that follow on each other.
    pub(super) fn news(&self, node: NodeId, since: u64) -> Vec<News> {
        let forgotten = self.facts.as_ref().map_or(0, |facts| facts.forgotten);
        let whole = since < forgotten;
        let piece = |from, to, changes| News {
            node,
            life: self.life,
            whole,
            from,
            to,
            changes,
        };
        let Some(facts) = &self.facts else {
            return vec![piece(since.min(self.version), self.version, Few::default())];
        };
        let since = if whole { 0 } else { since };
        let mut changes: Vec<Stamped> = facts.since(since).collect();
        changes.sort_unstable_by_key(|it| it.version);
        let mut from = since.min(self.version);
        let mut pieces = Vec::new();
        for chunk in changes.chunks(PIECE) {
            let to = chunk.last().map_or(from, |it| it.version);
            pieces.push(piece(from, to, chunk.iter().copied().collect()));
            from = to;
        }
        match pieces.last_mut() {
            Some(last) => last.to = self.version,
            None => pieces.push(piece(from, self.version, Few::default())),
        }
        pieces
    }
}

impl Facts {
    fn hold(&mut self, version: u64, change: Change, since: Time) {
        let held = Held {
            version,
            change,
            since,
        };
        self.by_key.insert(change.key(), held);
    }

    fn since(&self, version: u64) -> impl Iterator<Item = Stamped> + '_ {
        let later = self.by_key.values().filter(move |it| it.version > version);
        later.map(|held| Stamped {
            version: held.version,
            change: held.change,
        })
    }

    /// News names all that has changed in its range and still stands: what else is held of that range
    /// has gone meanwhile.
    fn drop_unnamed(&mut self, news: &News) -> Vec<Change> {
        let mut gone = Vec::new();
        self.by_key.retain(|key, held| {
            let unnamed = held.version > news.from
                && held.version <= news.to
                && !news.changes.iter().any(|it| it.change.key() == *key);
            if unnamed && held.change.fact().is_some() {
                gone.push(Change::Gone(*key));
            }
            !unnamed
        });
        gone
    }

    /// Of what has gone long ago, that it ever was.
    fn forget(&mut self, now: Time, remember: Duration) {
        let forgotten = &mut self.forgotten;
        self.by_key.retain(|_, held| {
            let keep = held.change.fact().is_some() || now.since(held.since) < remember;
            if !keep {
                *forgotten = held.version.max(*forgotten);
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fact::{Phase, TaskId};
    use super::*;

    const REMEMBER: Duration = Duration::from_secs(60);
    const NODE: NodeId = NodeId(1);

    fn facts(record: &Record) -> Vec<Fact> {
        record.facts().copied().collect()
    }

    fn change() -> impl Strategy<Value = Change> {
        let task = || (0..40u128).prop_map(TaskId);
        prop_oneof![
            task().prop_map(|it| Change::Set(Fact::Task(it, Phase::Serving))),
            task().prop_map(|it| Change::Set(Fact::Task(it, Phase::Draining))),
            task().prop_map(|it| Change::Gone(FactKey::Task(it))),
        ]
    }

    proptest! {
        /// Whatever is lost and however long nothing is heard, whoever asks again ends up the same, and
        /// what it was told on the way is what became of its facts.
        #[test]
        fn copies_follow(
            steps in prop::collection::vec((change(), 0..20u64, 0..4u8), 0..200)
        ) {
            let (mut own, mut copy) = (Record::default(), Record::default());
            let mut told: BTreeMap<FactKey, Fact> = BTreeMap::new();
            let mut now = Time::ZERO;
            for (change, seconds, luck) in steps {
                now += Duration::from_secs(seconds);
                own.set(change, now, REMEMBER);
                if luck == 0 {
                    continue;
                }
                for news in own.news(NODE, copy.version) {
                    match copy.take(&news, now, REMEMBER) {
                        Taken::New(changes) => for change in changes {
                            match change {
                                Change::Set(fact) => { told.insert(fact.key(), fact); }
                                Change::Gone(key) => { told.remove(&key); }
                            }
                        },
                        Taken::Known => {}
                        Taken::Gap => prop_assert!(false, "a gap between pieces"),
                    }
                }
                prop_assert_eq!(copy.version, own.version);
                prop_assert_eq!(facts(&copy), facts(&own));
                prop_assert_eq!(told.values().copied().collect::<Vec<_>>(), facts(&own));
            }
        }
    }

    #[test]
    fn what_is_missing_in_between_is_noticed() {
        let (mut own, mut copy) = (Record::default(), Record::default());
        for load in 0..3 {
            own.set(Change::Set(Fact::Load(load)), Time::ZERO, REMEMBER);
        }
        let late = own.news(NODE, 2);
        assert_eq!(copy.take(&late[0], Time::ZERO, REMEMBER), Taken::Gap);
        assert_eq!(facts(&copy), []);
    }

    #[test]
    fn a_new_start_has_said_nothing_yet() {
        let mut record = Record::default();
        record.set(Change::Set(Fact::Load(1)), Time::ZERO, REMEMBER);
        let refuted = Life {
            start: 0,
            refutations: 1,
        };
        assert_eq!(record.begin(refuted), []);
        let gone = record.begin(Life::of_start(1));
        assert_eq!(gone, [Change::Gone(FactKey::Load)]);
        assert_eq!(record.version, 0);
    }

    #[test]
    fn one_node_cannot_fill_the_memory_of_another() {
        let mut record = Record::default();
        for task in 0..MOST_FACTS as u128 + 10 {
            let change = Change::Set(Fact::Task(TaskId(task), Phase::Serving));
            let kept = record.set(change, Time::ZERO, REMEMBER);
            assert_eq!(kept, task < MOST_FACTS as u128);
        }
    }
}
