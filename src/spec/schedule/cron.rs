//! Cron's five fields.

use std::fmt;
use std::str::FromStr;

/// Which minutes of which days: `*/5 8-18 * * mon-fri`.
///
/// Fields hold numbers, ranges, lists and steps; months and days of the week also their English
/// names, of which three letters are enough; Sunday is 0 and 7. As in every cron, a day must suit
/// both the day of the month and the day of the week, unless neither of them begins with `*`: then
/// one of the two is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cron {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// The numbers that a field names, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// It began with `*`.
    open: bool,
}

impl Field {
    const fn has(self, number: u8) -> bool {
        self.bits >> number & 1 == 1
    }
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("got {0} fields, want 5: minute, hour, day of the month, month, day of the week")]
    Count(usize),
    #[error(
        "there is no word {0:?}: want @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"
    )]
    Word(String),
    #[error("{part:?} is no {field}: want {low} to {high}, a range, a list or a step such as */5")]
    Part {
        part: String,
        field: &'static str,
        low: u8,
        high: u8,
    },
    #[error("no such day ever comes: no month that it names has a day of that number")]
    Never,
}

/// What a field may hold.
struct Kind {
    name: &'static str,
    low: u8,
    high: u8,
    /// Names of the numbers from `low` on.
    names: &'static [&'static str],
}

const MINUTE: Kind = Kind {
    name: "minute",
    low: 0,
    high: 59,
    names: &[],
};
const HOUR: Kind = Kind {
    name: "hour",
    low: 0,
    high: 23,
    names: &[],
};
const DAY: Kind = Kind {
    name: "day of the month",
    low: 1,
    high: 31,
    names: &[],
};
const MONTH: Kind = Kind {
    name: "month",
    low: 1,
    high: 12,
    names: &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ],
};
const WEEKDAY: Kind = Kind {
    name: "day of the week",
    low: 0,
    high: 7,
    names: &[
        "sunday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
    ],
};

/// Most days that each month can have.
const DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Cron {
    /// Whether its hours are real ones: the hour's field begins with `*`.
    pub const fn every_hour(&self) -> bool {
        self.hours.open
    }

    pub const fn has_month(&self, month: u8) -> bool {
        self.months.has(month)
    }

    /// `weekday` counts from Sunday, which is 0.
    pub const fn has_day(&self, day: u8, weekday: u8) -> bool {
        let (in_month, in_week) = (self.days.has(day), self.weekdays.has(weekday));
        if self.days.open || self.weekdays.open {
            in_month && in_week
        } else {
            in_month || in_week
        }
    }

    /// The hours and minutes of a day that suits, in order, from that one on.
    pub fn times_from(&self, hour: u8, minute: u8) -> impl Iterator<Item = (u8, u8)> {
        (hour..=HOUR.high)
            .filter(|hour| self.hours.has(*hour))
            .flat_map(move |this| {
                let first = if this == hour { minute } else { 0 };
                (first..=MINUTE.high)
                    .filter(|minute| self.minutes.has(*minute))
                    .map(move |minute| (this, minute))
            })
    }

    /// Whether any year has a day that suits.
    fn comes(&self) -> bool {
        let by_weekday = !self.days.open && !self.weekdays.open;
        by_weekday
            || (1..=MONTH.high).any(|month| {
                let last = DAYS[usize::from(month - 1)];
                self.months.has(month) && (1..=last).any(|day| self.days.has(day))
            })
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let text = if text.starts_with('@') {
            match text.to_ascii_lowercase().as_str() {
                "@hourly" => "0 * * * *",
                "@daily" | "@midnight" => "0 0 * * *",
                "@weekly" => "0 0 * * 0",
                "@monthly" => "0 0 1 * *",
                "@yearly" | "@annually" => "0 0 1 1 *",
                _ => return Err(CronError::Word(text.to_owned())),
            }
        } else {
            text
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Count(fields.len()));
        };
        let mut weekdays = field(weekday, &WEEKDAY)?;
        // Sunday is 0 and 7.
        weekdays.bits |= weekdays.bits >> 7;
        let cron = Self {
            minutes: field(minute, &MINUTE)?,
            hours: field(hour, &HOUR)?,
            days: field(day, &DAY)?,
            months: field(month, &MONTH)?,
            weekdays,
        };
        if cron.comes() {
            Ok(cron)
        } else {
            Err(CronError::Never)
        }
    }
}

fn field(text: &str, kind: &Kind) -> Result<Field, CronError> {
    let mut bits = 0;
    for part in text.split(',') {
        bits |= part_of(part, kind).ok_or_else(|| CronError::Part {
            part: part.to_owned(),
            field: kind.name,
            low: kind.low,
            high: kind.high,
        })?;
    }
    Ok(Field {
        bits,
        open: text.starts_with('*'),
    })
}

