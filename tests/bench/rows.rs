//! What was measured, a line each: for people, or as JSON.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Rows {
    json: bool,
}

impl Rows {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn number(&mut self, name: &str, value: f64, unit: &str) {
        if self.json {
            println!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}"}}"#);
        } else {
            println!("{name:28} {value:14.2} {unit}");
        }
    }

    pub(crate) fn seconds(&mut self, name: &str, time: Duration) {
        self.number(name, time.as_secs_f64(), "s");
    }

    pub(crate) fn median(&mut self, name: &str, times: Vec<Duration>) {
        self.quantile(name, times, 50);
    }

    pub(crate) fn p99(&mut self, name: &str, times: Vec<Duration>) {
        self.quantile(name, times, 99);
    }

    fn quantile(&mut self, name: &str, mut times: Vec<Duration>, percent: usize) {
        times.sort();
        let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        if let Some(time) = times.get(place) {
            self.number(name, time.as_secs_f64() * 1e6, "µs");
        }
    }
}
