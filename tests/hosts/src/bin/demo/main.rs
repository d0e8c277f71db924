//! The main job shown on three hosts with real engines, in eight steps.
//!
//! Every step is judged by what is observed from outside of swarmr: containers
//! counted by each engine, answers to requests, and a stream of requests from a
//! client that is no member, of which the failed ones are counted. Ends with a
//! table; the exit code is 0 only if every step passed.

mod losses;
mod stage;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use stage::Stage;
use steps::STEPS;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every step passed.
fn run() -> Result<bool> {
    let Some(swarmr) = program()? else {
        testhosts::sweep()?;
        return Ok(true);
    };
    let mut stage = Stage::new(swarmr)?;
    let mut verdicts = Vec::new();
    for (number, step) in STEPS.iter().enumerate() {
        println!("\n== {}. {}", number + 1, step.title);
        let outcome = (step.play)(&mut stage);
        match &outcome {
            Ok(seen) => println!("-- {}. passed: {seen}", number + 1),
            Err(error) => println!(
                "-- {}. FAILED: {error:#}\n{}",
                number + 1,
                stage.hosts.logs()
            ),
        }
        let go_on = outcome.is_ok() || !step.needed;
        verdicts.push(outcome.map_err(|error| summary(&format!("{error:#}"))));
        if !go_on {
            break;
        }
        if verdicts.last().is_some_and(Result::is_err)
            && let Err(error) = stage.mend()
        {
            println!("  not mended: {error:#}");
        }
    }
    println!("\n== Summary");
    for (number, step) in STEPS.iter().enumerate() {
        let (verdict, seen) = match verdicts.get(number) {
            Some(Ok(seen)) => ("passed", seen.as_str()),
            Some(Err(error)) => ("FAILED", error.as_str()),
            None => ("FAILED", "not reached"),
        };
        println!("{}. {:<44} {verdict}  {seen}", number + 1, step.title);
    }
    let passed = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
    println!("{passed} of {} steps passed", STEPS.len());
    Ok(passed == STEPS.len())
}

/// The `swarmr` to show; none when only leftovers are to be removed.
fn program() -> Result<Option<PathBuf>> {
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some("--swarmr"), Some(path)) => Ok(Some(path.into())),
        (Some("--sweep"), None) => Ok(None),
        _ => bail!("usage: demo --swarmr PATH | demo --sweep"),
    }
}

/// The first two lines as one: a failed command, and the first thing it said.
fn summary(text: &str) -> String {
    text.lines()
        .take(2)
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(": ")
}
