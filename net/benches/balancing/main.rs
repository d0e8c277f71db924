//! What balancing costs with many services: a connection by a service address
//! beside a direct one, and a change of one endpoint.
//!
//! Builds a host and two containers in network namespaces, loads the table, and
//! prints a line for each number; with `--json` an object each.

#[path = "../../tests/netns/lab.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod lab;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use net::balance::{BalanceWant, VipWant};
use net::datapath::Want;
use net::dns::Table;
use net::overlay::{NetworkWant, OverlayWant, Subnet};
use socket2::SockRef;

use lab::{Lab, can_build, enter, inside, ip};

const SERVICES: u32 = 10_000;
const BACKENDS: u32 = 10;
const CHANGES: u32 = 2_000;
const CONNECTIONS: usize = 20_000;
const PORT: u16 = 8080;
const BRIDGE: &str = "bench0";
/// Of the backends: the addresses that the server's container really has.
const SERVER: u32 = 0x0a20_0000;
const VIPS: u32 = 0x0a10_0000;

fn main() -> ExitCode {
    let json = std::env::args().any(|it| it == "--json");
    if !can_build() {
        return ExitCode::FAILURE;
    }
    let mut lab = Lab::new(1);
    let space = lab.hosts[0].space.clone();
    ip(&space, &format!("link add {BRIDGE} type bridge"));
    ip(&space, &format!("addr add 10.0.0.1/8 dev {BRIDGE}"));
    ip(&space, &format!("link set {BRIDGE} up"));
    let (client, server) = (
        container(&mut lab, 2),
        container(&mut lab, SERVER & 0xff_ffff),
    );
    for last in 1..BACKENDS {
        let address = Ipv4Addr::from(SERVER + last);
        ip(&server, &format!("addr add {address}/8 dev eth0"));
    }
    let mut want = want();
    let start = Instant::now();
    lab.hosts[0].apply(want.clone());
    let load = start.elapsed();
    serve(&server);

    let mut rows = Vec::new();
    rows.push(("full_load", load.as_secs_f64(), "s"));
    let (changes, settled) = changes(&mut lab, &mut want);
    rows.push(("endpoint_change_p50", millis(&changes, 50), "ms"));
    rows.push(("endpoint_change_p99", millis(&changes, 99), "ms"));
    rows.push(("endpoint_settled_p99", millis(&settled, 99), "ms"));
    let (direct, by_vip) = connects(&client);
    rows.push(("direct_connect", millis(&direct, 50) * 1e3, "µs"));
    rows.push(("vip_connect", millis(&by_vip, 50) * 1e3, "µs"));
    let peer = millis(&direct, 50) * 1e3;
    for (name, value, unit) in rows {
        let beside = match (json, name) {
            (true, "vip_connect") => {
                format!(r#","peer":"direct_connect","peer_value":{peer:.3}"#)
            }
            (false, "vip_connect") => format!("  {:.3} of a direct one", value / peer),
            _ => String::new(),
        };
        match json {
            true => println!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}"{beside}}}"#),
            false => println!("{name:24} {value:10.3} {unit}{beside}"),
        }
    }
    ExitCode::SUCCESS
}

fn container(lab: &mut Lab, offset: u32) -> String {
    let address = Ipv4Addr::from(0x0a00_0000 + offset);
    let space = lab.add_container(0, &[(BRIDGE, address)]);
    ip(&space, &format!("addr add {address}/8 dev eth0"));
    space
}

/// All services with all backends on one network. The first one's are there.
fn want() -> Want {
    let vips: Vec<VipWant> = (0..SERVICES)
        .map(|service| VipWant {
            name: format!("service-{service} on bench"),
            address: Ipv4Addr::from(VIPS + service),
            backends: (0..BACKENDS)
                .map(|it| Ipv4Addr::from(SERVER + service * BACKENDS + it))
                .collect(),
            sticky: false,
        })
        .collect();
    Want {
        tunnel: None,
        overlay: OverlayWant {
            networks: vec![NetworkWant {
                id: "bench".to_owned(),
                bridge: BRIDGE.to_owned(),
                vni: 4097,
                port: 4789,
                local_vtep: Ipv4Addr::new(192, 168, 77, 1),
                underlay: None,
                mtu: 1450,
                subnet: Subnet::new(Ipv4Addr::new(10, 0, 0, 0), 8).expect("a subnet"),
                gateway: Ipv4Addr::new(10, 0, 0, 1),
                peers: Vec::new(),
                remotes: Vec::new(),
                vips: vec![Ipv4Addr::from(VIPS)],
                internal: false,
            }],
        },
        balance: BalanceWant {
            held: vips.iter().flat_map(|it| it.backends.clone()).collect(),
            vips,
            ..BalanceWant::default()
        },
        dns: Table::default(),
    }
}

/// How long it takes until the kernel follows, and until former connections are
/// looked through: endpoints of services all over the table go and come back.
fn changes(lab: &mut Lab, want: &mut Want) -> (Vec<Duration>, Vec<Duration>) {
    let (mut times, mut settled) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let service = 1 + (change / 2).wrapping_mul(7919) % (SERVICES - 1);
        let at = usize::try_from(service).unwrap_or(0);
        let backends = &mut want.balance.vips[at].backends;
        match change % 2 {
            0 => drop(backends.remove(3)),
            _ => backends.insert(3, Ipv4Addr::from(SERVER + service * BACKENDS + 3)),
        }
        let next = want.clone();
        let start = Instant::now();
        times.push(lab.hosts[0].apply(next));
        settled.push(start.elapsed());
    }
    (times, settled)
}

fn serve(space: &str) {
    let listener = inside(space, || {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("the server's port is free")
    });
    // The backlog of the standard library is enough for one client.
    std::thread::spawn(move || while listener.accept().is_ok() {});
}

/// Direct connections and balanced ones, in turn.
fn connects(client: &str) -> (Vec<Duration>, Vec<Duration>) {
    let (mut direct, mut balanced) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter(client);
            for round in 0..CONNECTIONS {
                let own = SERVER + u32::try_from(round).unwrap_or(0) % BACKENDS;
                direct.push(connect(Ipv4Addr::from(own)));
                balanced.push(connect(Ipv4Addr::from(VIPS)));
            }
        });
    });
    (direct, balanced)
}

fn connect(address: Ipv4Addr) -> Duration {
    let start = Instant::now();
    let stream = TcpStream::connect(SocketAddr::from((address, PORT))).expect("it answers");
    let time = start.elapsed();
    // Reset when dropped, so that no port waits.
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an open socket");
    time
}

fn millis(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times
        .get(place)
        .map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
