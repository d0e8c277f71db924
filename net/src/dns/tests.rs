//! The short way to an answer and the long one say the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::datagrams::{ANSWER_BYTES, Reply};
use super::forward::Forwarder;
use super::handler::{Handler, Shared};
use super::{DnsNetwork, Index, Served, Table};
use crate::overlay::Subnet;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const CALLER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 9), 4000);
const STRANGER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4000);

fn table() -> Table {
    let v4 = |last: u8| IpAddr::from([10, 0, 1, last]);
    let v6: IpAddr = "fd00::1".parse().unwrap();
    let served = |slot: u8| Served {
        target: format!("web.{slot}"),
        port: 8080,
    };
    let names = [
        ("web", vec![v4(100), v6]),
        ("web.1", vec![v4(11), v6]),
        ("web.2", vec![v4(12)]),
        ("tasks.web", (11..21).map(v4).collect()),
        ("tasks.many", (1..=200).map(v4).collect()),
        ("gone", Vec::new()),
    ];
    Table {
        networks: vec![DnsNetwork {
            id: "a".to_owned(),
            subnet: Subnet::new(GATEWAY, 24).unwrap(),
            gateway: GATEWAY,
            internal: true,
            names: BTreeMap::from(names.map(|(name, addresses)| (name.to_owned(), addresses))),
            pointers: BTreeMap::from([(v4(11), "web.1".to_owned())]),
            served: BTreeMap::from([("_8080._tcp.web".to_owned(), vec![served(1), served(2)])]),
        }],
        callers: BTreeMap::new(),
    }
}

fn handler() -> Handler {
    Handler {
        gateway: GATEWAY,
        shared: Arc::new(Shared {
            index: ArcSwap::from_pointee(Index::new(&table())),
            forwarder: Forwarder::new(&[]).unwrap(),
            turn: AtomicUsize::new(0),
        }),
    }
}

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// The short way, where it takes the question.
fn at_once(handler: &Handler, from: SocketAddrV4, question: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = [0xff; ANSWER_BYTES];
    match handler.at_once(from, question, &mut buffer) {
        Reply::Written(length) => Some(buffer[..length].to_vec()),
        Reply::None => None,
    }
}

fn the_long_way(
    handler: &Handler,
    from: SocketAddrV4,
    question: &[u8],
    protocol: Protocol,
) -> Option<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(handler.answer(question.to_vec(), from, protocol))
}

fn ask(name: &str, kind: RecordType) -> Message {
    let question = question(name, kind, None);
    let answer = the_long_way(&handler(), CALLER, &question, Protocol::Udp);
    Message::from_vec(&answer.unwrap()).unwrap()
}

/// What an answer says, whatever the turn.
fn meaning(answer: &[u8]) -> String {
    let mut message = Message::from_vec(answer).unwrap();
    message.answers.sort_by_key(ToString::to_string);
    format!("{message:?}")
}

#[test]
fn both_ways_give_the_same_answer() {
    let handler = handler();
    let names = [
        "web.",
        "WEB.",
        "tasks.web.",
        "tasks.many.",
        "gone.",
        "unknown.",
        "11.1.0.10.in-addr.arpa.",
        "12.1.0.10.in-addr.arpa.",
        "_8080._tcp.web.",
        ".",
    ];
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::PTR,
        RecordType::TXT,
        RecordType::ANY,
    ];
    let mut taken = 0;
    for name in names {
        for kind in kinds {
            for payload in [None, Some(600), Some(1232), Some(9000)] {
                for from in [CALLER, STRANGER] {
                    let question = question(name, kind, payload);
                    let Some(short) = at_once(&handler, from, &question) else {
                        continue;
                    };
                    taken += 1;
                    let long = the_long_way(&handler, from, &question, Protocol::Udp).unwrap();
                    assert_eq!(meaning(&short), meaning(&long), "{name} {kind}");
                }
            }
        }
    }
    // All but the long name without room for all of it.
    let too_long = 2 * 4;
    assert_eq!(taken, names.len() * kinds.len() * 4 * 2 - too_long);
}

