//! Where tasks go. What they reserve is in `resources`.

use anyhow::{Context as _, Result, ensure};
use testhosts::{Host, IMAGE_WEB_2};

use super::stage::Stage;
use super::{Rule, resources, show};

const RULES: [Rule; 12] = [
    ("a constraint, also once a label changes", constraint),
    ("global: a task on each node that takes tasks", global),
    ("spread over zones, then over their nodes", zones),
    ("spread over zones, in each over rows", nested),
    ("a limit of tasks per node", limit),
    ("start-first under a limit per node", start_first),
    ("binpack fills a node up", binpack),
    ("affinity by host name", affinity),
    ("anti-affinity by zone", anti_affinity),
    (
        "affinity and anti-affinity that are only preferred",
        preferred,
    ),
    ("a node where it fails is left alone", faulty_node),
    ("what explain advises lets it run", advice),
];

#[test]
fn tasks_go_where_they_fit() {
    let stage = Stage::with_daemons(inventory).unwrap();
    let all = [&RULES[..], &resources::RULES[..]].concat();
    show(stage, &all);
}

/// What only h3 has, made up before its daemon starts.
fn inventory(host: &Host) -> Result<Vec<&'static str>> {
    if host.name() != "h3" {
        return Ok(Vec::new());
    }
    host.sh(resources::MAKE_DEVICES)?.ok()?;
    Ok(resources::FLAGS.to_vec())
}

fn constraint(stage: &Stage) -> Result<String> {
    stage.swarmr("node update --label-add disk=ssd h2")?;
    stage.create(
        "ssd",
        "--replicas 2 --restart-delay 100ms --constraint node.labels.disk==ssd tools:latest",
    )?;
    let first = stage.spread("ssd", [0, 2, 0])?;
    stage.swarmr("node update --label-add disk=ssd h3")?;
    stage.swarmr("node update --label-rm disk h2")?;
    let then = stage.spread("ssd", [0, 0, 2])?;
    stage.swarmr("node update --label-rm disk h3")?;
    let last = stage.spread("ssd", [0, 0, 0])?;
    let reason = "scheduling constraints not satisfied on 3 nodes";
    stage.says("ssd", reason)?;
    stage.swarmr("node update --label-add disk=ssd h1")?;
    let again = stage.spread("ssd", [2, 0, 0])?;
    stage.swarmr("node update --label-rm disk h1")?;
    Ok(format!(
        "label on h2: {first:?}; on h3 only: {then:?}; nowhere: {last:?}, {reason:?}; on h1: {again:?}"
    ))
}

fn global(stage: &Stage) -> Result<String> {
    stage.swarmr("node pause h3")?;
    stage.create("each", "--mode global tools:latest")?;
    let paused = stage.spread("each", [1, 1, 0])?;
    stage.swarmr("node activate h3")?;
    let active = stage.spread("each", [1, 1, 1])?;
    stage.swarmr("node drain --wait --quiet h1")?;
    let drained = stage.spread("each", [0, 1, 1])?;
    stage.swarmr("node activate h1")?;
    let again = stage.spread("each", [1, 1, 1])?;
    Ok(format!(
        "h3 paused: {paused:?}; activated: {active:?}; h1 drained: {drained:?}; activated: {again:?}"
    ))
}

/// h1 and h2 are one zone, h3 is another.
fn label_zones(stage: &Stage) -> Result<()> {
    for (node, zone) in [("h1", "a"), ("h2", "a"), ("h3", "b")] {
        stage.swarmr(&format!("node update --label-add zone={zone} {node}"))?;
    }
    Ok(())
}

fn zones(stage: &Stage) -> Result<String> {
    label_zones(stage)?;
    stage.create(
        "zoned",
        "--replicas 4 --placement-pref spread=node.labels.zone tools:latest",
    )?;
    let zoned = stage.spread("zoned", [1, 1, 2])?;
    stage.create("plain", "--replicas 3 tools:latest")?;
    let plain = stage.spread("plain", [1, 1, 1])?;
    Ok(format!(
        "four tasks, zones {{h1,h2}} and {{h3}}: {zoned:?}; three without a preference: {plain:?}"
    ))
}

