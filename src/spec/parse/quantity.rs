//! Numbers with units: durations, sizes, CPUs, ratios.

use super::ParseError;
use crate::spec::time::Nanos;

/// `1h30m`, `1.5s`, `200ms`, `0`: a sum of numbers, each with a unit, not negative.
pub fn duration(text: &str) -> Result<Nanos, ParseError> {
    let wrong = || {
        ParseError::new(
            "duration",
            text,
            "numbers with a unit of ns, us, ms, s, m or h, such as 10s or 1h30m",
        )
    };
    if text == "0" {
        return Ok(Nanos::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|next: char| !next.is_ascii_digit() && next != '.')
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit_length = tail
            .find(|next: char| next.is_ascii_digit() || next == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        total = scaled(number, unit)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    i64::try_from(total).map(Nanos).map_err(|_| wrong())
}

/// `512m`, `1.5g`, `1024`: bytes with an optional unit of b, k, m, g, t or p, each 1024 of the one
/// before; `kb` and `kib` mean `k`.
pub fn bytes(text: &str) -> Result<i64, ParseError> {
    let wrong = || {
        ParseError::new(
            "size",
            text,
            "a number with an optional unit of b, k, m, g, t or p, such as 512m",
        )
    };
    let split = text
        .find(|next: char| !next.is_ascii_digit() && next != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let letter = match unit.as_str() {
        "" | "b" => "",
        other => other
            .strip_suffix("ib")
            .or_else(|| other.strip_suffix('b'))
            .unwrap_or(other),
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(wrong()),
    };
    scaled(number, 1024_i128.pow(power))
        .and_then(|size| i64::try_from(size).ok())
        .ok_or_else(wrong)
}

/// `0.5`, `2`: CPUs, in units of 10^-9.
pub fn cpus(text: &str) -> Result<i64, ParseError> {
    let fraction = text.split_once('.').map_or(0, |(_, digits)| digits.len());
    scaled(text, 1_000_000_000)
        .filter(|_| fraction <= 9)
        .and_then(|nano_cpus| i64::try_from(nano_cpus).ok())
        .ok_or_else(|| {
            ParseError::new(
                "number of CPUs",
                text,
                "a number of at most nine decimal places, such as 0.5",
            )
        })
}

/// A share between 0 and 1.
pub fn ratio(text: &str) -> Result<f32, ParseError> {
    text.parse::<f32>()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| ParseError::new("ratio", text, "a number from 0 to 1, such as 0.2"))
}

/// `number` times `unit`, exact down to the last whole one; `None` for what is no number or too
/// large.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    // Eighteen places are finer than any unit here.
    let fraction = &fraction[..fraction.len().min(18)];
    let mut value = if whole.is_empty() {
        0
    } else {
        whole.parse::<i128>().ok()?.checked_mul(unit)?
    };
    if !fraction.is_empty() {
        let places = u32::try_from(fraction.len()).ok()?;
        value = value
            .checked_add(fraction.parse::<i128>().ok()?.checked_mul(unit)? / 10_i128.pow(places))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let table = [
            ("0", 0),
            ("0s", 0),
            ("10s", 10_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5m", 30_000_000_000),
            ("200ms", 200_000_000),
            ("3us", 3_000),
            ("3µs", 3_000),
            ("7ns", 7),
            ("2160h", 7_776_000_000_000_000),
        ];
        for (text, want) in table {
            assert_eq!(duration(text), Ok(Nanos(want)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5d",
            "-5s",
            "5s5",
            "1..5s",
            "five",
            "9999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(
            duration("5d").unwrap_err().to_string(),
            "duration \"5d\" is not valid: want numbers with a unit of ns, us, ms, s, m or h, \
             such as 10s or 1h30m"
        );
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        let table = [
            ("1024", 1024),
            ("0", 0),
            ("4m", 4 << 20),
            ("4M", 4 << 20),
            ("4mb", 4 << 20),
            ("4MiB", 4 << 20),
            ("4 MB", 4 << 20),
            ("1.5g", 3 << 29),
            ("32b", 32),
            ("1t", 1 << 40),
            ("1p", 1 << 50),
        ];
        for (text, want) in table {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1mm", "1 000", "99999999p"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_are_exact_to_nine_places() {
        assert_eq!(cpus("0.5"), Ok(500_000_000));
        assert_eq!(cpus("2"), Ok(2_000_000_000));
        assert_eq!(cpus(".001"), Ok(1_000_000));
        assert_eq!(cpus("0.000000001"), Ok(1));
        for text in ["", "-1", "1e3", "0.0000000001", "two"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ratios_lie_between_0_and_1() {
        assert_eq!(ratio("0.25"), Ok(0.25));
        for text in ["-0.1", "1.1", "NaN", "", "x"] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }
}
