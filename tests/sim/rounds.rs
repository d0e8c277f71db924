//! How many random histories a property tries, and which.
//!
//! `SWARMR_TEST_ROUNDS` says how many of each property; `PROPTEST_RNG_SEED` which ones, and is drawn
//! where nothing is said. A failing history is shrunk (`PROPTEST_MAX_SHRINK_ITERS` bounds that) and
//! printed with its seed.

use proptest::test_runner::{Config, RngAlgorithm, RngSeed};

/// So many histories where nothing else is said.
pub(super) fn rounds(usual: u32) -> Config {
    part(usual, 0, 1)
}

/// One of several tests that share a property's histories, to run side by side.
pub(super) fn part(usual: u32, number: u32, of: u32) -> Config {
    let rounds: u32 = said("SWARMR_TEST_ROUNDS").unwrap_or(usual);
    let seed: u64 = said("PROPTEST_RNG_SEED").unwrap_or_else(rand::random);
    println!("histories of PROPTEST_RNG_SEED={seed}, part {number}");
    Config {
        cases: rounds.div_ceil(of),
        failure_persistence: None,
        max_shrink_iters: said("PROPTEST_MAX_SHRINK_ITERS").unwrap_or(2_000),
        // Drawing a history must not take longer than running it.
        rng_algorithm: RngAlgorithm::XorShift,
        rng_seed: RngSeed::Fixed(seed.wrapping_add(u64::from(number) << 32)),
        ..Config::default()
    }
}

fn said<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse().ok();
    assert!(number.is_some(), "{variable} is {text}, which is no number");
    number
}
