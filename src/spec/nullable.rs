//! Reading fields that Docker's clients send as `null`: a list, a map or an object that is `null`
//! means the same as one that is absent.

use serde::{Deserialize, Deserializer};

/// For `#[serde(deserialize_with)]`: `null` reads as the default.
pub fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// For `#[serde(skip_serializing_if)]`: leaves out what Go's `omitempty` leaves out.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
