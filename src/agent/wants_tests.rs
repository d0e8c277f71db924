use std::net::IpAddr;

use swarmr_net::dns::Served;

use super::super::hearsay::{Hearsay, to_be_told};
use super::*;
use crate::spec::{ClusterId, NetworkId, Role, ServiceId, TaskId};
use crate::state::assignment::{AssignedTask, Peer, ServicePort, Stamp};
use crate::state::members::ClusterMembers;
use crate::state::task::{Attachment, Slot};
use crate::state::tunnel::{AssignedTunnel, TunnelEnd, TunnelKey, TunnelPeer};

const HERE: NodeId = NodeId::from_bits(0xA000_0000_0000_0000_0007);
const THERE: NodeId = NodeId::from_bits(2);
const APP: NetworkId = NetworkId::from_bits(11);
const DB: NetworkId = NetworkId::from_bits(12);

fn ip(third: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, third, last)
}

fn endpoint(number: u64, third: u8, node: NodeId, serving: bool) -> NetworkEndpoint {
    NetworkEndpoint {
        task: TaskId::from_bits(u128::from(number)),
        slot: Slot::Replica(number),
        address: ip(third, 20 + u8::try_from(number).unwrap()),
        node,
        serving,
        weight: 1,
    }
}

fn service(name: &str, virtual_address: Option<Ipv4Addr>) -> NetworkService {
    NetworkService {
        service: ServiceId::from_bits(1),
        name: name.to_owned(),
        aliases: Vec::new(),
        virtual_address,
        endpoints: Vec::new(),
        ports: Vec::new(),
        sticky: false,
        prefer_local: false,
    }
}

fn network(id: NetworkId, name: &str, third: u8, services: Vec<NetworkService>) -> AssignedNetwork {
    AssignedNetwork {
        id,
        name: name.to_owned(),
        vni: 4096 + u32::from(third),
        subnet: Subnet::new(ip(third, 0), 24).unwrap(),
        gateway: ip(third, 3),
        internal: false,
        attachable: false,
        encrypted: false,
        mtu: None,
        peers: vec![Peer {
            node: THERE,
            vtep: Ipv4Addr::new(192, 0, 2, 2),
            gateway: ip(third, 4),
        }],
        held: services
            .iter()
            .flat_map(|service| &service.endpoints)
            .map(|endpoint| endpoint.address)
            .collect(),
        services,
    }
}

/// `web` behind a VIP with tasks 1 (here), 2 (there) and 3 (here, not serving) on `app`; `db`
/// without one, with task 4 (here) on `db`. Task 1 is on both networks.
pub(in crate::agent) fn assignment() -> Assignment {
    let mut web = service("web", Some(ip(1, 100)));
    web.aliases = vec!["www".to_owned()];
    web.endpoints = vec![
        endpoint(1, 1, HERE, true),
        endpoint(2, 1, THERE, true),
        endpoint(3, 1, HERE, false),
    ];
    let mut db = service("db", None);
    db.endpoints = vec![endpoint(4, 2, HERE, true)];
    let task = |number: u64, networks: &[(NetworkId, u8)]| AssignedTask {
        id: TaskId::from_bits(u128::from(number)),
        service: ServiceId::from_bits(1),
        slot: Slot::Replica(number),
        spec_version: 1,
        want: Want::Running,
        attachments: networks
            .iter()
            .map(|(network, third)| Attachment {
                network: *network,
                address: ip(*third, 20 + u8::try_from(number).unwrap()),
            })
            .collect(),
        resources: Vec::new(),
        devices: Vec::new(),
    };
    Assignment {
        stamp: Stamp::default(),
        cluster: ClusterId::from_bits(1),
        node: HERE,
        role: Role::Worker,
        managers: Vec::new(),
        specs: Vec::new(),
        tasks: vec![
            task(1, &[(APP, 1), (DB, 2)]),
            task(3, &[(APP, 1)]),
            task(4, &[(DB, 2)]),
        ],
        networks: vec![
            network(APP, "app", 1, vec![web]),
            network(DB, "db", 2, vec![db]),
        ],
        published: vec![PublishedPort {
            service: ServiceId::from_bits(1),
            service_name: "web".to_owned(),
            protocol: Protocol::Tcp,
            published: 8080,
            target: 80,
            network: APP,
            backends: vec![ip(1, 21), ip(1, 22)],
        }],
        tunnel: None,
        data_path_port: 4789,
        data_path_addr: Ipv4Addr::new(192, 0, 2, 1),
        hostname: "h1".to_owned(),
        members: ClusterMembers::default(),
    }
}

