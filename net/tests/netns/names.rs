//! Names, asked the way containers ask.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use net::balance::Protocol;

use crate::containers::{Server, hear};
use crate::lab::{Lab, PATIENCE, can_build, inside};
use crate::wants::{Overlay, published, vip, want};

const DEADLINE: Duration = Duration::from_secs(5);

/// One host with two overlays, the second one internal.
fn site(upstreams: &[SocketAddr]) -> (Lab, Overlay, Overlay) {
    let mut open = Overlay::new(1, &[]);
    open.names = vec![("web", vec![100]), ("tasks.web", vec![11, 12, 13])];
    let mut closed = Overlay::new(2, &[]);
    closed.names = vec![("db", vec![100])];
    closed.internal = true;
    let mut lab = Lab::new(1);
    lab.add_bridge(0, "dpbr1", open.ip(1));
    lab.add_bridge(0, "dpbr2", closed.ip(1));
    lab.hosts[0].start(upstreams);
    lab.hosts[0].apply(want(&[open.clone(), closed.clone()], 0, 1));
    (lab, open, closed)
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn ask(space: &str, server: Ipv4Addr, name: &str, kind: RecordType) -> Message {
    let question = question(name, kind);
    inside(space, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.send_to(&question, (server, 53)).unwrap();
        let mut datagram = [0; 4000];
        let length = socket.recv(&mut datagram).unwrap();
        Message::from_vec(&datagram[..length]).unwrap()
    })
}

fn ask_tcp(space: &str, server: Ipv4Addr, name: &str) -> Message {
    let question = question(name, RecordType::A);
    inside(space, || {
        let address = SocketAddr::from((server, 53));
        let mut stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let length = u16::try_from(question.len()).unwrap();
        stream.write_all(&length.to_be_bytes()).unwrap();
        stream.write_all(&question).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        Message::from_vec(&answer).unwrap()
    })
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let addresses = message.answers.iter().map(|record| match &record.data {
        RData::A(A(address)) => *address,
        other => panic!("not an address: {other:?}"),
    });
    addresses.collect()
}

fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

#[test]
fn a_container_resolves_and_calls_a_service() {
    if !can_build() {
        return;
    }
    let (mut lab, open, closed) = site(&[]);
    let caller = lab.add_container(0, &[("dpbr1", open.ip(11))]);
    let server = lab.add_container(0, &[("dpbr1", open.ip(12))]);
    let _server = Server::start(&server, 8080, "b");
    let mut want = want(&[open.clone(), closed], 0, 1);
    want.balance.vips = vec![vip(&open, 100, &[12])];
    // Publishing port 53 must not take the resolver's place.
    let backends = [open.ip(12)];
    want.balance.published = vec![
        published(Protocol::Udp, 53, &backends),
        published(Protocol::Tcp, 53, &backends),
    ];
    lab.hosts[0].apply(want);
    for name in ["web.", "WEB."] {
        let answer = ask(&caller, open.ip(1), name, RecordType::A);
        let [address] = addresses(&answer)[..] else {
            panic!("one address was expected");
        };
        assert_eq!(hear(&caller, address, 8080), "b 10.0.1.11");
        assert_eq!(answer.answers[0].ttl, 1);
    }
    let over_tcp = ask_tcp(&caller, open.ip(1), "web.");
    assert_eq!(addresses(&over_tcp), [open.ip(100)]);
    let outside = hear(&lab.outside(), lab.hosts[0].address, 53);
    assert_eq!(outside, "b 192.168.77.99");
}

#[test]
fn all_addresses_of_a_name_come_first_in_turn() {
    if !can_build() {
        return;
    }
    let (mut lab, open, _) = site(&[]);
    let caller = lab.add_container(0, &[("dpbr1", open.ip(11))]);
    let mut first: Vec<Ipv4Addr> = (0..3)
        .map(|_| {
            let answer = ask(&caller, open.ip(1), "tasks.web.", RecordType::A);
            assert_eq!(answer.answers.len(), 3);
            addresses(&answer)[0]
        })
        .collect();
    first.sort();
    assert_eq!(first, [open.ip(11), open.ip(12), open.ip(13)]);
}

