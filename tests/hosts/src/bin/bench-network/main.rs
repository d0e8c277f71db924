//! Measures the network, each part beside what people use today, in turn on the
//! same host. Progress goes to standard error.

mod names;
mod overlay;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use report::Report;

/// What to run.
struct Options {
    json: bool,
    rounds: usize,
    parts: Vec<Part>,
    /// `net`'s example of that name.
    resolver: PathBuf,
    swarmr: PathBuf,
}

/// A part of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Names,
    Overlay,
}

impl Part {
    const ALL: [Self; 2] = [Self::Names, Self::Overlay];

    const fn name(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Overlay => "overlay",
        }
    }
}

fn main() -> ExitCode {
    match options().and_then(|options| options.as_ref().map_or(Ok(()), run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-network: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    eprintln!("load before: {}", load.trim());
    let mut report = Report::default();
    for part in &options.parts {
        match part {
            Part::Names => names::measure(&options.resolver, options.rounds, &mut report),
            Part::Overlay => overlay::measure(&options.swarmr, options.rounds, &mut report),
        }
        .with_context(|| format!("measure {}", part.name()))?;
    }
    print!("{}", report.text(options.json));
    Ok(())
}

/// None when only the usage was asked for.
fn options() -> Result<Option<Options>> {
    let mut options = Options {
        json: false,
        rounds: 3,
        parts: Part::ALL.to_vec(),
        resolver: PathBuf::new(),
        swarmr: PathBuf::new(),
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
                println!(
                    "usage: bench-network [--json] [--rounds N] [--only PART] --resolver FILE --swarmr FILE"
                );
                println!("parts: {}", Part::ALL.map(Part::name).join(", "));
                return Ok(None);
            }
            "--json" => options.json = true,
            "--rounds" => options.rounds = value()?.parse().context("--rounds takes a number")?,
            "--swarmr" => options.swarmr = value()?.into(),
            "--resolver" => options.resolver = value()?.into(),
            "--only" => {
                let name = value()?;
                let part = Part::ALL.into_iter().find(|part| part.name() == name);
                options.parts = vec![part.with_context(|| format!("there is no part {name}"))?];
            }
            _ => bail!("unknown word {word}; --help shows what there is"),
        }
    }
    Ok(Some(options))
}
