//! One question, through hickory: whatever is asked, however it is asked.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, PTR, SRV};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;

use super::datagrams::Reply;
use super::forward::Forwarder;
use super::index::canonical;
use super::question::Question;
use super::{Answer, Index, Kind, Served, TTL_S, largest_payload, wire};

/// Answers on one gateway address.
#[derive(Clone)]
pub(super) struct Handler {
    pub(super) gateway: Ipv4Addr,
    pub(super) shared: Arc<Shared>,
}

/// What all gateways answer from.
pub(super) struct Shared {
    pub(super) index: ArcSwap<Index>,
    pub(super) forwarder: Forwarder,
    /// Moves on with each answer, so that all addresses of a name come first
    /// in turn.
    pub(super) turn: AtomicUsize,
}

/// A code, the records that go with it, and others that help.
#[derive(Default)]
struct Records {
    code: ResponseCode,
    answers: Vec<Record>,
    additional: Vec<Record>,
}

impl Handler {
    /// Answers a plain question at once, if it is one and about a name of ours.
    pub(super) fn at_once(&self, from: SocketAddrV4, message: &[u8], buffer: &mut [u8]) -> Reply {
        let Some(question) = Question::read(message) else {
            return Reply::None;
        };
        let index = self.shared.index.load();
        let answer = index.lookup(*from.ip(), self.gateway, question.name(), question.kind);
        match wire::write(&question, answer, self.next_turn(), buffer) {
            Some(length) => Reply::Written(length),
            None => Reply::None,
        }
    }

    /// The answer to any message; `None` where none is due.
    pub(super) async fn answer(
        &self,
        message: Vec<u8>,
        from: SocketAddrV4,
        protocol: Protocol,
    ) -> Option<Vec<u8>> {
        let malformed = malformed(&message);
        let Ok(request) = Request::from_bytes(message, from.into(), protocol) else {
            return malformed;
        };
        if request.metadata.message_type != MessageType::Query {
            return None;
        }
        let records = self.records(&request, from).await;
        encode(&request, &records, protocol).or(malformed)
    }

    async fn records(&self, request: &Request, from: SocketAddrV4) -> Records {
        if request.metadata.op_code != OpCode::Query {
            return Records::code(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else {
            return Records::code(ResponseCode::FormErr);
        };
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Records::code(ResponseCode::BADVERS);
        }
        let name: Name = info.query.original().name().clone();
        let asked = info.query.query_type();
        match self.known(*from.ip(), &name, kind_of(asked)) {
            Some(records) => records,
            None => match self.shared.forwarder.ask(name, asked).await {
                Ok(answers) => Records {
                    answers,
                    ..Records::default()
                },
                Err(code) => Records::code(code),
            },
        }
    }

    /// What the table says; `None` if the host's resolvers are to be asked.
    fn known(&self, caller: Ipv4Addr, name: &Name, kind: Kind) -> Option<Records> {
        let index = self.shared.index.load();
        let find = |name: &str, kind| index.lookup(caller, self.gateway, name, kind);
        let mut records = Records::default();
        match find(&canonical(&name.to_ascii()), kind) {
            Answer::Pointer(target) => match absolute(target) {
                Some(target) => records.answers.push(record(name, RData::PTR(PTR(target)))),
                None => records.code = ResponseCode::NXDomain,
            },
            Answer::Served(all) => {
                for Served { target, port } in all {
                    let Some(to) = absolute(target) else { continue };
                    for kind in [Kind::V4, Kind::V6] {
                        let addresses = addresses(find(&canonical(target), kind));
                        let named = addresses.into_iter().map(|data| record(&to, data));
                        records.additional.extend(named);
                    }
                    let place = RData::SRV(SRV::new(0, 1, *port, to));
                    records.answers.push(record(name, place));
                }
            }
            Answer::Empty => {}
            Answer::NotFound => records.code = ResponseCode::NXDomain,
            Answer::Refused => records.code = ResponseCode::Refused,
            Answer::Forward => return None,
            answer @ (Answer::V4(_) | Answer::V6(_)) => {
                let mut addresses = addresses(answer);
                let turn = self.next_turn() % addresses.len().max(1);
                addresses.rotate_left(turn);
                let named = addresses.into_iter().map(|data| record(name, data));
                records.answers.extend(named);
            }
        }
        Some(records)
    }

    fn next_turn(&self) -> usize {
        self.shared.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Records {
    fn code(code: ResponseCode) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }
}

fn kind_of(asked: RecordType) -> Kind {
    match asked {
        RecordType::A | RecordType::ANY => Kind::V4,
        RecordType::AAAA => Kind::V6,
        RecordType::PTR => Kind::Pointer,
        RecordType::SRV => Kind::Served,
        _ => Kind::Other,
    }
}

fn addresses(answer: Answer<'_>) -> Vec<RData> {
    match answer {
        Answer::V4(all) => all.iter().map(|it| RData::A(A(*it))).collect(),
        Answer::V6(all) => all.iter().map(|it| RData::AAAA(AAAA(*it))).collect(),
        _ => Vec::new(),
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL_S, data)
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn encode(request: &Request, records: &Records, protocol: Protocol) -> Option<Vec<u8>> {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = records.code;
    metadata.recursion_available = true;
    let edns = request.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(largest_payload(asked.max_payload()));
        edns.set_version(0);
        edns
    });
    let mut builder = MessageResponseBuilder::from_message_request(request);
    if let Some(edns) = &edns {
        builder.edns(edns);
    }
    let (answers, additional) = (records.answers.iter(), records.additional.iter());
    let response = builder.build(metadata, answers, [], [], additional);
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(match (protocol, &edns) {
        (Protocol::Udp, Some(edns)) => edns.max_payload(),
        (Protocol::Udp, None) => 512,
        _ => u16::MAX,
    });
    match response.destructive_emit(&mut encoder) {
        Ok(_) => Some(bytes),
        Err(error) => {
            tracing::debug!(%error, "a resolver's answer cannot be written");
            None
        }
    }
}

/// What a query that cannot be read is told (format error), if its header says
/// that it is one.
fn malformed(message: &[u8]) -> Option<Vec<u8>> {
    let header = message.first_chunk::<12>()?;
    let is_query = header[2] & 0x80 == 0;
    is_query.then(|| {
        let mut answer = vec![0; 12];
        answer[..2].copy_from_slice(&header[..2]);
        answer[2] = 0x80 | (header[2] & 0x79);
        answer[3] = 1;
        answer
    })
}
