//! How soon a host that is lost gets nothing new, and how soon its tasks run elsewhere; and whether
//! stops and loss are taken for deaths.
//!
//! Three managers and a worker with real engines. In each round one of them loses its power (its link
//! is cut and every process killed at once), the leader first, then a worker, then another manager.
//! Connections are made all the while to the published port of all who survive: the last that hangs
//! says when the lost host was out of balancing.

mod connects;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use testhosts::Host;

use connects::Connects;
use stage::{Stage, Victim};

struct Options {
    json: bool,
    kills: usize,
    /// How long 20 % of the packets are lost.
    loss: Duration,
    swarmr: PathBuf,
    /// What the daemons log; printed at the end when it is not the usual.
    log_level: Option<String>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-failover: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options {
        json: false,
        kills: 20,
        loss: Duration::from_secs(120),
        swarmr: PathBuf::new(),
        log_level: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "--json" => options.json = true,
            "--kills" => options.kills = value()?.parse().context("--kills takes a number")?,
            "--loss" => {
                let seconds = value()?.parse().context("--loss takes seconds")?;
                options.loss = Duration::from_secs(seconds);
            }
            "--swarmr" => options.swarmr = value()?.into(),
            "--log-level" => options.log_level = Some(value()?),
            other => bail!(
                "unknown option {other}; there are --json, --kills N, --loss SECONDS, --log-level LEVEL \
                 and --swarmr PATH"
            ),
        }
    }
    ensure!(
        options.swarmr.is_file(),
        "--swarmr PATH is needed: the program to measure"
    );
    Ok(options)
}

fn run(options: &Options) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    eprintln!("load before: {}", load.trim());
    let level = options.log_level.as_deref().unwrap_or("info");
    let stage = Stage::new(&options.swarmr, level)?;
    let result = measure(options, &stage);
    if options.log_level.is_some() {
        eprintln!("{}", stage.hosts.logs());
    }
    stage.hosts.explain(result)
}

fn measure(options: &Options, stage: &Stage) -> Result<()> {
    let mut times = Times::default();
    let alarms = stage.alarms();
    stops(stage)?;
    loss(stage, options.loss)?;
    let false_alarms = alarms.take()?;
    eprintln!("{false_alarms} false alarms");
    for kill in 0..options.kills {
        let victim = match kill % 3 {
            0 => Victim::Leader,
            1 => Victim::Worker,
            _ => Victim::Manager,
        };
        round(stage, victim, &mut times).with_context(|| format!("kill {}", kill + 1))?;
    }
    print(options.json, "false_alarms", "count", false_alarms as f64);
    for (name, of) in [
        ("out_of_balancing", &times.out),
        ("replaced", &times.replaced),
        ("leader_replaced", &times.leader),
    ] {
        for (share, label) in [(0.5, "p50"), (0.99, "p99")] {
            if let Some(time) = quantile(of, share) {
                let milliseconds = time.as_secs_f64() * 1_000.0;
                print(options.json, &format!("{name}_{label}"), "ms", milliseconds);
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Times {
    out: Vec<Duration>,
    replaced: Vec<Duration>,
    /// Of those, where the leader was lost.
    leader: Vec<Duration>,
}

fn round(stage: &Stage, victim: Victim, times: &mut Times) -> Result<()> {
    let lost = stage.find(victim)?;
    let survivors = || stage.hosts.iter().filter(|host| host.name() != lost.name());
    let connects = Connects::start(stage.hosts.client(), survivors())?;
    thread::sleep(Duration::from_millis(500));
    let mut apps = testhosts::Apps::new(survivors(), 80);
    let begin = Instant::now();
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    lost.power_off()?;
    let end = apps.wait(stage.tasks(), stage::PATIENCE)?;
    thread::sleep(Duration::from_millis(1_500));
    let replaced = end - begin;
    let out = connects.last_lost(begin)?.saturating_duration_since(begin);
    drop(connects);
    eprintln!(
        "{} ({victim:?}) at {:.3}: out of balancing after {} ms, replaced after {} ms",
        lost.name(),
        clock.as_secs_f64() % 60.0,
        out.as_millis(),
        replaced.as_millis()
    );
    times.out.push(out);
    times.replaced.push(replaced);
    if victim == Victim::Leader {
        times.leader.push(replaced);
    }
    stage.restore(lost)
}

/// Every daemon in turn stands still for two seconds; its kernel goes on.
fn stops(stage: &Stage) -> Result<()> {
    for host in stage.hosts.iter() {
        eprintln!("{} is stopped for 2 s", host.name());
        let daemon = host.daemon().context("no daemon runs")?;
        daemon.signal(Signal::SIGSTOP);
        thread::sleep(Duration::from_secs(2));
        daemon.signal(Signal::SIGCONT);
        thread::sleep(Duration::from_secs(3));
    }
    Ok(())
}

/// One packet in five that comes to any host is lost.
fn loss(stage: &Stage, time: Duration) -> Result<()> {
    eprintln!("20 % of the packets are lost for {} s", time.as_secs());
    let lossy = "nft add table inet lossy; \
        nft add chain inet lossy input '{ type filter hook input priority -400; }'; \
        nft add rule inet lossy input iifname eth0 numgen random mod 100 '<' 20 drop";
    let each = |script: &str| {
        let run = |host: &Host| host.sh(script).and_then(testhosts::Output::ok).map(drop);
        stage.hosts.each(run).map(drop)
    };
    each(lossy)?;
    thread::sleep(time);
    each("nft delete table inet lossy")?;
    thread::sleep(Duration::from_secs(3));
    Ok(())
}

fn quantile(times: &[Duration], share: f64) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let last = times.len().checked_sub(1)?;
    times
        .get(((times.len() as f64 * share) as usize).min(last))
        .copied()
}

fn print(json: bool, name: &str, unit: &str, value: f64) {
    if json {
        println!(r#"{{"name":"{name}","value":{value:.1},"unit":"{unit}"}}"#);
    } else {
        println!("{name:24} {value:>10.1} {unit}");
    }
}
