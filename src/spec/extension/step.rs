//! One step of an update that goes on only when somebody, or time, says so.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::spec::Nanos;
use crate::spec::parse::{self, ParseError};

/// `10%`, `3`, `10%:5m`: how many slots have the new spec, and after which time the next step
/// follows by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub size: StepSize,
    pub delay: Option<Nanos>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepSize {
    /// Of the slots that there are at the time, rounded up; 1 to 100.
    Percent(u64),
    Slots(u64),
}

impl StepSize {
    /// How many of so many slots.
    pub fn of(self, slots: u64) -> u64 {
        match self {
            // Fits: no service has 2^57 slots, and more percent than 100 are refused.
            Self::Percent(percent) => slots.saturating_mul(percent).div_ceil(100).min(slots),
            Self::Slots(count) => count.min(slots),
        }
    }
}

impl fmt::Display for StepSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Slots(count) => write!(f, "{count}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.size)?;
        self.delay.map_or(Ok(()), |delay| write!(f, ":{delay}"))
    }
}

impl FromStr for Step {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(
                "step",
                text,
                "a share or a number of tasks, and perhaps a time after which the next step \
                 follows, such as 10%, 3 or 10%:5m",
            )
        };
        let (size, delay) = match text.split_once(':') {
            Some((size, delay)) => (size, Some(parse::duration(delay).map_err(|_| wrong())?)),
            None => (text, None),
        };
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|count| *count > 0);
        let size = match size.strip_suffix('%') {
            Some(percent) => number(percent)
                .filter(|percent| *percent <= 100)
                .map(StepSize::Percent),
            None => number(size).map(StepSize::Slots),
        };
        let size = size.ok_or_else(wrong)?;
        Ok(Self { size, delay })
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_written_alike() {
        for text in ["10%", "3", "100%", "10%:5m", "7:1h30m", "1:0s"] {
            let step: Step = text.parse().unwrap();
            assert_eq!(step.to_string(), text);
        }
        for text in ["", "0", "0%", "101%", "-1", "10%:", "x", "10 %", "5:x"] {
            assert!(text.parse::<Step>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_rounded_up() {
        let of = |text: &str, slots| text.parse::<Step>().unwrap().size.of(slots);
        assert_eq!([1, 3, 10, 11].map(|slots| of("10%", slots)), [1, 1, 1, 2]);
        assert_eq!([1, 3, 10].map(|slots| of("5", slots)), [1, 3, 5]);
        assert_eq!(of("100%", 7), 7);
    }
}
