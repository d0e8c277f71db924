//! Values that nearly always are what they are by default.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a value is for nearly all that have it.
pub trait Usual: Default + PartialEq + 'static {
    const USUAL: &'static Self;
}

/// A value that takes up one word while it is the usual one, and reads as any other.
#[derive(Clone)]
pub struct Rare<T>(Option<Box<T>>);

impl<T: Usual> Rare<T> {
    pub fn into_inner(self) -> T {
        self.0.map_or_else(T::default, |value| *value)
    }
}

impl<T: Usual> From<T> for Rare<T> {
    fn from(value: T) -> Self {
        Self((value != *T::USUAL).then(|| Box::new(value)))
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Usual> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::USUAL)
    }
}

impl<T: Usual> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Usual> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Usual + Eq> Eq for Rare<T> {}

impl<T: Usual + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: Usual + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Usual + Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Timestamp;
    use crate::state::task::Gate;

    #[test]
    fn a_rare_value_reads_as_it_is() {
        let usual = Rare::<Gate>::default();
        assert_eq!(*usual, Gate::default());
        let mut other = Rare::from(Gate {
            not_before: Some(Timestamp(1)),
            ..Gate::default()
        });
        assert_ne!(usual, other);
        let json = serde_json::to_string(&other).unwrap();
        assert_eq!(json, serde_json::to_string(&*other).unwrap());
        assert_eq!(serde_json::from_str::<Rare<Gate>>(&json).unwrap(), other);
        other.not_before = None;
        assert_eq!(usual, other, "it is the value that counts");
        assert_eq!(other.into_inner(), Gate::default());
    }
}
