//! Time as the state machine sees it: given with every input, never read.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Microseconds since some moment, the same moment for all inputs of one [`Gossip`](super::Gossip).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    pub const ZERO: Self = Self(0);
    /// Later than everything.
    pub const NEVER: Self = Self(u64::MAX);

    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; nothing if it is still to come.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A clock that stands still while this process does. Whoever was stopped and goes on would else
/// take its own absence for the silence of all others.
#[derive(Debug)]
pub(super) struct AwakeClock {
    /// In awake time.
    now: Time,
    asleep: Duration,
    /// When this side asked to be woken, in the caller's time.
    promised: Time,
}

/// Being woken so much too late is being busy; more is having been stopped.
const TOLERANCE: Duration = Duration::from_millis(100);

impl AwakeClock {
    pub(super) fn new(now: Time) -> Self {
        Self {
            now,
            asleep: Duration::ZERO,
            promised: Time::NEVER,
        }
    }

    pub(super) const fn now(&self) -> Time {
        self.now
    }

    /// Takes the caller's time; gives how long this side was stopped, if it was.
    pub(super) fn advance(&mut self, real: Time) -> Option<Duration> {
        let late = real.since(self.promised);
        let stopped = (late > TOLERANCE).then_some(late);
        self.asleep += stopped.unwrap_or_default();
        self.now = self.now.max(real - self.asleep);
        // Until the next promise nothing can be late.
        self.promised = Time::NEVER;
        stopped
    }

    /// `wake` is in awake time; gives the caller's.
    pub(super) fn promise(&mut self, wake: Time) -> Time {
        self.promised = wake.max(self.now) + self.asleep;
        self.promised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stop_does_not_count_and_lateness_does() {
        let mut clock = AwakeClock::new(Time::ZERO);
        let wake = clock.promise(Time::ZERO + SECOND);
        assert_eq!(wake, Time::ZERO + SECOND);
        let late = wake + Duration::from_millis(50);
        assert_eq!(clock.advance(late), None);
        assert_eq!(clock.now(), late);
        let wake = clock.promise(clock.now() + SECOND);
        assert_eq!(clock.advance(wake + 5 * SECOND), Some(5 * SECOND));
        assert_eq!(clock.now(), wake);
        assert_eq!(clock.promise(wake + SECOND), wake + 6 * SECOND);
    }

    #[test]
    fn time_never_runs_backwards() {
        let mut clock = AwakeClock::new(Time::ZERO + SECOND);
        assert_eq!(clock.advance(Time::ZERO), None);
        assert_eq!(clock.now(), Time::ZERO + SECOND);
    }
}
