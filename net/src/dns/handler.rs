//! One question over the wire.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::{A, PTR};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::forward::Forwarder;
use super::{Answer, Index, Kind};

/// How long our own names may be kept, in seconds.
const TTL_S: u32 = 1;
/// The largest answer over UDP, in bytes: fits an unfragmented packet on any
/// overlay.
const LARGEST_UDP: u16 = 1232;

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

/// A code and the records that go with it.
type Reply = (ResponseCode, Vec<Record>);

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responder: R,
    ) -> ResponseInfo {
        let (code, records) = self.reply(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = code;
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, LARGEST_UDP));
            edns.set_version(0);
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let response = builder.build(metadata, records.iter(), [], [], []);
        match responder.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a resolver's answer was not sent");
                failed(request)
            }
        }
    }
}

impl Handler {
    async fn reply(&self, request: &Request) -> Reply {
        if request.metadata.op_code != OpCode::Query
            || request.metadata.message_type != MessageType::Query
        {
            return (ResponseCode::NotImp, Vec::new());
        }
        let IpAddr::V4(caller) = request.src().ip() else {
            return (ResponseCode::Refused, Vec::new());
        };
        let Ok(info) = request.request_info() else {
            return (ResponseCode::FormErr, Vec::new());
        };
        let name: Name = info.query.original().name().clone();
        let asked = info.query.query_type();
        let kind = match asked {
            RecordType::A | RecordType::ANY => Kind::Address,
            RecordType::PTR => Kind::Pointer,
            _ => Kind::Other,
        };
        let shared = &self.shared;
        let answer = shared
            .index
            .load()
            .lookup(caller, self.gateway, &name.to_ascii(), kind);
        match answer {
            Answer::Addresses(mut addresses) => {
                let turn = shared.turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1);
                addresses.rotate_left(turn);
                let record =
                    |address| Record::from_rdata(name.clone(), TTL_S, RData::A(A(address)));
                let records = addresses.into_iter().map(record).collect();
                (ResponseCode::NoError, records)
            }
            Answer::Pointer(target) => match Name::from_ascii(&target) {
                Ok(mut target) => {
                    target.set_fqdn(true);
                    let record = Record::from_rdata(name, TTL_S, RData::PTR(PTR(target)));
                    (ResponseCode::NoError, vec![record])
                }
                Err(_) => (ResponseCode::NXDomain, Vec::new()),
            },
            Answer::Empty => (ResponseCode::NoError, Vec::new()),
            Answer::NotFound => (ResponseCode::NXDomain, Vec::new()),
            Answer::Refused => (ResponseCode::Refused, Vec::new()),
            Answer::Forward => match shared.forwarder.ask(name, asked).await {
                Ok(records) => (ResponseCode::NoError, records),
                Err(code) => (code, Vec::new()),
            },
        }
    }
}

fn failed(request: &Request) -> ResponseInfo {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = ResponseCode::ServFail;
    let counts = hickory_server::proto::op::HeaderCounts::default();
    ResponseInfo::from(hickory_server::proto::op::Header { metadata, counts })
}
