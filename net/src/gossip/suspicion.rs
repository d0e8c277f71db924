//! Who says that a node is silent, and how long it has to be heard of.

use std::time::Duration;

use super::message::{Kernel, Reason};
use super::node::Life;
use super::roster::Seat;
use super::time::Time;
use super::timing::Timing;

#[derive(Debug)]
pub(super) struct Suspicion {
    pub(super) life: Life,
    since: Time,
    accusers: Vec<(Seat, Kernel)>,
    /// Until when neighbours may say that they know better.
    pub(super) asked_until: Option<Time>,
    /// Since when it is known that others have given the node up.
    pub(super) buried_since: Option<Time>,
}

/// Who was given up elsewhere has had its time there; this is to refute that here.
const BURIED_FOR: Duration = Duration::from_secs(2);

/// More than would change anything are not counted.
const MOST_ACCUSERS: usize = 8;

impl Suspicion {
    pub(super) const fn new(life: Life, since: Time) -> Self {
        Self {
            life,
            since,
            accusers: Vec::new(),
            asked_until: None,
            buried_since: None,
        }
    }

    pub(super) fn accusers(&self) -> &[(Seat, Kernel)] {
        &self.accusers
    }

    /// Whether that is new. That a kernel answered outweighs that it did not.
    pub(super) fn accuse(&mut self, by: Seat, kernel: Kernel) -> bool {
        if let Some((_, before)) = self.accusers.iter_mut().find(|(seat, _)| *seat == by) {
            let better = kernel == Kernel::Answers && *before != Kernel::Answers;
            if better {
                *before = kernel;
            }
            return better;
        }
        let room = self.accusers.len() < MOST_ACCUSERS;
        if room {
            self.accusers.push((by, kernel));
        }
        room
    }

    /// Members have other seats now.
    pub(super) fn move_to(&mut self, moved: impl Fn(Seat) -> Option<Seat>) {
        let known = self.accusers.iter();
        let still = known.filter_map(|(seat, kernel)| Some((moved(*seat)?, *kernel)));
        self.accusers = still.collect();
    }

    /// When the node is to be given up, if nothing changes, and why. `confirmers` have to agree.
    pub(super) fn verdict(&self, confirmers: usize, timing: &Timing) -> (Time, Reason) {
        let silent = self
            .accusers
            .iter()
            .filter(|(_, kernel)| *kernel == Kernel::Silent)
            .count();
        if silent >= confirmers {
            return (self.since, Reason::Silent);
        }
        // Lifeguard: the more agree independently, the sooner, each counting less than the one before.
        let wanted = confirmers.saturating_sub(1);
        let agreeing = self.accusers.len().saturating_sub(1).min(wanted);
        let share = match wanted {
            0 => 1.0,
            _ => ((agreeing + 1) as f64).ln() / ((wanted + 1) as f64).ln(),
        };
        let range = timing.lone_patience.saturating_sub(timing.patience);
        let patience = timing.lone_patience - range.mul_f64(share.clamp(0.0, 1.0));
        let end = self.since + patience;
        let buried = self.buried_since.map(|since| since + BURIED_FOR);
        let end = buried.map_or(end, |buried| buried.min(end));
        (end, Reason::Unresponsive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(accusers: &[Kernel]) -> (Duration, Reason) {
        let mut suspicion = Suspicion::new(Life::default(), Time::ZERO);
        for (seat, kernel) in accusers.iter().enumerate() {
            assert!(suspicion.accuse(seat as Seat, *kernel));
        }
        let (at, reason) = suspicion.verdict(3, &Timing::default());
        (at.since(Time::ZERO), reason)
    }

    #[test]
    fn three_silent_kernels_end_it_at_once_and_nothing_else_does() {
        use Kernel::{Answers, Silent, Unknown};
        assert_eq!(patience(&[Silent; 3]), (Duration::ZERO, Reason::Silent));
        let slow = Timing::default().patience;
        for others in [[Answers, Silent, Silent], [Unknown, Unknown, Silent]] {
            assert_eq!(patience(&others), (slow, Reason::Unresponsive));
        }
    }

    #[test]
    fn patience_shrinks_as_others_agree() {
        let times = [1, 2, 3].map(|count| patience(&vec![Kernel::Answers; count]).0);
        assert_eq!(times[0], Timing::default().lone_patience);
        assert!(times[0] > times[1] && times[1] > times[2], "{times:?}");
        assert_eq!(times[2], Timing::default().patience);
    }

    #[test]
    fn nobody_counts_twice_and_an_answer_is_believed() {
        let mut suspicion = Suspicion::new(Life::default(), Time::ZERO);
        assert!(suspicion.accuse(1, Kernel::Silent));
        assert!(!suspicion.accuse(1, Kernel::Silent));
        assert!(suspicion.accuse(1, Kernel::Answers));
        assert!(!suspicion.accuse(1, Kernel::Silent));
        assert_eq!(suspicion.accusers(), [(1, Kernel::Answers)]);
    }
}