/// Tasks that have died.
fn out(dead: &BTreeSet<TaskId>) -> Out {
    Out {
        dead: dead.clone(),
        ..Out::default()
    }
}

fn made() -> NetworkWants {
    wants(&assignment(), &Out::default(), &Underlay::default())
}

fn names(wants: &NetworkWants, place: usize, name: &str) -> Option<Vec<IpAddr>> {
    wants.dns.networks[place].names.get(name).cloned()
}

#[test]
fn an_overlay_knows_its_peers_and_who_is_behind_them() {
    let wants = made();
    let app = &wants.overlay.networks[0];
    assert_eq!(app.bridge, bridge_name(APP));
    assert_eq!((app.vni, app.port, app.mtu), (4097, 4789, 1450));
    assert_eq!(app.local_vtep, Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!((app.gateway, &app.vips[..]), (ip(1, 3), &[ip(1, 100)][..]));
    let vtep = Ipv4Addr::new(192, 0, 2, 2);
    let peer = PeerWant {
        vtep,
        gateway: ip(1, 4),
    };
    assert_eq!(app.peers, [peer]);
    assert_eq!(app.remotes, [RemoteWant::new(ip(1, 22), vtep)]);
}

#[test]
fn only_those_who_serve_are_balanced_to() {
    let wants = made();
    assert_eq!(wants.balance.vips.len(), 1);
    assert_eq!(wants.balance.vips[0].address, ip(1, 100));
    assert_eq!(wants.balance.vips[0].backends, [ip(1, 21), ip(1, 22)]);
    assert_eq!(wants.balance.published[0].port, 8080);
    assert_eq!(wants.balance.published[0].backends, [ip(1, 21), ip(1, 22)]);
}

#[test]
fn what_is_dead_here_is_out_of_everything_but_keeps_its_address() {
    let dead = BTreeSet::from([TaskId::from_bits(1), TaskId::from_bits(4)]);
    let wants = wants(&assignment(), &out(&dead), &Underlay::default());
    assert_eq!(wants.balance.vips[0].backends, [ip(1, 22)]);
    assert_eq!(wants.balance.published[0].backends, [ip(1, 22)]);
    assert_eq!(names(&wants, 0, "tasks.web").unwrap(), [ip(1, 22)]);
    assert!(names(&wants, 0, "web.1").unwrap().is_empty());
    assert!(names(&wants, 1, "db").unwrap().is_empty());
    assert!(
        wants.dns.networks[0]
            .pointers
            .contains_key(&IpAddr::from(ip(1, 21)))
    );
}

#[test]
fn names_stand_for_virtual_addresses_tasks_and_slots() {
    let wants = made();
    for name in ["web", "www"] {
        assert_eq!(names(&wants, 0, name).unwrap(), [ip(1, 100)]);
        let tasks = format!("tasks.{name}");
        assert_eq!(names(&wants, 0, &tasks).unwrap(), [ip(1, 21), ip(1, 22)]);
    }
    assert_eq!(names(&wants, 0, "web.2").unwrap(), [ip(1, 22)]);
    let container = format!("web.1.{}", TaskId::from_bits(1));
    assert_eq!(names(&wants, 0, &container).unwrap(), [ip(1, 21)]);
    // Known, but not to be sent to yet.
    assert!(names(&wants, 0, "web.3").unwrap().is_empty());
    // Without a virtual address the name stands for the tasks.
    assert_eq!(names(&wants, 1, "db").unwrap(), [ip(2, 24)]);
    assert_eq!(names(&wants, 1, "web"), None);
    let pointers = &wants.dns.networks[0].pointers;
    assert_eq!(pointers[&ip(1, 100).into()], "web");
    assert_eq!(pointers[&ip(1, 21).into()], container);
}

#[test]
fn ports_say_which_tasks_serve_them() {
    let mut assignment = assignment();
    assignment.networks[0].services[0].ports = vec![ServicePort {
        name: "http".to_owned(),
        protocol: Protocol::Tcp,
        target: 80,
    }];
    let dead = BTreeSet::from([TaskId::from_bits(1)]);
    let served = |dead: &BTreeSet<TaskId>| {
        let wants = wants(&assignment, &out(dead), &Underlay::default());
        wants.dns.networks[0].served.clone()
    };
    let place = |task: u64| Served {
        target: format!("web.{task}.{}", TaskId::from_bits(u128::from(task))),
        port: 80,
    };
    let all = served(&BTreeSet::new());
    for name in ["_80._tcp.web", "_http._tcp.web", "_http._tcp.www"] {
        assert_eq!(all[name], [place(1), place(2)], "{name}");
    }
    assert_eq!(served(&dead)["_80._tcp.web"], [place(2)]);
}

#[test]
fn an_alias_that_two_services_share_stands_for_both() {
    let mut assignment = assignment();
    let mut api = service("api", Some(ip(1, 101)));
    api.aliases = vec!["www".to_owned()];
    assignment.networks[0].services.push(api);
    let wants = wants(&assignment, &Out::default(), &Underlay::default());
    assert_eq!(names(&wants, 0, "www").unwrap(), [ip(1, 100), ip(1, 101)]);
}

#[test]
fn a_caller_is_known_by_any_of_its_addresses_and_an_old_holder_by_none() {
    let mut assignment = assignment();
    // Task 9 has stopped and its address has passed on to task 1.
    let mut stopped = assignment.tasks[0].clone();
    stopped.id = TaskId::from_bits(u128::MAX);
    stopped.want = Want::Stopped;
    stopped.attachments.truncate(1);
    assignment.tasks.push(stopped);
    let wants = wants(&assignment, &Out::default(), &Underlay::default());
    let both = [APP.to_string(), DB.to_string()];
    assert_eq!(wants.dns.callers[&ip(1, 21)], both);
    assert_eq!(wants.dns.callers[&ip(2, 21)], both);
    assert_eq!(wants.dns.callers[&ip(1, 23)], [APP.to_string()]);
    assert!(!wants.dns.callers.contains_key(&ip(1, 22)));
}

#[test]
fn connections_stay_where_a_container_lives() {
    let dead = BTreeSet::from([TaskId::from_bits(1)]);
    let wants = wants(&assignment(), &out(&dead), &Underlay::default());
    let held = [ip(1, 22), ip(1, 23), ip(2, 24)].into_iter().collect();
    assert_eq!(wants.balance.held, held);
}

#[test]
fn a_network_may_choose_its_mtu() {
    let mut assignment = assignment();
    assignment.networks[0].mtu = Some(8950);
    let wants = wants(&assignment, &Out::default(), &Underlay::default());
    assert_eq!(wants.overlay.networks[0].mtu, 8950);
    assert_eq!(wants.overlay.networks[1].mtu, 1450);
}

#[test]
fn a_silent_node_gets_nothing_new_and_keeps_what_it_has() {
    let silent = |node: NodeId, silence| Out {
        silent: BTreeMap::from([(node, silence)]),
        ..Out::default()
    };
    for silence in [Silence::Suspected, Silence::Gone] {
        let wants = wants(&assignment(), &silent(THERE, silence), &Underlay::default());
        assert_eq!(wants.balance.vips[0].backends, [ip(1, 21)]);
        assert_eq!(wants.balance.published[0].backends, [ip(1, 21)]);
        assert_eq!(names(&wants, 0, "tasks.web"), Some(vec![ip(1, 21).into()]));
        assert_eq!(names(&wants, 0, "web.2"), Some(Vec::new()));
        assert!(wants.balance.held.contains(ip(1, 22)), "it was cut off");
    }
}

#[test]
fn who_may_be_there_is_tried_when_nobody_is_and_who_was_given_up_is_not() {
    let out = |silence| Out {
        dead: BTreeSet::from([TaskId::from_bits(1)]),
        silent: BTreeMap::from([(THERE, silence)]),
    };
    for (silence, expected) in [
        (Silence::Suspected, vec![ip(1, 22)]),
        (Silence::Gone, Vec::new()),
    ] {
        let wants = wants(&assignment(), &out(silence), &Underlay::default());
        assert_eq!(wants.balance.vips[0].backends, expected);
        assert_eq!(wants.balance.published[0].backends, expected);
    }
}

#[test]
fn a_node_speaks_of_its_own_tasks_only_and_of_this_one_nobody_else_does() {
    let task = |bits| TaskId::from_bits(bits);
    let hearsay = Hearsay {
        nodes: BTreeMap::from([(HERE, Silence::Gone)]),
        dead: BTreeSet::from([(THERE, task(2)), (THERE, task(1)), (HERE, task(4))]),
    };
    let out = Out::new(BTreeSet::new(), &hearsay, &assignment());
    assert_eq!(out.dead, BTreeSet::from([task(2)]));
    assert_eq!(out.silent, BTreeMap::new());
    let died = BTreeSet::from([task(1), task(2), task(9)]);
    assert_eq!(
        to_be_told(&assignment(), &died),
        BTreeSet::from([task(1)]),
        "of others' tasks and of what is in no table nothing is told"
    );
}

fn backends(wants: &NetworkWants) -> (Vec<u8>, Vec<u8>) {
    let last = |all: &[Ipv4Addr]| all.iter().map(|it| it.octets()[3]).collect();
    let (vip, port) = (&wants.balance.vips[0], &wants.balance.published[0]);
    (last(&vip.backends), last(&port.backends))
}

/// The first network's first service, made by `change`, as this node balances to it.
fn steered(change: impl Fn(&mut NetworkService)) -> (Vec<u8>, Vec<u8>) {
    let mut assignment = assignment();
    change(&mut assignment.networks[0].services[0]);
    backends(&wants(&assignment, &Out::default(), &Underlay::default()))
}

#[test]
fn connections_stay_on_the_node_while_something_there_serves() {
    assert_eq!(steered(|_| {}), (vec![21, 22], vec![21, 22]));
    let local = |web: &mut NetworkService| web.prefer_local = true;
    assert_eq!(steered(local), (vec![21], vec![21]));
    let elsewhere = |web: &mut NetworkService| {
        web.prefer_local = true;
        web.endpoints[0].node = THERE;
    };
    assert_eq!(steered(elsewhere), (vec![21, 22], vec![21, 22]));
}

#[test]
fn heavier_tasks_get_more_and_names_lead_to_each_once() {
    let weigh = |first: u8, second: u8| {
        move |web: &mut NetworkService| {
            web.endpoints[0].weight = first;
            web.endpoints[1].weight = second;
        }
    };
    assert_eq!(steered(weigh(1, 3)).0, [21, 22, 22, 22]);
    assert_eq!(steered(weigh(1, 3)).1, [21, 22, 22, 22]);
    assert_eq!(steered(weigh(50, 100)).0, [21, 22, 22]);
    assert_eq!(steered(weigh(7, 7)).0, [21, 22]);
    let mut assignment = assignment();
    weigh(1, 3)(&mut assignment.networks[0].services[0]);
    let wants = wants(&assignment, &Out::default(), &Underlay::default());
    let names = &wants.dns.networks[0].names;
    assert_eq!(names["tasks.web"].len(), 2);
}

#[test]
fn a_sticky_service_is_so_by_its_address_and_by_its_ports() {
    let mut assignment = assignment();
    assignment.networks[0].services[0].sticky = true;
    let wants = wants(&assignment, &Out::default(), &Underlay::default());
    assert!(wants.balance.vips[0].sticky && wants.balance.published[0].sticky);
}

#[test]
fn an_encrypted_network_goes_through_the_tunnels_and_a_plain_one_beside_them() {
    let mut assignment = assignment();
    let inside = Ipv4Addr::new(240, 83, 0, 2);
    assignment.networks[0].encrypted = true;
    assignment.networks[0].peers[0].vtep = inside;
    let key = TunnelKey::try_from("ab".repeat(32)).unwrap();
    let peer = |addr, end| TunnelPeer {
        node: THERE,
        addr,
        data_path_addr: Ipv4Addr::new(192, 0, 2, 2),
        end,
    };
    let end = TunnelEnd {
        port: 2379,
        keys: vec![key.clone()],
    };
    assignment.tunnel = Some(AssignedTunnel {
        addr: Ipv4Addr::new(240, 83, 0, 1),
        keys: Vec::new(),
        peers: vec![
            peer(inside, Some(end)),
            // Has not told of its end yet.
            peer(Ipv4Addr::new(240, 83, 0, 3), None),
        ],
    });
    let wants = wants(&assignment, &Out::default(), &Underlay::default());

    let [app, db] = &wants.overlay.networks[..] else {
        panic!("not two networks");
    };
    assert_eq!(app.underlay.as_deref(), Some(DEVICE));
    assert_eq!(app.local_vtep, Ipv4Addr::new(240, 83, 0, 1));
    assert_eq!(app.remotes[0].vtep, inside);
    assert_eq!(app.mtu, 1390);
    assert_eq!(db.underlay, None);
    assert_eq!(db.local_vtep, Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(db.mtu, 1450);

    let tunnel = wants.tunnel.unwrap();
    assert_eq!((tunnel.mtu, tunnel.port), (1440, 2378));
    let [only] = &tunnel.peers[..] else {
        panic!("one peer is known: {:?}", tunnel.peers);
    };
    assert_eq!(only.address, inside);
    assert_eq!(only.endpoint, "192.0.2.2:2379".parse().unwrap());
    assert_eq!(only.keys[0].to_string(), key.as_str());
    assert_eq!(made().tunnel, None, "nothing is encrypted");
}
