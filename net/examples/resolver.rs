//! The resolver alone, with as many services as are asked for, for comparisons
//! (`scripts/bench-network`):
//!
//! `resolver ADDRESS SERVICES` answers at ADDRESS, to callers of 127.0.0.0/8,
//! for `s0`, `s1` …, each with an address and ten tasks;
//! `resolver ADDRESS echo` sends back what comes, which no resolver does for less.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use net::dns::{DnsNetwork, DnsServer, Table};
use net::overlay::Subnet;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// Tasks of each service.
const TASKS: u32 = 10;
/// Datagrams of one call, as many as the resolver takes.
const BATCH: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, what] = &words[..] else {
        return Err("usage: resolver ADDRESS SERVICES|echo".into());
    };
    let address: Ipv4Addr = address.parse()?;
    if what == "echo" {
        return echo(&UdpSocket::bind((address, 53))?);
    }
    let table = table(address, what.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut server = DnsServer::start(&[])?;
        server.set_table(&table);
        if let Some(problem) = server.set_listeners(&BTreeSet::from([address])).pop() {
            return Err(problem.into());
        }
        std::future::pending().await
    })
}

fn table(gateway: Ipv4Addr, services: u32) -> Table {
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
    let mut names: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let mut pointers = BTreeMap::new();
    for service in 0..services {
        let first = service * (TASKS + 1);
        let tasks = (1..=TASKS).map(|task| address(first + task));
        names.insert(format!("s{service}"), vec![address(first)]);
        names.insert(format!("tasks.s{service}"), tasks.collect());
        pointers.insert(address(first), format!("s{service}"));
    }
    Table {
        networks: vec![DnsNetwork {
            id: "bench".to_owned(),
            subnet: Subnet::new(Ipv4Addr::LOCALHOST, 8).expect("8 is at most 32"),
            gateway,
            internal: true,
            names,
            pointers,
            served: BTreeMap::new(),
        }],
        callers: BTreeMap::new(),
    }
}

/// Sends everything back, many with one call.
fn echo(socket: &UdpSocket) -> Result<(), Box<dyn Error>> {
    let mut buffers = vec![[0; 512]; BATCH];
    let mut incoming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    loop {
        let mut from: Vec<(Option<SockaddrIn>, usize)> = Vec::with_capacity(BATCH);
        {
            let mut slices: Vec<_> = buffers.iter_mut().map(|it| [IoSliceMut::new(it)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            let received = recvmmsg(
                socket.as_raw_fd(),
                &mut incoming,
                slices.iter_mut(),
                flags,
                None,
            )?;
            from.extend(received.map(|message| (message.address, message.bytes)));
        }
        let slices: Vec<_> = from
            .iter()
            .zip(&buffers)
            .map(|((_, length), buffer)| [IoSlice::new(&buffer[..*length])])
            .collect();
        let to: Vec<_> = from.iter().map(|(address, _)| *address).collect();
        let flags = MsgFlags::empty();
        sendmmsg(socket.as_raw_fd(), &mut outgoing, &slices, &to, [], flags)?;
    }
}
