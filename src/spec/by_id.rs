//! A table by id that is only ever asked for single entries. It cannot be walked through, so that
//! nothing can come to depend on the order of what is in it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Finds and changes entries in constant time.
#[derive(Clone)]
pub struct ById<K, V>(HashMap<K, V, BuildHasherDefault<IdHasher>>);

impl<K: Eq + Hash, V> ById<K, V> {
    pub fn get(&self, id: &K) -> Option<&V> {
        self.0.get(id)
    }

    pub fn contains(&self, id: &K) -> bool {
        self.0.contains_key(id)
    }

    pub fn insert(&mut self, id: K, value: V) -> Option<V> {
        self.0.insert(id, value)
    }

    pub fn remove(&mut self, id: &K) -> Option<V> {
        self.0.remove(id)
    }

    /// The entry, made by `new` where there is none.
    pub fn get_or_insert_with(&mut self, id: K, new: impl FnOnce() -> V) -> &mut V {
        self.0.entry(id).or_insert_with(new)
    }

    /// Makes room for that many more.
    pub fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }
}

impl<K, V> Default for ById<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K, V> fmt::Debug for ById<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.0.len())
    }
}

/// Ids are random already; their words only have to be brought together.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // An odd factor, so that small numbers differ in the bits that a table looks at too.
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::NodeId;

    #[test]
    fn small_ids_and_great_ones_are_told_apart() {
        let mut table = ById::default();
        let ids = || {
            (0..100)
                .flat_map(|n: u128| [n, n << 64])
                .map(NodeId::from_bits)
        };
        for id in ids() {
            table.insert(id, id.bits());
        }
        for id in ids() {
            assert_eq!(table.get(&id), Some(&id.bits()));
            assert!(table.contains(&id));
        }
        assert_eq!(table.remove(&NodeId::from_bits(7)), Some(7));
        assert_eq!(table.get(&NodeId::from_bits(7)), None);
        *table.get_or_insert_with(NodeId::from_bits(7), || 1) += 1;
        assert_eq!(table.get(&NodeId::from_bits(7)), Some(&2));
    }
}
