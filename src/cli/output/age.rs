//! Lengths of time in words, as Docker's clients write them.

use crate::spec::{Nanos, Timestamp};

/// `5 seconds`, `About a minute`, `3 weeks`.
pub(crate) fn in_words(length: Nanos) -> String {
    let seconds = length.0.max(0) / 1_000_000_000;
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `5 seconds ago`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", in_words(now - then).to_lowercase())
}

/// As Go writes a duration: `1m30s`, `1.5s`, `200ms`, `0s`.
pub(crate) fn go_duration(length: Nanos) -> String {
    let nanos = length.0.unsigned_abs();
    let sign = if length.0 < 0 { "-" } else { "" };
    let fraction = |value: u64, unit: u64, name: &str| {
        let mut text = format!(
            "{}.{:09}",
            value / unit,
            (value % unit) * (1_000_000_000 / unit)
        );
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        format!("{sign}{text}{name}")
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => fraction(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(nanos, 1_000_000, "ms"),
        _ => {
            const MINUTE: u64 = 60_000_000_000;
            let (minutes, rest) = (nanos / MINUTE, nanos % MINUTE);
            let seconds = fraction(rest, 1_000_000_000, "s");
            let seconds = seconds.trim_start_matches('-');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// `2026-11-23 02:29:50.277790477 +0000 utc`, as Docker's `--pretty` writes instants.
pub(crate) fn go_instant(at: Timestamp) -> String {
    format!(
        "{} +0000 utc",
        at.to_string().trim_end_matches('Z').replace('T', " ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_dockers_words() {
        const HOUR: i64 = 3600;
        let table = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (59 * 60 + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1799, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (14 * 24 * HOUR, "2 weeks"),
            (60 * 24 * HOUR, "2 months"),
            (730 * 24 * HOUR, "2 years"),
        ];
        for (seconds, want) in table {
            assert_eq!(in_words(Nanos::from_secs(seconds)), want, "{seconds}");
        }
        assert_eq!(in_words(Nanos(-5)), "Less than a second");
        assert_eq!(
            ago(Timestamp(0), Timestamp(60_000_000_000)),
            "about a minute ago"
        );
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let table = [
            (0, "0s"),
            (5_000_000_000, "5s"),
            (90_000_000_000, "1m30s"),
            (1_500_000_000, "1.5s"),
            (200_000_000, "200ms"),
            (1_500, "1.5µs"),
            (7, "7ns"),
            (7_776_000_000_000_000, "2160h0m0s"),
            (-90_000_000_000, "-1m30s"),
        ];
        for (nanos, want) in table {
            assert_eq!(go_duration(Nanos(nanos)), want);
        }
        assert_eq!(
            go_instant(Timestamp(1_763_877_323_500_677_043)),
            "2025-11-23 05:55:23.500677043 +0000 utc"
        );
    }
}
