//! Random choices that a printed seed repeats.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context, Result};

/// The generator `splitmix64`: small, and the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Seeded by `SWARMR_TEST_SEED`, else freshly; the seed is returned to be printed.
    pub(crate) fn seeded() -> Result<(Self, u64)> {
        let seed = match std::env::var("SWARMR_TEST_SEED") {
            Ok(text) => text.parse().context("SWARMR_TEST_SEED is no number")?,
            Err(_) => {
                let mut bytes = [0; 8];
                File::open("/dev/urandom")?.read_exact(&mut bytes)?;
                u64::from_le_bytes(bytes)
            }
        };
        Ok((Self::new(seed), seed))
    }

    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end - 1`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let choices = |seed| {
        let mut random = Random::new(seed);
        (0..50).map(|_| random.below(7)).collect::<Vec<_>>()
    };
    assert_eq!(choices(1), choices(1));
    assert_ne!(choices(1), choices(2));
    assert!((0..7).all(|choice| choices(1).contains(&choice)));
}
