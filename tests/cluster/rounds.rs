//! Daemons are killed and started again at random while writers write: what was acknowledged is
//! there, on every manager, in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhosts::{Local, eventually};

use super::look::{
    BOUNDED, SOON, cluster, config, converged, engines_hold, list, run, settled, text,
};
use super::random::Random;

/// Rounds of a normal run; `SWARMR_TEST_KILLS` asks for more or fewer.
const ROUNDS: usize = 100;
const WRITERS: u64 = 4;
/// Writes that are waited for between a kill and the next start, unless nobody can write.
const WRITES_BETWEEN: usize = 3;

/// What the writers have done so far.
#[derive(Debug, Default)]
struct Ledger {
    /// Ids of acknowledged configs, and what each must hold.
    acknowledged: Mutex<BTreeMap<String, Written>>,
    /// Names that were tried at all.
    tried: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    refused: AtomicUsize,
    over: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    name: String,
    data: Value,
}

#[test]
fn no_acknowledged_write_is_lost_however_daemons_die() {
    let rounds = match std::env::var("SWARMR_TEST_KILLS") {
        Ok(text) => text.parse().expect("SWARMR_TEST_KILLS is a number"),
        Err(_) => ROUNDS,
    };
    let (mut random, seed) = Random::seeded().unwrap();
    println!("{rounds} rounds, SWARMR_TEST_SEED={seed}");
    let local = cluster(3, 3).unwrap();
    let ledger = Ledger::default();
    run(&local[0], "service create -d --name web --replicas 6 web:1");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (local, ledger, random) = (&local, &ledger, Random::new(seed ^ (writer + 1)));
            scope.spawn(move || write(local, ledger, writer, random));
        }
        let killed = (0..rounds).try_for_each(|round| {
            disturb(&local, &ledger, &mut random)
                .with_context(|| format!("round {round}, seed {seed}"))
        });
        ledger.over.store(true, Ordering::Relaxed);
        killed.unwrap();
    });
    settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();
    for node in local.iter() {
        check(&list(&node.api(), "/configs").unwrap(), &ledger)
            .with_context(|| format!("on {} after {rounds} rounds, seed {seed}", node.name()))
            .unwrap();
        assert!(
            !node.log(usize::MAX).contains("panicked"),
            "{}",
            node.log(200)
        );
    }
    let tasks = converged(&local[0], "web", 6).unwrap();
    engines_hold(&local, &tasks).unwrap();
    println!(
        "{} acknowledged writes checked on 3 managers, {} attempts had no good answer",
        ledger.count.load(Ordering::Relaxed),
        ledger.refused.load(Ordering::Relaxed)
    );
}

/// Kills some daemons, sees the others go on, starts the killed ones.
fn disturb(local: &Local, ledger: &Ledger, random: &mut Random) -> Result<()> {
    // Mostly one of three: the others must go on. Sometimes two, or all.
    let victims = match random.below(8) {
        0 => 3,
        1 => 2,
        _ => 1,
    };
    let first = random.below(local.len());
    let victims: Vec<_> = (0..victims)
        .map(|more| &local[(first + more) % local.len()])
        .collect();
    for victim in &victims {
        victim.kill()?;
    }
    let more_writes = |what: &str| {
        let before = ledger.count.load(Ordering::Relaxed);
        eventually(what, SOON, || {
            ensure!(
                ledger.count.load(Ordering::Relaxed) >= before + WRITES_BETWEEN,
                "none accepted"
            );
            Ok(())
        })
    };
    if victims.len() == 1 {
        more_writes("two of three managers accept writes")?;
    } else {
        thread::sleep(Duration::from_millis(random.next() % 50));
    }
    for victim in &victims {
        victim.start()?;
    }
    // Now and then the next kill comes before this one is over.
    if random.below(4) != 0 {
        more_writes("all managers together accept writes")?;
    }
    Ok(())
}

/// Writes through random daemons until told to stop, and notes what was acknowledged.
fn write(local: &Local, ledger: &Ledger, writer: u64, mut random: Random) {
    for number in 0.. {
        if ledger.over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("w{writer}-{number}");
        let body = config(&name, &format!("{name} {}", random.next()));
        lock(&ledger.tried).insert(name.clone());
        let node = &local[random.below(local.len())];
        let api = node.api().within(BOUNDED);
        let reply = api.send(
            "POST",
            "/configs/create",
            "application/json",
            body.to_string().as_bytes(),
        );
        match reply.and_then(|reply| reply.json()) {
            Ok(made) => {
                let written = Written {
                    name,
                    data: body["Data"].clone(),
                };
                lock(&ledger.acknowledged).insert(text(&made, "/ID"), written);
                ledger.count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                ledger.refused.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Everything acknowledged is there as it was written; nothing is there that nobody wrote, or twice.
fn check(found: &[Value], ledger: &Ledger) -> Result<()> {
    let (acknowledged, tried) = (lock(&ledger.acknowledged), lock(&ledger.tried));
    ensure!(!acknowledged.is_empty(), "nothing was written");
    let mut by_id = BTreeMap::new();
    let mut names = BTreeSet::new();
    for config in found {
        let written = Written {
            name: text(config, "/Spec/Name"),
            data: config["Spec"]["Data"].clone(),
        };
        ensure!(
            tried.contains(&written.name),
            "nobody wrote {}",
            written.name
        );
        ensure!(
            names.insert(written.name.clone()),
            "{} is there twice",
            written.name
        );
        by_id.insert(text(config, "/ID"), written);
    }
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|(id, written)| by_id.get(*id) != Some(written))
        .collect();
    ensure!(
        lost.is_empty(),
        "{} of {} acknowledged writes are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
