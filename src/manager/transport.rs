//! Raft's calls over the one door.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarmr_net::quic::{Connection, Pool, serve_calls};
use swarmr_raft::{CallKind, Member, Raft, Transport, TransportError};
use tokio::sync::watch;

use crate::message::RAFT;
use swarmr_net::in_words;

/// The largest request: a batch of entries, or a piece of a snapshot.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Answers say how far a member is; they are small.
const RESPONSE_BYTES_MAX: usize = 1 << 20;
/// Calls of one peer that are answered at once: a few of each kind.
const CONCURRENT: usize = 64;

/// Carries Raft's calls over standing connections. QUIC gives each call a stream of its own, so an
/// urgent one does not queue behind a large one.
#[derive(Debug, Clone)]
pub(super) struct QuicTransport {
    pool: Pool,
}

impl QuicTransport {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl Transport for QuicTransport {
    fn call(
        &self,
        to: &Member,
        _kind: CallKind,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (pool, to) = (self.pool.clone(), to.clone());
        async move {
            pool.set_address(&to.label, to.addr.as_str());
            pool.call(&to.label, RAFT, request, deadline, RESPONSE_BYTES_MAX)
                .await
                .map_err(|error| match error {
                    swarmr_net::quic::CallError::Timeout { .. } => TransportError::TimedOut,
                    other => TransportError::Unreachable(in_words(&other)),
                })
        }
        .boxed()
    }
}

/// Answers the Raft calls of one peer for as long as this node has a Raft of its own. Then the
/// connection ends: a peer that kept it would not find the Raft that the node may have later.
pub(super) async fn serve(connection: Connection, mut raft: watch::Receiver<Option<Raft>>) {
    let mut stopped = raft.clone();
    if raft.wait_for(Option::is_some).await.is_err() {
        return;
    }
    tokio::select! {
        () = answer(connection.clone(), raft) => {}
        _ = stopped.wait_for(Option::is_none) => connection.close("this node's Raft has stopped"),
    }
}

async fn answer(connection: Connection, raft: watch::Receiver<Option<Raft>>) {
    serve_calls(
        connection,
        CONCURRENT,
        REQUEST_BYTES_MAX,
        move |_, request| {
            let raft = raft.borrow().clone();
            async move {
                match raft {
                    Some(raft) => raft.serve(request).await,
                    None => Bytes::new(),
                }
            }
        },
    )
    .await;
}
