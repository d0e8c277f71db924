//! What must hold of where tasks are put, on clusters of any make.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use swarmr::plan::{Fix, explain};
use swarmr::spec::{Availability, Nanos, NodeId, ServiceId};
use swarmr::state::command::ServiceChange;

use super::properties::live;
use super::rounds::rounds;
use super::specs::{Words, spec};
use super::world::{Machine, World};

/// A node as it is drawn: CPUs, zone, rack, whether it takes tasks.
type Drawn = (i64, Option<u8>, u8, bool);

fn drawn() -> impl Strategy<Value = Drawn> {
    (
        1..6i64,
        prop::option::weighted(0.8, 0..3u8),
        0..2u8,
        prop::bool::weighted(0.9),
    )
}

fn cluster(seed: u64, nodes: &[Drawn]) -> World {
    let mut world = World::new(seed);
    let first = world.state.nodes().next().expect("n1").id;
    world.set_availability(first, Availability::Drain);
    for (n, (cpus, zone, rack, active)) in nodes.iter().enumerate() {
        let node = world.add_node(&Machine {
            cpus: *cpus,
            ..Machine::named(&format!("n{}", n + 2))
        });
        if let Some(zone) = zone {
            world.label_node(node, "zone", &format!("z{zone}"));
        }
        world.label_node(node, "rack", &format!("r{rack}"));
        if !active {
            world.set_availability(node, Availability::Pause);
        }
    }
    world
}