#[test]
fn a_known_name_has_no_ipv6_address_and_that_is_no_error() {
    if !can_build() {
        return;
    }
    let (mut lab, open, _) = site(&[]);
    let caller = lab.add_container(0, &[("dpbr1", open.ip(11))]);
    let answer = ask(&caller, open.ip(1), "web.", RecordType::AAAA);
    assert_eq!(code(&answer), ResponseCode::NoError);
    assert!(answer.answers.is_empty());
}

#[test]
fn a_caller_on_two_networks_sees_both_and_others_see_their_own() {
    if !can_build() {
        return;
    }
    let (mut lab, open, closed) = site(&[]);
    let both = lab.add_container(0, &[("dpbr1", open.ip(11)), ("dpbr2", closed.ip(11))]);
    let one = lab.add_container(0, &[("dpbr1", open.ip(12))]);
    let mut want = want(&[open.clone(), closed.clone()], 0, 1);
    let on = vec!["net1".to_owned(), "net2".to_owned()];
    want.dns.callers.insert(open.ip(11), on.clone());
    want.dns.callers.insert(closed.ip(11), on);
    lab.hosts[0].apply(want);
    let found = ask(&both, open.ip(1), "db.", RecordType::A);
    assert_eq!(addresses(&found), [closed.ip(100)]);
    let unknown = ask(&one, open.ip(1), "db.", RecordType::A);
    // Passed on, and there is nobody to ask.
    assert_eq!(code(&unknown), ResponseCode::ServFail);
}

#[test]
fn outside_names_are_passed_on_but_not_for_internal_networks() {
    if !can_build() {
        return;
    }
    let upstream = SocketAddr::from((Ipv4Addr::new(192, 168, 77, 99), 5300));
    let (mut lab, open, closed) = site(&[upstream]);
    answer_everything(&lab.outside(), upstream);
    let caller = lab.add_container(0, &[("dpbr1", open.ip(11))]);
    let answer = ask(&caller, open.ip(1), "example.com.", RecordType::A);
    assert_eq!(addresses(&answer), [Ipv4Addr::new(203, 0, 113, 1)]);
    let missing = ask(&caller, open.ip(1), "missing.example.com.", RecordType::A);
    assert_eq!(code(&missing), ResponseCode::NXDomain);
    let inner = lab.add_container(0, &[("dpbr2", closed.ip(11))]);
    let answer = ask(&inner, closed.ip(1), "example.com.", RecordType::A);
    assert_eq!(code(&answer), ResponseCode::NXDomain);
}

/// An outside resolver: every name is 203.0.113.1, unless it begins with
/// `missing`.
fn answer_everything(space: &str, address: SocketAddr) {
    let socket = inside(space, || UdpSocket::bind(address).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    std::thread::spawn(move || {
        let mut datagram = [0; 2000];
        while let Ok((length, client)) = socket.recv_from(&mut datagram) {
            let mut message = Message::from_vec(&datagram[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let name = message.queries[0].name().clone();
            if name.to_ascii().to_ascii_lowercase().starts_with("missing") {
                message.metadata.response_code = ResponseCode::NXDomain;
            } else {
                let data = RData::A(A(Ipv4Addr::new(203, 0, 113, 1)));
                message.add_answer(Record::from_rdata(name, 60, data));
            }
            let _ = socket.send_to(&message.to_vec().unwrap(), client);
        }
    });
}

#[test]
fn strangers_get_no_answer_from_a_gateway() {
    if !can_build() {
        return;
    }
    let (lab, open, _) = site(&[]);
    let outside = lab.outside();
    crate::lab::ip(&outside, "route add 10.0.1.0/24 via 192.168.77.1");
    let answer = ask(&outside, open.ip(1), "web.", RecordType::A);
    assert_eq!(code(&answer), ResponseCode::Refused);
}

#[test]
fn the_resolver_is_where_a_bridge_will_be() {
    if !can_build() {
        return;
    }
    let (mut lab, open, closed) = site(&[]);
    let mut late = Overlay::new(3, &[]);
    late.names = vec![("web", vec![100])];
    let all = [open, closed, late.clone()];
    let problems = lab.hosts[0].try_apply(want(&all, 0, 1));
    assert_eq!(problems, ["network net3 waits for its bridge dpbr3"]);
    lab.add_bridge(0, "dpbr3", late.ip(1));
    let caller = lab.add_container(0, &[("dpbr3", late.ip(11))]);
    let answer = ask(&caller, late.ip(1), "web.", RecordType::A);
    assert_eq!(addresses(&answer), [late.ip(100)]);
}