#[test]
fn what_does_not_fit_says_so_and_is_whole_over_tcp() {
    let handler = handler();
    let question = question("tasks.many.", RecordType::A, Some(1232));
    assert!(at_once(&handler, CALLER, &question).is_none());
    let read = |protocol| {
        let answer = the_long_way(&handler, CALLER, &question, protocol).unwrap();
        Message::from_vec(&answer).unwrap()
    };
    let cut = read(Protocol::Udp);
    assert!(cut.metadata.truncation && cut.answers.len() < 200);
    let whole = read(Protocol::Tcp);
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 200);
}

#[test]
fn a_service_is_found_with_its_ports_and_addresses() {
    let answer = ask("_8080._tcp.web.", RecordType::SRV);
    let shown = |records: &[Record]| -> Vec<String> {
        let shown = records.iter().map(|it| format!("{} {}", it.name, it.data));
        shown.collect()
    };
    let places = [
        "_8080._tcp.web. 0 1 8080 web.1.",
        "_8080._tcp.web. 0 1 8080 web.2.",
    ];
    assert_eq!(shown(&answer.answers), places);
    let addresses = ["web.1. 10.0.1.11", "web.1. fd00::1", "web.2. 10.0.1.12"];
    assert_eq!(shown(&answer.additionals), addresses);
}

#[test]
fn addresses_come_first_in_turn_both_ways() {
    let handler = handler();
    let question = question("tasks.web.", RecordType::A, None);
    let first = |answer: Vec<u8>| {
        let answers = Message::from_vec(&answer).unwrap().answers;
        assert_eq!(answers.len(), 10);
        match answers[0].data {
            RData::A(address) => address.0.octets()[3],
            ref other => panic!("not an address: {other:?}"),
        }
    };
    let mut seen: Vec<u8> = (0..5)
        .flat_map(|_| {
            let short = at_once(&handler, CALLER, &question).unwrap();
            let long = the_long_way(&handler, CALLER, &question, Protocol::Udp).unwrap();
            [first(short), first(long)]
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (11..21).collect::<Vec<u8>>());
}

#[test]
fn what_cannot_be_read_is_told_so_unless_it_is_an_answer() {
    let mut question = question("web.", RecordType::A, None);
    question.truncate(14);
    let answer = the_long_way(&handler(), CALLER, &question, Protocol::Udp).unwrap();
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    assert_eq!(answer.metadata.id, 77);
    question[2] |= 0x80;
    assert!(the_long_way(&handler(), CALLER, &question, Protocol::Udp).is_none());
    assert!(the_long_way(&handler(), CALLER, &question[..11], Protocol::Udp).is_none());
}

proptest! {
    #[test]
    fn hostile_messages_are_survived_and_both_ways_agree(
        name in prop_oneof![
            "[a-z0-9_.-]{0,40}",
            prop::sample::select(vec!["web.", "Tasks.web.", "11.1.0.10.in-addr.arpa.", "gone."])
                .prop_map(str::to_owned),
        ],
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        payload in proptest::option::of(any::<u16>()),
        kind in prop_oneof![any::<u16>(), Just(1), Just(28), Just(12), Just(33)],
    ) {
        let Ok(name) = Name::from_ascii(name) else { return Ok(()) };
        let mut question = question(&name.to_ascii(), RecordType::from(kind), payload);
        for (at, value) in damage {
            let at = at.index(question.len());
            question[at] = value;
        }
        let handler = handler();
        let long = the_long_way(&handler, CALLER, &question, Protocol::Udp);
        if let Some(short) = at_once(&handler, CALLER, &question) {
            prop_assert_eq!(meaning(&short), meaning(&long.unwrap()));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let handler = handler();
        let long = the_long_way(&handler, CALLER, &bytes, Protocol::Udp);
        if let Some(answer) = long.or(at_once(&handler, CALLER, &bytes)) {
            prop_assert!(answer[2] & 0x80 != 0, "answers are no questions");
        }
    }
}
