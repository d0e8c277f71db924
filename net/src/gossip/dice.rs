//! Numbers that look random and follow from a seed; hashes that every version computes alike.

/// A sequence that its seed determines.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `bound`; 0 where that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        (wide >> 64) as u64
    }
}

/// Spreads a number over all 64 bits, without losing any (the finalizer of splitmix64).
pub(super) const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Of several words, in their order.
pub(super) fn hash(words: &[u64]) -> u64 {
    let chain = |hash: u64, word: &u64| mix(hash.rotate_left(23) ^ mix(*word));
    words.iter().fold(0x243f_6a88_85a3_08d3, chain)
}