/// The nodes of a leaf are filled up, so that only the preferences spread.
fn nested(stage: &Stage) -> Result<String> {
    label_zones(stage)?;
    for (node, row) in [("h1", 1), ("h2", 2), ("h3", 1)] {
        stage.swarmr(&format!("node update --label-add row={row} {node}"))?;
    }
    let (zone, row) = (
        "--placement-pref spread=node.labels.zone",
        "--placement-pref spread=node.labels.row",
    );
    let create = |name: &str, preferences: &str| {
        let words = "--replicas 4 --strategy binpack --reserve-memory 8m";
        stage.create(name, &format!("{words} {preferences} tools:latest"))
    };
    create("zoned", zone)?;
    let zoned = stage.counted("zoned", "two in each zone, on one node", |counts| {
        counts[2] == 2 && counts[..2].contains(&2)
    })?;
    create("nested", &format!("{zone} {row}"))?;
    let nested = stage.spread("nested", [1, 1, 2])?;
    create("turned", &format!("{row} {zone}"))?;
    let turned = stage.spread("turned", [1, 2, 1])?;
    for node in ["h1", "h2", "h3"] {
        stage.swarmr(&format!("node update --label-rm row {node}"))?;
    }
    Ok(format!(
        "four tasks, zones {{h1,h2}} and {{h3}}, rows {{h1,h3}} and {{h2}}; over zones: {zoned:?}, \
         over zones and rows: {nested:?}, over rows and zones: {turned:?}"
    ))
}

fn limit(stage: &Stage) -> Result<String> {
    stage.create("few", "--replicas 5 --replicas-max-per-node 1 tools:latest")?;
    let one = stage.spread("few", [1, 1, 1])?;
    let reason = "max replicas per node limit exceed on 3 nodes";
    let waiting = stage.until("two tasks say why they wait", || {
        let waiting = stage.tasks("few")?.matches(reason).count();
        ensure!(waiting == 2, "{waiting} do");
        Ok(waiting)
    })?;
    stage.swarmr("service update --detach --quiet --replicas-max-per-node 2 few")?;
    let two = stage.counted("few", "5, at most 2 on each", |counts| {
        counts.iter().sum::<usize>() == 5 && counts.iter().all(|count| *count <= 2)
    })?;
    Ok(format!(
        "five tasks, limit 1: {one:?}, {waiting} say {reason:?}; limit 2: {two:?}"
    ))
}

fn start_first(stage: &Stage) -> Result<String> {
    stage.create(
        "full",
        "--replicas 3 --replicas-max-per-node 1 --update-order start-first \
         --update-monitor 500ms web:1",
    )?;
    stage.all_of_image("full", "web:1", 3)?;
    stage.swarmr("service update --quiet --image web:2 --wait-timeout 60s full")?;
    let limited = stage.all_of_image("full", IMAGE_WEB_2, 3)?;
    ensure!(limited == [1, 1, 1], "they are {limited:?}");
    Ok(format!("updated in its full places: {limited:?} of web:2"))
}

fn binpack(stage: &Stage) -> Result<String> {
    let words = "--replicas 3 --reserve-memory 8m tools:latest";
    stage.create("packed", &format!("--strategy binpack {words}"))?;
    let packed = stage.counted("packed", "three on one host", |counts| counts.contains(&3))?;
    stage.create("even", words)?;
    let even = stage.spread("even", [1, 1, 1])?;
    Ok(format!("binpack: {packed:?}; spread: {even:?}"))
}

