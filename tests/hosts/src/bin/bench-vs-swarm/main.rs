//! Compares swarmr with Docker Swarm, in turn on the same kind of hosts.
//!
//! Each round makes four fresh hosts (three managers, one worker) for swarmr,
//! measures every row, and does the same for Docker Swarm with the same code:
//! both are driven through Docker's API and commands in Docker's words. A row's
//! value is the median of all its samples. Progress goes to standard error.

mod cluster;
mod measure;
mod report;
mod rows;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use cluster::Side;
use report::Report;

/// What to run.
struct Options {
    json: bool,
    rounds: usize,
    swarmr: Option<PathBuf>,
    sides: Vec<Side>,
}

fn main() -> ExitCode {
    match options().and_then(|options| options.as_ref().map_or(Ok(()), run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-vs-swarm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    eprintln!("load before: {}", load.trim());
    let mut report = Report::default();
    for round in 1..=options.rounds {
        for side in &options.sides {
            eprintln!("round {round} of {}, {}", options.rounds, side.name());
            measure::round(*side, options.swarmr.as_deref(), &mut report)
                .with_context(|| format!("round {round}, {}", side.name()))?;
        }
    }
    if options.json {
        print!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// None when only the usage was asked for.
fn options() -> Result<Option<Options>> {
    let mut options = Options {
        json: false,
        rounds: 3,
        swarmr: None,
        sides: vec![Side::Swarmr, Side::Swarm],
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "--help" => {
                print!("{}", usage());
                return Ok(None);
            }
            "--json" => options.json = true,
            "--rounds" => options.rounds = value()?.parse().context("--rounds takes a number")?,
            "--swarmr" => options.swarmr = Some(value()?.into()),
            "--only" => {
                options.sides = match value()?.as_str() {
                    "swarmr" => vec![Side::Swarmr],
                    "swarm" => vec![Side::Swarm],
                    other => bail!("--only takes swarmr or swarm, not {other}"),
                }
            }
            other => bail!(
                "unknown option {other}; there are --json, --rounds N, --swarmr PATH and \
                 --only swarmr|swarm"
            ),
        }
    }
    if options.sides.contains(&Side::Swarmr) && options.swarmr.is_none() {
        bail!("--swarmr PATH is needed: the program to measure");
    }
    Ok(Some(options))
}

fn usage() -> String {
    let rows = rows::Row::ALL.map(|row| format!("  {:<16} {}\n", row.name(), row.what()));
    format!(
        "bench-vs-swarm [--json] [--rounds N] [--only swarmr|swarm] [--swarmr PATH]\n\nRows:\n{}",
        rows.concat()
    )
}
