//! Names for services that were given none.

const MANNERS: [&str; 32] = [
    "amber", "ample", "bold", "brisk", "calm", "clear", "crisp", "deft", "eager", "early", "fair",
    "fleet", "fresh", "gentle", "glad", "golden", "hardy", "keen", "kind", "light", "lively",
    "merry", "neat", "plain", "quick", "quiet", "ready", "sharp", "steady", "swift", "warm",
    "wise",
];
const THINGS: [&str; 32] = [
    "acorn", "anchor", "badger", "beacon", "birch", "brook", "cedar", "comet", "falcon", "fern",
    "finch", "harbor", "hazel", "heron", "island", "juniper", "kestrel", "lantern", "maple",
    "meadow", "otter", "pebble", "pine", "plover", "quarry", "raven", "river", "sparrow", "summit",
    "thistle", "willow", "wren",
];

/// A name of two words and, from the third part of the bits, two digits: 102,400 of them.
pub(super) fn generated(bits: u128) -> String {
    let place = |shift: u32, len: usize| ((bits >> shift) % len as u128) as usize;
    format!(
        "{}_{}{:02}",
        MANNERS[place(0, MANNERS.len())],
        THINGS[place(32, THINGS.len())],
        place(64, 100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ServiceSpec;
    use crate::spec::validate::validate;

    #[test]
    fn generated_names_are_valid_names() {
        for bits in [0, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let spec = ServiceSpec {
                name: generated(bits),
                ..ServiceSpec::default()
            };
            let problems = validate(&spec);
            assert!(problems.iter().all(|problem| problem.field != "Name"));
        }
        assert_eq!(generated(0), "amber_acorn00");
    }
}
