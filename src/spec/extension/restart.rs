//! How the delay between restarts grows while a task keeps failing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::{Nanos, RestartPolicy};

/// `Swarmr.Restart`. Nothing of it changes what a task is, so a change of it replaces none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartExtension {
    /// The longest that a restart waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Nanos>,
    /// How many times longer each restart waits than the one before; 1 is always the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<f64>,
    /// A task that ran for so long was well: its next restart waits for the first delay again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<Nanos>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The delay before each restart: what was written, with the defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    first: Nanos,
    factor: f64,
    longest: Nanos,
    reset: Nanos,
}

impl Backoff {
    const LONGEST: Nanos = Nanos::from_secs(5 * 60);
    const RESET: Nanos = Nanos::from_secs(10 * 60);
    /// What a delay of nothing grows from: a task that cannot start must not keep a node busy.
    const SEED: Nanos = Nanos::from_secs(1);

    /// Docker's delay is always the same. So it is here where the number of attempts is limited,
    /// for Docker's windows are reckoned with that; without a limit it doubles unless told
    /// otherwise.
    pub(crate) fn new(policy: &RestartPolicy, extension: Option<&RestartExtension>) -> Self {
        let first = policy.delay();
        let longest = extension.and_then(|it| it.max_delay);
        let factor = extension.and_then(|it| it.backoff);
        let grows = policy.max_attempts().is_none() || longest.is_some();
        Self {
            first,
            factor: factor.unwrap_or(if grows { 2.0 } else { 1.0 }).max(1.0),
            longest: longest.unwrap_or(Self::LONGEST).max(first),
            reset: extension.and_then(|it| it.reset).unwrap_or(Self::RESET),
        }
    }

    /// How long the restart waits that follows so many in a row.
    pub fn delay(&self, streak: u64) -> Nanos {
        let power = |exponent: u64| {
            let exponent = i32::try_from(exponent).unwrap_or(i32::MAX);
            self.factor.powi(exponent)
        };
        if streak == 0 || self.factor <= 1.0 {
            return self.first;
        }
        let grown = self.first.0 as f64 * power(streak);
        let seeded = Self::SEED.0 as f64 * power(streak - 1);
        let delay = grown.max(seeded);
        if delay >= self.longest.0 as f64 {
            self.longest
        } else {
            // Whole nanoseconds below the longest delay, which is one.
            Nanos(delay as i64)
        }
    }

    /// Whether a task that ran for so long was well.
    pub fn resets_after(&self, ran: Nanos) -> bool {
        ran >= self.reset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(policy: &RestartPolicy, extension: Option<&RestartExtension>) -> Vec<i64> {
        let backoff = Backoff::new(policy, extension);
        [0, 1, 2, 3, 6, 7, 100, u64::MAX]
            .map(|streak| backoff.delay(streak).0 / 1_000_000_000)
            .to_vec()
    }

    #[test]
    fn delays_double_up_to_five_minutes() {
        let policy = RestartPolicy::default();
        assert_eq!(delays(&policy, None), [5, 10, 20, 40, 300, 300, 300, 300]);
    }

    #[test]
    fn a_delay_of_nothing_grows_too() {
        let policy = RestartPolicy {
            delay: Some(Nanos::ZERO),
            ..RestartPolicy::default()
        };
        assert_eq!(delays(&policy, None), [0, 1, 2, 4, 32, 64, 300, 300]);
    }

    #[test]
    fn a_limit_of_attempts_keeps_dockers_constant_delay() {
        let policy = RestartPolicy {
            max_attempts: Some(3),
            ..RestartPolicy::default()
        };
        assert_eq!(delays(&policy, None), [5; 8]);
        let extension = RestartExtension {
            backoff: Some(3.0),
            max_delay: Some(Nanos::from_secs(30)),
            ..RestartExtension::default()
        };
        let want = [5, 15, 30, 30, 30, 30, 30, 30];
        assert_eq!(delays(&policy, Some(&extension)), want);
    }

    #[test]
    fn a_first_delay_beyond_the_cap_stays_what_it_is() {
        let policy = RestartPolicy {
            delay: Some(Nanos::from_secs(400)),
            ..RestartPolicy::default()
        };
        assert_eq!(delays(&policy, None), [400; 8]);
    }
}
