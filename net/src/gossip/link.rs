//! A neighbour: when it was heard, what is asked of it, what it has still to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::Kernel;
use super::roster::{Neighbour, Seat};
use super::time::Time;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) seat: Seat,
    /// News goes to it at once.
    pub(super) adjacent: bool,
    pub(super) heard: Time,
    pub(super) beat: Time,
    pub(super) close_look: Option<CloseLook>,
    pub(super) kernel: KnownKernel,
    pub(super) queue: Queue,
    /// It believes something else, and when that can no longer be news under way.
    pub(super) differs: Option<(Time, u64)>,
    ping: (u32, Option<Time>),
    round_trip: Duration,
    /// Round trips that were measured, as far as they are counted.
    samples: u32,
}

/// Of the first round trips the shortest counts: they may have waited for the connection to be made.
const FIRST_SAMPLES: u32 = 3;

/// What is done about a neighbour's silence.
#[derive(Debug)]
pub(super) struct CloseLook {
    pub(super) round: u32,
    pub(super) next: Time,
    /// Neighbours of both who are asked.
    pub(super) relays: Vec<Seat>,
    pub(super) relay_answered: bool,
    pub(super) kernel_answered: bool,
    /// It led to a suspicion.
    pub(super) accused: bool,
}

/// A silent kernel means something only when it has answered before.
#[derive(Debug)]
pub(super) struct KnownKernel {
    pub(super) answers: bool,
    pub(super) asks_left: u32,
    pub(super) next: Time,
}

/// Times that a new neighbour's kernel is asked, until it has answered once.
const KERNEL_ASKS: u32 = 5;
pub(super) const KERNEL_PAUSE: Duration = Duration::from_secs(2);

/// What a neighbour has still to be told, by the node that it is about. What is told is what is believed
/// when it is sent, so nothing is ever told twice that has changed meanwhile.
#[derive(Debug, Default)]
pub(super) struct Queue {
    about: BTreeMap<Seat, Rumour>,
    /// It does not wait for the next heartbeat.
    pub(super) urgent: bool,
}

#[derive(Debug, Default)]
pub(super) struct Rumour {
    /// Whether it lives, and all that it said after this version.
    pub(super) news_since: Option<u64>,
    pub(super) suspicions: Vec<(Seat, Kernel)>,
}

impl Link {
    pub(super) fn new(neighbour: Neighbour, now: Time, beat: Time) -> Self {
        Self {
            seat: neighbour.seat,
            adjacent: neighbour.adjacent,
            heard: now,
            beat,
            close_look: None,
            kernel: KnownKernel {
                answers: false,
                asks_left: KERNEL_ASKS,
                next: now,
            },
            queue: Queue::default(),
            differs: None,
            ping: (0, None),
            round_trip: Duration::ZERO,
            samples: 0,
        }
    }

    /// Members have other seats now. False: it is none any more.
    pub(super) fn move_to(&mut self, moved: impl Fn(Seat) -> Option<Seat>) -> bool {
        // What was not told yet is found by comparing.
        self.queue = Queue::default();
        if let Some(look) = &mut self.close_look {
            let relays = look.relays.iter();
            look.relays = relays.filter_map(|seat| moved(*seat)).collect();
        }
        let seat = moved(self.seat);
        self.seat = seat.unwrap_or(self.seat);
        seat.is_some()
    }

    /// The number of the next ping, which is sent now.
    pub(super) fn ping(&mut self, now: Time) -> u32 {
        let number = self.ping.0.wrapping_add(1);
        self.ping = (number, Some(now));
        number
    }

    /// Whether another ping should follow, to know the round trip better.
    pub(super) fn pong(&mut self, number: u32, now: Time) -> bool {
        let (last, Some(sent)) = self.ping else {
            return false;
        };
        if last != number {
            return false;
        }
        self.ping.1 = None;
        let sample = now.since(sent);
        self.round_trip = match self.samples {
            0 => sample,
            1..FIRST_SAMPLES => self.round_trip.min(sample),
            _ => (self.round_trip * 7 + sample) / 8,
        };
        self.samples = FIRST_SAMPLES.min(self.samples + 1);
        self.samples < FIRST_SAMPLES
    }

    /// How long to wait for an answer before asking again.
    pub(super) fn round(&self, least: Duration) -> Duration {
        least.max(2 * self.round_trip)
    }

    /// What to say of its kernel when it is silent itself.
    pub(super) fn evidence(&self, look_answered: bool) -> Kernel {
        match (look_answered, self.kernel.answers) {
            (true, _) => Kernel::Answers,
            (false, true) => Kernel::Silent,
            (false, false) => Kernel::Unknown,
        }
    }
}

impl CloseLook {
    pub(super) const fn new(now: Time, relays: Vec<Seat>) -> Self {
        Self {
            round: 0,
            next: now,
            relays,
            relay_answered: false,
            kernel_answered: false,
            accused: false,
        }
    }
}

impl Queue {
    pub(super) fn add_news(&mut self, about: Seat, since: u64, urgent: bool) {
        let rumour = self.about.entry(about).or_default();
        let since = rumour.news_since.map_or(since, |known| known.min(since));
        rumour.news_since = Some(since);
        self.urgent |= urgent;
    }

    pub(super) fn add_suspicion(&mut self, about: Seat, by: Seat, kernel: Kernel) {
        let rumour = self.about.entry(about).or_default();
        rumour.suspicions.retain(|(seat, _)| *seat != by);
        rumour.suspicions.push((by, kernel));
        self.urgent = true;
    }

    pub(super) fn pop(&mut self) -> Option<(Seat, Rumour)> {
        let first = self.about.pop_first();
        if self.about.is_empty() {
            self.urgent = false;
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_a_connection_takes_is_no_round_trip() {
        let neighbour = Neighbour {
            seat: 1,
            adjacent: true,
        };
        let mut link = Link::new(neighbour, Time::ZERO, Time::ZERO);
        let mut now = Time::ZERO;
        for (milliseconds, more) in [(300, true), (2, true), (3, false)] {
            let number = link.ping(now);
            now += Duration::from_millis(milliseconds);
            assert_eq!(link.pong(number, now), more);
        }
        let least = Duration::from_millis(1);
        assert_eq!(link.round(least), Duration::from_millis(4));
        let number = link.ping(now);
        assert!(!link.pong(number + 1, now), "it was no answer");
        assert!(!link.pong(number, now));
    }
}
