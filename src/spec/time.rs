//! Time as data: instants and durations in whole nanoseconds. Nothing here reads a clock.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Nanoseconds since 1970-01-01 UTC, as the proposer of a change read its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// A length of time in nanoseconds: what Docker's API writes as a bare integer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(pub i64);

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// For timers; a negative length is none.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(if self.0 < 0 { 0 } else { self.0.unsigned_abs() })
    }
}

impl fmt::Display for Nanos {
    /// As durations are given: `10m`, `1h30m`, `1.5s`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000_000_000;
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let length = self.0.unsigned_abs();
        let (seconds, fraction) = (length / SECOND, length % SECOND);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if fraction > 0 {
            let digits = format!("{fraction:09}");
            write!(f, "{seconds}.{}s", digits.trim_end_matches('0'))
        } else if seconds > 0 || length < SECOND {
            write!(f, "{seconds}s")
        } else {
            Ok(())
        }
    }
}

impl Add<Nanos> for Timestamp {
    type Output = Self;

    fn add(self, length: Nanos) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Sub for Timestamp {
    type Output = Nanos;

    fn sub(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with up to nine digits, as Docker writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .ok()
            .and_then(|instant| instant.format(&Rfc3339).ok());
        f.write_str(written.as_deref().unwrap_or("0001-01-01T00:00:00Z"))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = time::error::Parse;

    fn from_str(text: &str) -> Result<Self, time::error::Parse> {
        let instant = OffsetDateTime::parse(text, &Rfc3339)?;
        // Instants that 64 bits of nanoseconds cannot hold (Docker's zero time is one) are "never".
        Ok(Self(
            i64::try_from(instant.unix_timestamp_nanos()).unwrap_or(0),
        ))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?
                .parse()
                .map_err(de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_they_are_given() {
        for (length, text) in [
            (Nanos::ZERO, "0s"),
            (Nanos::from_secs(600), "10m"),
            (Nanos::from_secs(3661), "1h1m1s"),
            (Nanos::from_secs(7200), "2h"),
            (Nanos::from_millis(1_500), "1.5s"),
            (Nanos::from_millis(61_050), "1m1.05s"),
        ] {
            assert_eq!(length.to_string(), text);
            assert_eq!(crate::spec::parse::duration(text), Ok(length));
        }
    }

    #[test]
    fn timestamps_are_written_as_docker_writes_them() {
        let at = Timestamp(1_763_877_323_500_677_043);
        assert_eq!(at.to_string(), "2025-11-23T05:55:23.500677043Z");
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
    }
}