fn affinity(stage: &Stage) -> Result<String> {
    let rule = "--replicas 3 --affinity app=cache,topology=node.hostname tools:latest";
    stage.create("near", rule)?;
    let reason = "no task to be near to on 3 nodes";
    stage.says("near", reason)?;
    let alone = stage.counts("near")?;
    ensure!(alone == [0, 0, 0], "{alone:?} run near to nobody");
    stage.create(
        "cache",
        "--label app=cache --constraint node.hostname==h2 tools:latest",
    )?;
    let near = stage.spread("near", [0, 3, 0])?;
    Ok(format!(
        "alone: {alone:?}, {reason:?}; with a cache on h2: {near:?}"
    ))
}

fn anti_affinity(stage: &Stage) -> Result<String> {
    label_zones(stage)?;
    stage.create(
        "apart",
        "--replicas 3 --label app=db --anti-affinity app=db,topology=node.labels.zone tools:latest",
    )?;
    let zones = stage.counted("apart", "one in each zone", |[h1, h2, h3]| {
        h1 + h2 == 1 && h3 == 1
    })?;
    let reason = "task to be apart from on 3 nodes";
    stage.says("apart", reason)?;
    stage.swarmr("node update --label-add zone=c h2")?;
    let three = stage.spread("apart", [1, 1, 1])?;
    Ok(format!(
        "two zones: {zones:?}, the third says {reason:?}; a third zone: {three:?}"
    ))
}

fn preferred(stage: &Stage) -> Result<String> {
    label_zones(stage)?;
    stage.create(
        "cache",
        "--label app=cache --constraint node.hostname==h2 tools:latest",
    )?;
    stage.create(
        "near",
        "--replicas 3 --affinity app=cache,topology=node.hostname,preferred tools:latest",
    )?;
    let near = stage.spread("near", [0, 3, 0])?;
    stage.swarmr("node pause h2")?;
    stage.swarmr("service scale --detach near=5")?;
    let away = stage.spread("near", [1, 3, 1])?;
    stage.swarmr("node activate h2")?;
    stage.create(
        "apart",
        "--replicas 4 --label app=db \
         --anti-affinity app=db,topology=node.labels.zone,preferred tools:latest",
    )?;
    let apart = stage.spread("apart", [1, 1, 2])?;
    Ok(format!(
        "near to a cache on h2: {near:?}, two more while it is paused: {away:?}; four apart by \
         zones {{h1,h2}} and {{h3}}: {apart:?}"
    ))
}

/// Restarts elsewhere once it has failed there five times.
fn faulty_node(stage: &Stage) -> Result<String> {
    stage.create(
        "picky",
        "--replicas 3 --hostname '{{.Node.Hostname}}' --restart-delay 100ms --restart-backoff 1 \
         tools:latest sh -c '[ $(hostname) != h3 ] || exit 3; exec idle'",
    )?;
    let healthy = stage.counted("picky", "three, none on h3", |[h1, h2, h3]| {
        h1 + h2 == 3 && h3 == 0
    })?;
    let ended = stage.containers("picky")?;
    let ended = ended.iter().filter(|it| it.host == 2 && !it.runs()).count();
    ensure!(ended > 0, "none of it ever was on h3");
    Ok(format!("{healthy:?} run; {ended} have failed on h3"))
}

fn advice(stage: &Stage) -> Result<String> {
    stage.create("lost", "--constraint node.labels.rack==7 tools:latest")?;
    stage.says("lost", "scheduling constraints not satisfied on 3 nodes")?;
    let explained = stage.swarmr("service explain lost")?;
    let reasons = explained
        .matches("constraint node.labels.rack==7 is not met")
        .count();
    ensure!(reasons == 3, "{reasons} nodes have reasons: {explained}");
    let line = explained.lines().find(|line| line.contains("to h2: "));
    let line = line.with_context(|| format!("nothing for h2: {explained}"))?;
    let (_, command) = line.split_once(": swarmr ").context("no command")?;
    stage.swarmr(command)?;
    let runs = stage.spread("lost", [0, 1, 0])?;
    stage.swarmr("node update --label-rm rack h2")?;
    Ok(format!(
        "three nodes with reasons; \"swarmr {command}\" as it says: {runs:?}"
    ))
}
