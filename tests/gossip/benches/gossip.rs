//! How soon a crash is known, how fast news goes, what it costs: swarmr beside memberlist's formulas, in
//! one simulation. `scripts/bench-gossip` runs it.

use std::time::Instant;

use gossipsim::{Kind, Memberlist, Swarmr, crashes, idle_bytes, quantile, spreads, watch};

const SECOND: u64 = 1_000_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let json = words.iter().any(|word| word == "--json");
    let after = |word: &str| {
        let at = words.iter().position(|it| it == word)?;
        words.get(at + 1)
    };
    let seed = after("--seed").and_then(|it| it.parse().ok()).unwrap_or(1);
    let scale: usize = after("--scale").and_then(|it| it.parse().ok()).unwrap_or(1);
    let began = Instant::now();
    let own = Arm::of::<Swarmr>(seed, scale, 8 * SECOND, &began);
    let peer = Arm::of::<Memberlist>(seed, scale, 60 * SECOND, &began);
    for (own, peer) in own.rows.iter().zip(&peer.rows) {
        own.print(peer, json);
    }
}

struct Arm {
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    unit: &'static str,
    value: Option<f64>,
}

impl Arm {
    fn of<M: Kind>(seed: u64, scale: usize, patience: u64, began: &Instant) -> Self {
        let (large, small) = (5_000 / scale, 1_000 / scale);
        let note = |what: &str| eprintln!("{:>4} s  {what}", began.elapsed().as_secs());
        let mut rows = Vec::new();
        let mut add = |name, unit, value| rows.push(Row { name, unit, value });
        let ms = |time: Option<u64>| time.map(|it| it as f64 / 1_000.0);

        note("crashes");
        let found = crashes::<M>(large, 0.01, seed, 100, SECOND / 5, patience);
        let all: Vec<_> = found.iter().map(|it| it.all).collect();
        let first: Vec<_> = found.iter().map(|it| it.first).collect();
        add("detect_p50", "ms", ms(quantile(&all, 0.5)));
        add("detect_p99", "ms", ms(quantile(&all, 0.99)));
        add("first_verdict_p50", "ms", ms(quantile(&first, 0.5)));
        add("first_verdict_p99", "ms", ms(quantile(&first, 0.99)));

        note("changes");
        let times = spreads::<M>(large, 0.01, seed, 200, 10 * SECOND);
        add("spread_p50", "ms", ms(quantile(&times, 0.5)));
        add("spread_p999", "ms", ms(quantile(&times, 0.999)));

        note("false alarms");
        let mut alarms = 0;
        for (loss, stopped) in [(0.0, 0.0), (0.05, 0.0), (0.2, 0.0), (0.0, 0.1), (0.05, 0.1)] {
            // Stops make so much to tell that they take the simulation long.
            let seconds = if stopped > 0.0 { 20 } else { 120 };
            let raised = watch::<M>(small, loss, stopped, seed, seconds);
            note(&format!("{raised} at {loss} loss, {stopped} stopped"));
            alarms += raised;
        }
        add("false_alarms", "count", Some(alarms as f64));

        note("idle");
        add(
            "bytes_per_node_1k",
            "B/s",
            Some(idle_bytes::<M>(small, 0.0, seed, 30)),
        );
        add(
            "bytes_per_node_5k",
            "B/s",
            Some(idle_bytes::<M>(large, 0.0, seed, 30)),
        );
        note("done");
        Self { rows }
    }
}

impl Row {
    fn print(&self, peer: &Self, json: bool) {
        let Self { name, unit, .. } = self;
        let text = |value: Option<f64>| value.map_or("null".to_owned(), |it| format!("{it:.3}"));
        let (value, peer) = (text(self.value), text(peer.value));
        if json {
            println!(
                r#"{{"name":"{name}","value":{value},"unit":"{unit}","peer":"memberlist","peer_value":{peer}}}"#
            );
        } else {
            println!("{name:20} {value:>14} {unit:6} memberlist {peer:>14}");
        }
    }
}
