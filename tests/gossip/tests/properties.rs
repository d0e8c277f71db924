//! What must hold of gossip, over many seeds and in virtual time.

use std::collections::BTreeSet;
use std::sync::Arc;

use gossipsim::{
    Kind, Network, Swarmr, Told, Transport, World, crashes, idle_bytes, spreads, watch,
};
use swarmr_net::gossip::{Gossip, NodeId, Output, Roster, Standing, Time, Timing};

const SECOND: u64 = 1_000_000;

fn cluster(count: usize, loss: f64, seed: u64) -> World<Swarmr> {
    let transport = Transport::Quic;
    Swarmr::cluster(count, Network { loss, transport }, seed)
}

fn living(world: &World<Swarmr>) -> impl Iterator<Item = usize> {
    (0..world.len()).filter(|node| !world.is_crashed(*node))
}

/// How many different things the living believe.
fn views(world: &World<Swarmr>) -> usize {
    let views = living(world).map(|node| world.machine(node).gossip.view());
    views.collect::<BTreeSet<u64>>().len()
}

fn dead(world: &World<Swarmr>) -> Vec<(u64, usize, Told)> {
    let told = world.told.iter().copied();
    told.filter(|it| matches!(it.2, Told::Dead(_))).collect()
}

#[test]
fn every_crash_is_known_to_all_soon() {
    for (loss, seed) in [(0.0, 1), (0.0, 2), (0.05, 3), (0.05, 4), (0.2, 5)] {
        let found = crashes::<Swarmr>(120, loss, seed, 8, SECOND, 6 * SECOND);
        for detection in found {
            let all = detection.all.expect("everybody knows in the end");
            // Who loses every copy of the news hears of it when it compares.
            let limit = if loss < 0.1 {
                5 * SECOND / 2
            } else {
                6 * SECOND
            };
            assert!(all < limit, "{all} µs at {loss} loss, seed {seed}");
        }
    }
}

#[test]
fn loss_and_stops_raise_no_false_alarm() {
    for (loss, stopped) in [(0.0, 0.0), (0.05, 0.0), (0.2, 0.0), (0.0, 0.1), (0.05, 0.1)] {
        for seed in 1..=2 {
            let alarms = watch::<Swarmr>(100, loss, stopped, seed, 15);
            assert_eq!(alarms, 0, "{loss} loss, {stopped} stopped, seed {seed}");
        }
    }
}

#[test]
fn who_was_stopped_is_suspected_and_refutes() {
    for seed in 1..=3 {
        let mut world = cluster(60, 0.01, seed);
        world.told.clear();
        world.stop(7);
        world.run_for(3 * SECOND);
        let suspected = |it: &&(u64, usize, Told)| it.2 == Told::Suspect(7);
        assert!(world.told.iter().filter(suspected).count() >= 59);
        world.resume(7);
        world.run_for(2 * SECOND);
        assert_eq!(dead(&world), []);
        let alive = |it: &&(u64, usize, Told)| it.2 == Told::Alive(7);
        assert!(world.told.iter().filter(alive).count() >= 59);
        assert_eq!(views(&world), 1);
    }
}

#[test]
fn a_process_that_stays_stopped_is_given_five_seconds_and_no_more_than_eight() {
    let mut world = cluster(60, 0.0, 1);
    world.told.clear();
    let at = world.now;
    world.stop(7);
    world.run_for(9 * SECOND);
    let dead = dead(&world);
    assert_eq!(dead.len(), 59, "{dead:?}");
    assert!(
        dead.iter()
            .all(|it| it.0 - at > 5 * SECOND && it.0 - at < 8 * SECOND)
    );
}

#[test]
fn the_halves_of_a_divided_network_find_each_other() {
    for seed in 1..=2 {
        let mut world = cluster(60, 0.01, seed);
        world.divide(|node| (node % 2) as u8);
        world.run_for(25 * SECOND);
        let beliefs = views(&world);
        assert!(beliefs >= 2, "nobody noticed");
        world.told.clear();
        world.heal();
        world.run_for(15 * SECOND);
        assert_eq!(views(&world), 1, "seed {seed}");
        for node in living(&world) {
            let gossip = &world.machine(node).gossip;
            for id in Swarmr::roster(60).members() {
                assert_eq!(gossip.standing(*id), Some(Standing::Alive), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_node_that_starts_again_is_met_again() {
    let roster = Swarmr::roster(60);
    let mut world = cluster(60, 0.05, 1);
    world.crash(9);
    world.run_for(4 * SECOND);
    world.told.clear();
    let now = world.now;
    world.restart(9, Swarmr::start(9, 77, &roster, 1, now));
    world.run_for(5 * SECOND);
    let alive = world.told.iter().filter(|it| it.2 == Told::Alive(9));
    assert_eq!(alive.count(), 59);
    assert_eq!(views(&world), 1);
}

#[test]
fn changes_reach_everybody_at_once_and_also_where_much_is_lost() {
    for (loss, limit) in [
        (0.0, SECOND / 50),
        (0.01, 3 * SECOND / 10),
        (0.2, 3 * SECOND),
    ] {
        for time in spreads::<Swarmr>(120, loss, 1, 15, 10 * SECOND) {
            let time = time.expect("everybody knows in the end");
            assert!(time < limit, "{time} µs at {loss} loss");
        }
    }
}

#[test]
fn idleness_costs_the_same_in_clusters_of_every_size() {
    let [small, large] = [50, 200].map(|count| idle_bytes::<Swarmr>(count, 0.0, 1, 5));
    assert!(
        small < 2_000.0 && large < 2_000.0,
        "{small} and {large} B/s"
    );
    assert!((large - small).abs() < 200.0, "{small} and {large} B/s");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = cluster(40, 0.1, seed);
        world.crash(3);
        world.stop(4);
        world.run_for(4 * SECOND);
        (world.sent(), world.told)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn nobody_outside_the_cluster_is_believed_or_answered() {
    let drain = |gossip: &mut Gossip| std::iter::from_fn(|| gossip.take()).collect::<Vec<_>>();
    let members = [1, 2, 3].map(NodeId);
    let all = Arc::new(Roster::new(members.into_iter().chain([NodeId(66)])));
    let now = Time::from_micros(SECOND);
    let mut stranger = Gossip::new(NodeId(66), 9, 9, Timing::default(), now);
    stranger.set_members(now, all);
    let mut node = Gossip::new(NodeId(1), 0, 1, Timing::default(), now);
    node.set_members(now, Arc::new(Roster::new(members)));
    drain(&mut node);
    let view = node.view();
    let mut said = 0;
    for output in drain(&mut stranger) {
        if let Output::Send { datagram, .. } = output {
            said += 1;
            node.receive(now, NodeId(66), &datagram);
            assert_eq!(drain(&mut node), []);
            // A member may pass on what it says: nobody knows whom that is about.
            node.receive(now, NodeId(2), &datagram);
            let events = |it: &Output| matches!(it, Output::Event(_));
            assert!(!drain(&mut node).iter().any(events));
        }
    }
    assert!(said > 0);
    assert_eq!(node.view(), view);
    assert_eq!(node.standing(NodeId(66)), None);
}
