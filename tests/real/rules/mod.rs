//! Each rule of the deciding core, shown once on three engines: judged by the containers that the
//! engines tell of and by answers over HTTP, never by what swarmr believes of itself.
//!
//! One cluster for each subject; its rules follow one another, and each ends with nothing left of
//! it. All that fail are named, not only the first.

mod jobs;
mod moves;
mod resources;
mod rollouts;
mod scheduling;
mod stage;
mod starting;
mod web;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use stage::Stage;

/// What a rule is, and what shows it; gives what was seen.
type Rule = (&'static str, fn(&Stage) -> Result<String>);

/// Shows rules one after the other. With `--nocapture` it prints what was seen of each.
fn show(stage: &Stage, rules: &[Rule]) {
    let mut failed = Vec::new();
    let mut names = BTreeSet::new();
    for (name, rule) in rules {
        assert!(names.insert(name), "two rules are called {name:?}");
        let began = Instant::now();
        let seen = rule(stage).map_err(|error| stage.with_tasks(error));
        // Also after a rule that failed, for the sake of the next one.
        let seen = stage.clear().and(seen);
        let took = began.elapsed().as_secs_f64();
        match seen {
            Ok(seen) => println!("{took:5.1} s  {name}: {seen}"),
            Err(error) => {
                println!("{took:5.1} s  {name}: FAILED: {error:#}");
                failed.push(format!("{name}: {error:#}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
