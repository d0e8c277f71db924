//! Samples of all rounds, and how they are shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::cluster::Side;
use crate::rows::Row;

/// All samples, by row and side.
#[derive(Debug, Default)]
pub(crate) struct Report {
    samples: BTreeMap<(Row, Side), Vec<f64>>,
    /// What the machine can do at best, to judge the rows by.
    floors: BTreeMap<&'static str, Vec<f64>>,
}

impl Report {
    pub(crate) fn add(&mut self, row: Row, side: Side, value: f64) {
        eprintln!("  {:<16} {:>10} {}", row.name(), number(value), row.unit());
        self.samples.entry((row, side)).or_default().push(value);
    }

    /// A floor in milliseconds.
    pub(crate) fn add_floor(&mut self, name: &'static str, value_ms: f64) {
        self.floors.entry(name).or_default().push(value_ms);
    }

    /// One object a line: name, value, unit, peer, peer_value; a side that was
    /// not measured is null.
    pub(crate) fn json(&self) -> String {
        let mut text = String::new();
        for row in Row::ALL {
            let line = json!({
                "name": row.name(),
                "value": self.median(row, Side::Swarmr),
                "unit": row.unit(),
                "peer": Side::Swarm.name(),
                "peer_value": self.median(row, Side::Swarm),
            });
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// A table with the median and the range of both sides, and how many times
    /// better swarmr is.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<16} {:>4} {:>26} {:>26} {:>9}  {}\n",
            "row", "unit", "swarmr (least-most)", "docker swarm (least-most)", "better", "what"
        );
        for row in Row::ALL {
            let _ = writeln!(
                text,
                "{:<16} {:>4} {:>26} {:>26} {:>9}  {}",
                row.name(),
                row.unit(),
                self.range(row, Side::Swarmr),
                self.range(row, Side::Swarm),
                self.ratio(row)
                    .map_or("-".to_owned(), |ratio| format!("{} x", number(ratio))),
                row.what()
            );
        }
        for (name, values) in &self.floors {
            let _ = writeln!(
                text,
                "floor: {name} {} ms",
                number(median(values).unwrap_or(0.0))
            );
        }
        text
    }

    /// How many times better swarmr is; below 1 where it is worse.
    fn ratio(&self, row: Row) -> Option<f64> {
        let own = self.median(row, Side::Swarmr)?;
        let peer = self.median(row, Side::Swarm)?;
        let (better, worse) = if row.more_is_better() {
            (peer, own)
        } else {
            (own, peer)
        };
        (better > 0.0).then(|| worse / better)
    }

    fn median(&self, row: Row, side: Side) -> Option<f64> {
        median(self.samples.get(&(row, side))?)
    }

    fn range(&self, row: Row, side: Side) -> String {
        let Some(values) = self.samples.get(&(row, side)) else {
            return "-".to_owned();
        };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let middle = median(values).unwrap_or(0.0);
        format!("{} ({}-{})", number(middle), number(least), number(most))
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_says_how_many_times_better_whichever_way_better_is() {
        let mut report = Report::default();
        report.add(Row::Init, Side::Swarmr, 100.0);
        report.add(Row::Init, Side::Swarm, 650.0);
        report.add(Row::Writes64, Side::Swarmr, 20_000.0);
        report.add(Row::Writes64, Side::Swarm, 200.0);
        assert_eq!(report.ratio(Row::Init), Some(6.5));
        assert_eq!(report.ratio(Row::Writes64), Some(100.0));
        assert_eq!(report.ratio(Row::Join), None);
    }

    #[test]
    fn each_row_is_one_object_a_line_and_what_was_not_measured_is_null() {
        let mut report = Report::default();
        report.add(Row::Init, Side::Swarm, 650.0);
        let text = report.json();
        assert_eq!(text.lines().count(), Row::ALL.len());
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["name"], "init");
        assert_eq!(first["peer_value"], 650.0);
        assert!(first["value"].is_null());
    }

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