/// `*`, `5`, `5-10`, and each with a step: `*/15`, `5-30/5`; `5/15` is `5-59/15`.
fn part_of(part: &str, kind: &Kind) -> Option<u64> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(digits(step).filter(|step| *step > 0)?)),
        None => (part, None),
    };
    let (first, last) = if range == "*" {
        // Seven would be a second Sunday.
        (
            kind.low,
            kind.high.min(if kind.low == 0 && kind.high == 7 {
                6
            } else {
                kind.high
            }),
        )
    } else if let Some((first, last)) = range.split_once('-') {
        (number(first, kind)?, number(last, kind)?)
    } else {
        let first = number(range, kind)?;
        (first, if step.is_some() { kind.high } else { first })
    };
    if first > last {
        return None;
    }
    let numbers = (first..=last).step_by(usize::from(step.unwrap_or(1)));
    Some(numbers.fold(0, |bits, number| bits | 1 << number))
}

fn number(text: &str, kind: &Kind) -> Option<u8> {
    let text = text.to_ascii_lowercase();
    let named = kind
        .names
        .iter()
        .position(|name| text == *name || text == name[..3]);
    let number = match named {
        Some(place) => kind.low + u8::try_from(place).ok()?,
        None => digits(&text)?,
    };
    (kind.low..=kind.high).contains(&number).then_some(number)
}

/// Digits alone: no sign, no space.
fn digits(text: &str) -> Option<u8> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    text.parse().ok()
}

impl fmt::Display for Cron {
    /// Its numbers, field by field; for messages and tests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            (self.minutes, &MINUTE),
            (self.hours, &HOUR),
            (self.days, &DAY),
            (self.months, &MONTH),
            (self.weekdays, &WEEKDAY),
        ];
        for (place, (field, kind)) in fields.into_iter().enumerate() {
            let numbers: Vec<String> = (kind.low..=kind.high.min(60))
                .filter(|number| field.has(*number))
                .map(|number| number.to_string())
                .collect();
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{}", numbers.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.parse::<Cron>()
            .map_or_else(|error| error.to_string(), |cron| cron.to_string())
    }

    #[test]
    fn fields_are_numbers_ranges_lists_steps_and_names() {
        let days = (1..=31)
            .map(|day| day.to_string())
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(
            read("*/20 8-18/5 1,15 jan-MAR mon,Friday"),
            "0,20,40 8,13,18 1,15 1,2,3 1,5"
        );
        assert_eq!(read("50/3 0 29 2 7"), "50,53,56,59 0 29 2 0,7");
        assert_eq!(
            read("@Weekly"),
            format!("0 0 {days} 1,2,3,4,5,6,7,8,9,10,11,12 0")
        );
        assert_eq!(
            read("0 0 * * 5-7"),
            format!("0 0 {days} 1,2,3,4,5,6,7,8,9,10,11,12 0,5,6,7")
        );
    }

    #[test]
    fn what_is_no_expression_says_why() {
        for (text, part) in [
            ("", "got 0 fields"),
            ("* * * *", "got 4 fields"),
            ("0 0 * * * *", "got 6 fields"),
            ("@often", "no word \"@often\""),
            ("60 * * * *", "\"60\" is no minute: want 0 to 59"),
            ("* 24 * * *", "is no hour"),
            ("* * 0 * *", "is no day of the month"),
            ("* * * 13 *", "is no month"),
            ("* * * * 8", "is no day of the week"),
            ("*/0 * * * *", "\"*/0\""),
            ("5-1 * * * *", "\"5-1\""),
            ("+5 * * * *", "\"+5\""),
            ("1,,2 * * * *", "\"\""),
            ("x * * * *", "\"x\""),
            ("1-2-3 * * * *", "\"1-2-3\""),
            ("* * 31 feb,apr *", "no such day"),
            ("* * 30 2 *", "no such day"),
        ] {
            let said = read(text);
            assert!(said.contains(part), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_day_suits_both_fields_or_one_of_two_closed_ones() {
        let suits = |text: &str, day, weekday| text.parse::<Cron>().unwrap().has_day(day, weekday);
        assert!(suits("0 0 13 * *", 13, 2) && !suits("0 0 13 * *", 12, 5));
        assert!(suits("0 0 * * fri", 12, 5) && !suits("0 0 * * fri", 12, 4));
        assert!(suits("0 0 13 * fri", 12, 5) && suits("0 0 13 * fri", 13, 1));
        assert!(!suits("0 0 13 * fri", 14, 1));
        assert!(suits("0 0 */2 * fri", 1, 5) && !suits("0 0 */2 * fri", 2, 5));
    }
}
