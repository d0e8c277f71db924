//! How far this node's own judgement can be trusted (Lifeguard's local health).

use std::time::Duration;

/// 0 is well. Whoever was late, was missed by others or cannot reach those who could help gives
/// others more time.
#[derive(Debug, Default)]
pub(super) struct Health {
    score: u32,
}

const WORST: u32 = 4;

impl Health {
    pub(super) fn worse(&mut self) {
        self.score = WORST.min(self.score + 1);
    }

    pub(super) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// A time to wait for others' answers.
    pub(super) fn stretch(&self, time: Duration) -> Duration {
        time + time.mul_f64(0.25) * self.score
    }
}
