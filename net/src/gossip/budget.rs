//! Bytes that may be sent now: so many a second in the long run, so many at once.

use std::time::Duration;

use super::time::Time;

#[derive(Debug)]
pub(super) struct Budget {
    per_second: u32,
    most: i64,
    left: i64,
    filled: Time,
}

/// After it has run dry, it is looked at again so much later.
pub(super) const REFILL: Duration = Duration::from_millis(10);

impl Budget {
    pub(super) fn new(per_second: u32, most: u32, now: Time) -> Self {
        Self {
            per_second,
            most: i64::from(most),
            left: i64::from(most),
            filled: now,
        }
    }

    /// Whether something may be sent; what it costs is only known afterwards.
    pub(super) fn allows(&mut self, now: Time) -> bool {
        let elapsed = now.since(self.filled).as_micros().min(60_000_000) as i64;
        let gained = elapsed * i64::from(self.per_second) / 1_000_000;
        if gained > 0 {
            self.left = self.most.min(self.left + gained);
            self.filled = now;
        }
        self.left > 0
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.left -= bytes as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_its_rate_and_no_more() {
        let mut budget = Budget::new(1_000, 500, Time::ZERO);
        let mut sent = 0;
        for ms in 0..10_000 {
            let now = Time::ZERO + Duration::from_millis(ms);
            while budget.allows(now) {
                budget.spend(100);
                sent += 100;
            }
        }
        assert!((10_300..=10_700).contains(&sent), "{sent}");
    }
}