fn words(pairs: &[(&str, String)]) -> Words {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn running(world: &World, service: ServiceId) -> usize {
    let live = live(&world.state, service);
    live.filter(|task| world.agents.runs(task.id)).count()
}

/// Tasks of the service by a label of their nodes, with every node that takes tasks.
fn by_label(world: &World, service: ServiceId, label: &str) -> BTreeMap<String, usize> {
    let value = |node: NodeId| {
        let node = world.state.node(node).expect("a node");
        node.spec.labels.get(label).cloned().unwrap_or_default()
    };
    let mut counts: BTreeMap<String, usize> = world
        .state
        .nodes()
        .filter(|node| node.takes_tasks())
        .map(|node| (value(node.id), 0))
        .collect();
    for task in live(&world.state, service) {
        *counts.entry(value(task.node.expect("placed"))).or_default() += 1;
    }
    counts
}

fn within_one(counts: impl Iterator<Item = usize> + Clone) -> bool {
    let (most, least) = (counts.clone().max(), counts.min());
    most.zip(least)
        .is_none_or(|(most, least)| most - least <= 1)
}

proptest! {
    #![proptest_config(rounds(150))]

    #[test]
    fn branches_are_within_one(
        seed in any::<u64>(),
        nodes in prop::collection::vec(drawn(), 1..9),
        counts in prop::collection::vec(0..30u64, 1..4),
        strategy in prop::sample::select(vec!["spread", "binpack"]),
    ) {
        let mut world = cluster(seed, &nodes);
        prop_assume!(world.state.nodes().any(|node| node.takes_tasks()));
        let mut words = words(&[
            ("replicas", "0".to_owned()),
            ("spread", "node.labels.zone".to_owned()),
            ("strategy", strategy.to_owned()),
        ]);
        world.create_service(spec("web", &words));
        let web = world.only_service();
        let mut most = 0;
        for count in counts {
            // Scaling down looks at nodes and not at branches, as Docker's does.
            most = most.max(count);
            words.insert("replicas".to_owned(), most.to_string());
            world.change_service(web, ServiceChange::Spec(spec("web", &words)));
            world.advance(Nanos::from_secs(4), |_| {});
            let zones = by_label(&world, web, "zone");
            prop_assert!(within_one(zones.values().copied()), "{zones:?}");
        }
    }

    #[test]
    fn binpack_uses_no_more_nodes_than_needed(
        seed in any::<u64>(),
        nodes in 1..8usize,
        size in 1..5i64,
        cpus in 1..5u64,
        count in 0..25u64,
    ) {
        let drawn: Vec<Drawn> = (0..nodes).map(|_| (size, None, 0, true)).collect();
        let mut world = cluster(seed, &drawn);
        world.create_service(spec("web", &words(&[
            ("replicas", count.to_string()),
            ("cpus", cpus.to_string()),
            ("strategy", "binpack".to_owned()),
        ])));
        world.advance(Nanos::from_secs(4), |_| {});
        let web = world.only_service();
        let used: BTreeSet<NodeId> = live(&world.state, web).filter_map(|task| task.node).collect();
        let each = u64::try_from(size).unwrap_or(0) / cpus;
        let fitting = count.min(each * nodes as u64);
        prop_assert_eq!(running(&world, web) as u64, fitting);
        prop_assert_eq!(used.len() as u64, fitting.div_ceil(each.max(1)));
    }

    /// What an explanation proposes lets one task more run.
    #[test]
    fn remedies_help(
        seed in any::<u64>(),
        nodes in prop::collection::vec(drawn(), 1..6),
        replicas in 1..6u64,
        cpus in 1..7u64,
        most in 0..3u64,
        zone in prop::option::of(0..3u8),
        arm in prop::bool::weighted(0.2),
        apart in any::<bool>(),
    ) {
        let mut wanted = vec![
            ("replicas", replicas.to_string()),
            ("cpus", cpus.to_string()),
            ("max-per-node", most.to_string()),
            ("labels", "app:x".to_owned()),
        ];
        if let Some(zone) = zone {
            wanted.push(("constraint", format!("node.labels.zone==z{zone},node.labels.rack!=r0")));
        }
        if arm {
            wanted.push(("platform", "arm64".to_owned()));
        }
        if apart {
            wanted.push(("apart", "app:x,topology:node.labels.zone".to_owned()));
        }
        let settled = || {
            let mut world = cluster(seed, &nodes);
            world.create_service(spec("web", &words(&wanted)));
            world.advance(Nanos::from_secs(6), |_| {});
            world
        };
        let world = settled();
        let web = world.only_service();
        let before = running(&world, web);
        let explanation = explain(&world.state, web, world.now);
        prop_assert_eq!(explanation.waiting.is_empty(), before as u64 == replicas);
        for remedy in explanation.waiting.iter().flat_map(|waiting| &waiting.remedies) {
            // Nobody else is there who could make room.
            if remedy.fixes.iter().any(|fix| matches!(fix, Fix::FreeCpus { .. })) {
                continue;
            }
            let mut world = settled();
            for fix in &remedy.fixes {
                follow(&mut world, &remedy.node, fix);
            }
            world.advance(Nanos::from_secs(60), |_| {});
            // Where tasks keep apart, one that moves may stand in another's way.
            let least = if apart { 1 } else { before + 1 };
            let runs = running(&world, web);
            prop_assert!(runs >= least, "{remedy:?} did not help: {}", world.show());
        }
    }
}

/// Does what a remedy says.
fn follow(world: &mut World, node: &str, fix: &Fix) {
    let web = world.only_service();
    let mut spec = (*world.state.service(web).expect("web").spec).clone();
    let id = world.state.find_node(node).expect("the node").id;
    let placement = spec.task_template.placement.get_or_insert_default();
    match fix {
        Fix::Activate => {
            world.set_availability(id, Availability::Active);
        }
        Fix::SetLabel { key, value } => {
            world.label_node(id, key, value);
        }
        Fix::RaiseMaxReplicas { limit } => placement.max_replicas = *limit,
        Fix::DropConstraint { text } => placement.constraints.retain(|known| known != text),
        Fix::UseImageFor { os, architecture } => {
            placement.platforms.push(swarmr::spec::service::Platform {
                os: os.clone(),
                architecture: architecture.clone(),
            });
        }
        Fix::ReserveCpus { nano, .. } => {
            let resources = spec.task_template.resources.get_or_insert_default();
            resources.reservations.get_or_insert_default().nano_cpus = *nano;
        }
        Fix::Prefer { .. } => {
            let extension = spec.swarmr.get_or_insert_default();
            for rule in &mut extension.anti_affinities {
                rule.strength = swarmr::spec::extension::Strength::Preferred;
            }
        }
        other => panic!("nothing of this kind is drawn: {other:?}"),
    }
    world.change_service(web, ServiceChange::Spec(spec));
    world.plan();
}
