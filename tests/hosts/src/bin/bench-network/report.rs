//! What was measured, a row each, with the peer's value where there is one.

use std::fmt::Write as _;

use serde_json::json;

#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    samples: Vec<f64>,
    unit: &'static str,
    peer: Option<(&'static str, Vec<f64>)>,
}

impl Report {
    /// A row without a peer: what the machine can do at best.
    pub(crate) fn floor(&mut self, name: &'static str, unit: &'static str, samples: Vec<f64>) {
        self.rows.push(Row {
            name,
            samples,
            unit,
            peer: None,
        });
    }

    /// A row beside the same of `peer`; without samples of the peer, alone.
    pub(crate) fn beside(
        &mut self,
        name: &'static str,
        unit: &'static str,
        samples: Vec<f64>,
        peer: (&'static str, Vec<f64>),
    ) {
        self.rows.push(Row {
            name,
            samples,
            unit,
            peer: (!peer.1.is_empty()).then_some(peer),
        });
    }

    pub(crate) fn text(&self, as_json: bool) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let value = median(&row.samples);
            let peer = row.peer.as_ref().map(|(name, all)| (*name, median(all)));
            let line = match (as_json, peer) {
                (true, Some((peer, peer_value))) => json!({
                    "name": row.name, "value": value, "unit": row.unit,
                    "peer": peer, "peer_value": peer_value,
                })
                .to_string(),
                (true, None) => {
                    json!({"name": row.name, "value": value, "unit": row.unit}).to_string()
                }
                (false, peer) => row.line(value, peer),
            };
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

impl Row {
    fn line(&self, value: f64, peer: Option<(&str, f64)>) -> String {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted.first(), sorted.last());
        let range = least.zip(most).map_or(String::new(), |(least, most)| {
            format!(" ({least:.2} to {most:.2})")
        });
        let beside = peer.map_or(String::new(), |(peer, of_peer)| {
            format!("; {peer} {of_peer:.2}, {:.2} of it", value / of_peer)
        });
        format!("{:20} {value:10.2} {}{range}{beside}", self.name, self.unit)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_peer_only_where_that_was_measured() {
        let mut report = Report::default();
        report.beside("dns_cpu", "µs", vec![6.0, 5.0, 7.0], ("docker", vec![15.0]));
        report.beside("dns_cpu_alone", "µs", vec![5.0], ("unbound", Vec::new()));
        let text = report.text(true);
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            (&lines[0]["value"], &lines[0]["peer_value"]),
            (&json!(6.0), &json!(15.0))
        );
        assert!(lines[1].get("peer").is_none());
    }
}
