//! Each rule of the deciding core, shown once on three engines: judged by the containers that the
//! engines tell of and by answers over HTTP, never by what swarmr believes of itself.
//!
//! One cluster for each subject; its rules follow one another, and each ends with nothing left of
//! it. All that fail are named, not only the first.

mod canary;
mod jobs;
mod moves;
mod resources;
mod rollouts;
mod schedules;
mod scheduling;
mod stage;
mod starting;
mod web;

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::time::Instant;

use anyhow::Result;
use stage::Stage;

/// What a rule is, and what shows it; gives what was seen.
type Rule = (&'static str, fn(&Stage) -> Result<String>);

/// Shows rules one after the other. With `--nocapture` it prints what was seen of each. What failed
/// comes last of all, below the logs of the hosts: the end of a long output is what people read.
fn show(stage: Stage, rules: &[Rule]) {
    let mut failed = Vec::new();
    let names: BTreeSet<_> = rules.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), rules.len(), "two rules have the same name");
    for (name, rule) in rules {
        let began = Instant::now();
        let seen = rule(&stage);
        let scene = seen.as_ref().err().map(|_| stage.scene());
        // Also after a rule that failed, for the sake of the next one.
        let cleared = stage.clear();
        let took = began.elapsed().as_secs_f64();
        if let Ok(seen) = &seen {
            println!("{took:5.1} s  {name}: {seen}");
        }
        for error in seen.err().into_iter().chain(cleared.err()) {
            println!("{took:5.1} s  {name}: FAILED: {error:#}");
            failed.push(format!("{name}: {error:#}"));
        }
        if let Some(scene) = scene {
            println!("{scene}");
        }
    }
    if failed.is_empty() {
        return;
    }
    println!("{}", stage.hosts.logs());
    // While nothing panics, dropping the hosts prints no logs after this.
    drop(stage);
    let summary = format!(
        "{} of {} rules are not shown:\n{}",
        failed.len(),
        rules.len(),
        failed.join("\n\n")
    );
    println!("\n{summary}");
    // As a panic, but with nothing printed after it: a backtrace would tell of this loop only.
    resume_unwind(Box::new(summary));
}
