//! How fast the core decides, and how much memory its state takes. `scripts/bench-core` runs it.
//!
//! Everything happens in one process with a clock of its own: commands are applied, the leader
//! plans until it finds nothing to do, agents report at once. What is timed is planning and
//! applying together, for that is what stands between a wish and an assignment.

mod cluster;
mod memory;
mod rows;

use std::time::Instant;

use cluster::{Cluster, Size};
use rows::Rows;

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

/// `--scale N` divides the sizes by N, to see that the benchmark itself works.
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let after = |word: &str| {
        let place = words.iter().position(|it| it == word)?;
        words.get(place + 1)
    };
    let only = after("--only");
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let scale = after("--scale")
        .and_then(|scale| scale.parse().ok())
        .unwrap_or(1);
    let mut rows = Rows::new(words.iter().any(|word| word == "--json"));
    let just_placing = only.is_some_and(|only| only == "place_1m");
    if wanted("place") || just_placing {
        place(scale, just_placing, &mut rows);
    }
    if wanted("placement") {
        placement("placement_p99_1k", 1_000, 1, &mut rows);
        placement("placement_p99_100k", 100_000, scale, &mut rows);
    }
    if wanted("roll") {
        roll(scale, &mut rows);
    }
}

/// A million tasks on ten thousand nodes, then, unless that is all, small changes to that cluster and
/// one of twice the size.
fn place(scale: u64, just_placing: bool, rows: &mut Rows) {
    let before = memory::live_bytes();
    let size = Size {
        nodes: 10_000 / scale,
        services: 1_000,
        replicas: 1_000 / scale,
    };
    let mut cluster = Cluster::of(size);
    let created = memory::live_bytes();
    let calls = memory::allocations();
    let start = Instant::now();
    let placed = cluster.settle();
    rows.seconds("place_1m", start.elapsed());
    assert_eq!(placed, size.tasks(), "tasks were not placed");
    cluster.check_balance();
    let tasks = size.tasks() as f64;
    let calls = (memory::allocations() - calls) as f64;
    rows.number("allocations_per_task", calls / tasks, "count");
    let held = (memory::live_bytes() - created) as f64;
    rows.number("bytes_per_task_assigned", held / tasks, "bytes");
    if just_placing {
        // To be looked at by a profiler: not even the memory is given back.
        return std::mem::forget(cluster);
    }
    cluster.run_all();
    let held = (memory::live_bytes() - created) as f64;
    rows.number("bytes_per_task", held / tasks, "bytes");
    rows.number("bytes_of_nodes", (created - before) as f64, "bytes");
    small_changes("", &mut cluster, rows);
    drop(cluster);
    let mut double = Cluster::of(Size {
        nodes: size.nodes * 2,
        services: size.services * 2,
        ..size
    });
    double.settle();
    double.run_all();
    small_changes("_double", &mut double, rows);
}

fn small_changes(suffix: &str, cluster: &mut Cluster, rows: &mut Rows) {
    let times = (0..200).map(|n| cluster.exit_one(n)).collect();
    rows.median(&format!("pass_after_exit{suffix}"), times);
    let times = (0..20).map(|n| cluster.relabel(n)).collect();
    rows.median(&format!("label_changed{suffix}"), times);
    rows.seconds(&format!("node_lost{suffix}"), cluster.lose_node(7));
}

/// One task after the other on a cluster that is nine tenths full.
fn placement(name: &str, nodes: u64, scale: u64, rows: &mut Rows) {
    let mut cluster = Cluster::nearly_full(nodes / scale);
    let times = (0..2_000).map(|n| cluster.place_one(n)).collect();
    rows.p99(name, times);
}

/// One service of ten thousand tasks gets another image, a hundred at a time.
fn roll(scale: u64, rows: &mut Rows) {
    let size = Size {
        nodes: 10_000 / scale,
        services: 1,
        replicas: 10_000 / scale,
    };
    let mut cluster = Cluster::of(size);
    cluster.settle();
    cluster.run_all();
    let start = Instant::now();
    cluster.roll();
    rows.seconds("roll_10k", start.elapsed());
}
