//! A cron expression in a time zone: which instants it names.
//!
//! The zones are those of the IANA's database as it is built into this program, never those of the
//! machine, so that all managers of one version decide alike.
//!
//! Where clocks are put forward or back, the hour's field decides:
//! - If it begins with `*`, hours are real ones. What the clocks leap over does not come, and both
//!   passes of what they repeat do: `*/5 * * * *` is due every five minutes, come what may.
//! - Otherwise the hour names a time of the day, which comes once a day. One that the clocks leap
//!   over is due at the moment when they leap; one that comes twice is due the first time.

use std::sync::LazyLock;

use jiff::Timestamp as Moment;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use super::cron::{Cron, CronError};
use crate::spec::Timestamp;

/// The database that is built in.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Days looked at for the next time: the longest wait is for a 29 February across a century's turn.
const HORIZON_DAYS: u32 = 8 * 366 + 1;

/// The times that a schedule names.
#[derive(Debug, Clone)]
pub struct Clock {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule names no times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    #[error(transparent)]
    Cron(#[from] CronError),
    #[error("there is no time zone {0:?}: want a name such as Europe/Rome or UTC")]
    Zone(String),
}

impl Clock {
    /// An empty name of a zone is UTC.
    pub fn new(cron: &str, zone: &str) -> Result<Self, ClockError> {
        let cron = cron.parse()?;
        let zone = match zone {
            "" => TimeZone::UTC,
            name => ZONES
                .get(name)
                .map_err(|_| ClockError::Zone(name.to_owned()))?,
        };
        Ok(Self { cron, zone })
    }

    /// The first time after that one; `None` when there is none within eight years.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = Moment::from_nanosecond(i128::from(at.0)).ok()?;
        let local = self.zone.to_datetime(at);
        // Where clocks go back over midnight, a time of yesterday may be yet to come.
        let mut day = local.date().yesterday().ok()?;
        for _ in 0..HORIZON_DAYS {
            let suits = u8::try_from(day.month()).is_ok_and(|month| self.cron.has_month(month))
                && u8::try_from(day.day()).is_ok_and(|number| {
                    let weekday = day.weekday().to_sunday_zero_offset();
                    u8::try_from(weekday).is_ok_and(|weekday| self.cron.has_day(number, weekday))
                });
            if suits && let Some(found) = self.on_day(day, at, local) {
                return i64::try_from(found.as_nanosecond()).ok().map(Timestamp);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// The times after that one, in order.
    pub fn times_after(&self, at: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.after(at), |last| self.after(*last))
    }

    /// The last time at or before `until`, if there is one after `from`.
    pub fn last_between(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        const HOUR: i64 = 3_600 * 1_000_000_000;
        // Often enough there is one soon before; further back, only rarer times are left.
        let reaches = [HOUR, 24 * HOUR, 32 * 24 * HOUR, 366 * 24 * HOUR, i64::MAX];
        reaches.into_iter().find_map(|reach| {
            let start = Timestamp(until.0.saturating_sub(reach)).max(from);
            self.times_after(start)
                .take_while(|time| *time <= until)
                .last()
        })
    }

    /// As the clocks of its zone show it: `2026-03-29 03:00 +02:00`.
    pub fn show(&self, at: Timestamp) -> String {
        Moment::from_nanosecond(i128::from(at.0)).map_or_else(
            |_| at.to_string(),
            |at| {
                let local = self.zone.to_datetime(at);
                let minutes = self.zone.to_offset(at).seconds() / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                let minutes = minutes.unsigned_abs();
                format!(
                    "{} {:02}:{:02} {sign}{:02}:{:02}",
                    local.date(),
                    local.hour(),
                    local.minute(),
                    minutes / 60,
                    minutes % 60
                )
            },
        )
    }

    /// The first time of a day that is after `at`, which the zone's clocks show as `local`.
    fn on_day(&self, day: Date, at: Moment, local: DateTime) -> Option<Moment> {
        if self.is_even(day) {
            let (hour, minute) = match day.cmp(&local.date()) {
                std::cmp::Ordering::Less => return None,
                std::cmp::Ordering::Equal => (local.hour(), local.minute()),
                std::cmp::Ordering::Greater => (0, 0),
            };
            return self
                .cron
                .times_from(u8::try_from(hour).ok()?, u8::try_from(minute).ok()?)
                .filter_map(|(hour, minute)| self.instants(day, hour, minute)[0])
                .find(|instant| *instant > at);
        }
        self.cron
            .times_from(0, 0)
            .flat_map(|(hour, minute)| self.instants(day, hour, minute))
            .flatten()
            .filter(|instant| *instant > at)
            .min()
    }

    /// Whether clocks are neither put forward nor back on a day, nor at its ends.
    fn is_even(&self, day: Date) -> bool {
        let offset = |date: Result<Date, _>| {
            let noon = date.ok()?.at(12, 0, 0, 0);
            let instant = self.zone.to_ambiguous_timestamp(noon).compatible().ok()?;
            Some(self.zone.to_offset(instant))
        };
        let (before, after) = (offset(day.yesterday()), offset(day.tomorrow()));
        before.is_some() && before == after && {
            let midnight = self.zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
            let start = midnight.earlier().ok();
            // Twice on one day, as some zones have done, shows in the day's own changes.
            start.is_some_and(|start| {
                let next = self.zone.following(start).next();
                next.is_none_or(|next| next.timestamp().duration_since(start).as_hours() >= 26)
            })
        }
    }

    /// The instants at which clocks show a time, as far as they count.
    fn instants(&self, day: Date, hour: u8, minute: u8) -> [Option<Moment>; 2] {
        let (Ok(hour), Ok(minute)) = (i8::try_from(hour), i8::try_from(minute)) else {
            return [None, None];
        };
        let time = self.zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0));
        match time.offset() {
            AmbiguousOffset::Unambiguous { .. } => [time.unambiguous().ok(), None],
            AmbiguousOffset::Fold { .. } if self.cron.every_hour() => {
                [time.earlier().ok(), time.later().ok()]
            }
            AmbiguousOffset::Fold { .. } => [time.earlier().ok(), None],
            AmbiguousOffset::Gap { .. } if self.cron.every_hour() => [None, None],
            AmbiguousOffset::Gap { .. } => {
                // Read by the later offset it lies before the leap.
                let before = time.earlier().ok();
                let leap = before.and_then(|before| self.zone.following(before).next());
                [leap.map(|leap| leap.timestamp()), None]
            }
        }
    }
}

impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        self.cron == other.cron && self.zone == other.zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times, as the zone's clocks show them.
    fn next(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let clock = Clock::new(cron, zone).unwrap();
        let times = clock.times_after(after.parse().unwrap());
        times.take(count).map(|time| clock.show(time)).collect()
    }

    #[test]
    fn times_come_in_order_and_after_the_one_given() {
        assert_eq!(
            next("*/20 8,9 * * mon-fri", "", "2026-11-20T09:20:00Z", 3),
            [
                "2026-11-20 09:40 +00:00",
                "2026-11-23 08:00 +00:00",
                "2026-11-23 08:20 +00:00"
            ]
        );
        assert_eq!(
            next("0 0 29 2 *", "", "2026-01-01T00:00:00Z", 2),
            ["2028-02-29 00:00 +00:00", "2032-02-29 00:00 +00:00"]
        );
        assert_eq!(
            next(
                "30 23 31 12 *",
                "Pacific/Auckland",
                "2026-11-23T00:00:00Z",
                1
            ),
            ["2026-12-31 23:30 +13:00"]
        );
        // The century's turn without a leap day.
        assert_eq!(
            next("0 0 29 2 *", "", "2096-03-01T00:00:00Z", 1),
            ["2104-02-29 00:00 +00:00"]
        );
    }

    #[test]
    fn a_time_of_day_in_a_gap_is_due_when_clocks_leap() {
        let day = "2026-03-28T12:00:00Z";
        assert_eq!(
            next("30 2 * * *", "Europe/Rome", day, 2),
            ["2026-03-29 03:00 +02:00", "2026-03-30 02:30 +02:00"]
        );
        // All that is leapt over is one time, also with what is due then anyway.
        assert_eq!(
            next("*/15 2,3 * * *", "Europe/Rome", day, 3),
            [
                "2026-03-29 03:00 +02:00",
                "2026-03-29 03:15 +02:00",
                "2026-03-29 03:30 +02:00"
            ]
        );
        // Clocks that leap at midnight.
        assert_eq!(
            next("15 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2),
            ["2026-04-24 01:00 +03:00", "2026-04-25 00:15 +03:00"]
        );
    }

    #[test]
    fn a_time_of_day_that_comes_twice_is_due_the_first_time() {
        assert_eq!(
            next("30 2 * * *", "Europe/Rome", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25 02:30 +02:00", "2026-10-26 02:30 +01:00"]
        );
        // Between the two passes it has been due.
        assert_eq!(
            next("30 2 * * *", "Europe/Rome", "2026-10-25T01:00:00Z", 1),
            ["2026-10-26 02:30 +01:00"]
        );
    }

    #[test]
    fn real_hours_neither_leap_nor_repeat() {
        assert_eq!(
            next("30 * * * *", "Europe/Rome", "2026-03-29T00:00:00Z", 3),
            [
                "2026-03-29 01:30 +01:00",
                "2026-03-29 03:30 +02:00",
                "2026-03-29 04:30 +02:00"
            ]
        );
        assert_eq!(
            next("30 * * * *", "Europe/Rome", "2026-10-25T00:00:00Z", 3),
            [
                "2026-10-25 02:30 +02:00",
                "2026-10-25 02:30 +01:00",
                "2026-10-25 03:30 +01:00"
            ]
        );
        // Clocks that go back over midnight: a time of yesterday comes after one of today.
        assert_eq!(
            next("30 * * * *", "Africa/Cairo", "2026-10-29T20:00:00Z", 3),
            [
                "2026-10-29 23:30 +03:00",
                "2026-10-29 23:30 +02:00",
                "2026-10-30 00:30 +02:00"
            ]
        );
        // Half an hour at a time.
        assert_eq!(
            next(
                "*/30 * * * *",
                "Australia/Lord_Howe",
                "2026-04-04T14:20:00Z",
                3
            ),
            [
                "2026-04-05 01:30 +11:00",
                "2026-04-05 01:30 +10:30",
                "2026-04-05 02:00 +10:30"
            ]
        );
    }

    #[test]
    fn every_half_hour_is_every_half_hour_in_every_zone_for_a_year() {
        for zone in [
            "",
            "Europe/Rome",
            "America/Sao_Paulo",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
            "Asia/Gaza",
        ] {
            let clock = Clock::new("*/30 * * * *", zone).unwrap();
            let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            let mut last = clock.after(start).unwrap();
            for time in clock.times_after(last).take(366 * 48) {
                assert_eq!((time - last).0, 1_800 * 1_000_000_000, "{zone} {last}");
                last = time;
            }
        }
    }

    #[test]
    fn a_daily_time_comes_once_a_day_in_every_zone() {
        for zone in [
            "Europe/Rome",
            "America/New_York",
            "Australia/Lord_Howe",
            "Africa/Cairo",
        ] {
            for hour in 0..5 {
                let clock = Clock::new(&format!("30 {hour} * * *"), zone).unwrap();
                let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
                let times: Vec<_> = clock.times_after(start).take(730).collect();
                let days: std::collections::BTreeSet<String> = times
                    .iter()
                    .map(|time| clock.show(*time)[..10].to_owned())
                    .collect();
                assert_eq!(days.len(), times.len(), "{zone} {hour}");
                let length = times[729] - times[0];
                assert!(
                    (length.0 / 3_600_000_000_000 - 729 * 24).abs() <= 1,
                    "{zone} {hour}"
                );
            }
        }
    }

    #[test]
    fn the_last_time_before_another_is_found() {
        let clock = Clock::new("0 4 1 * *", "Europe/Rome").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let found = clock.last_between(at("2026-01-01T00:00:00Z"), at("2026-11-23T00:00:00Z"));
        assert_eq!(found, Some(at("2026-11-01T03:00:00Z")));
        assert_eq!(
            clock.last_between(at("2026-11-02T00:00:00Z"), at("2026-11-23T00:00:00Z")),
            None
        );
    }

    #[test]
    fn unknown_zones_are_refused() {
        let error = Clock::new("* * * * *", "Europe/Atlantis").unwrap_err();
        assert!(error.to_string().contains("Europe/Rome"), "{error}");
    }
}
