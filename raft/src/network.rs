//! The calling end of the protocol: openraft's requests, made into frames and sent through the
//! program's [`Transport`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::Either;
use openraft::RaftNetworkFactory;
use openraft::RaftNetworkV2;
use openraft::alias::SnapshotOf;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::sync::watch;

use crate::codec::{self, Answer, Ask, Request, SnapshotPiece};
use crate::config::Timing;
use crate::member::{Member, MemberId};
use crate::snapshot::SnapshotFile;
use crate::status::Status;
use crate::transport::{CallKind, Transport};
use crate::types::{Contact, Entry, Payload, TypeConfig, Vote};

/// Bytes of a snapshot sent at once.
const PIECE_BYTES: usize = 1 << 20;

/// Makes links to other members.
#[derive(Clone)]
pub(crate) struct Network {
    from: MemberId,
    timing: Timing,
    transport: Arc<dyn Transport>,
    transfers: Arc<AtomicU64>,
    /// Where members are by now. openraft makes a link once and keeps it when an address changes.
    status: watch::Receiver<Status>,
}

/// A link to one member, for one purpose.
pub(crate) struct Link {
    network: Network,
    to: Member,
    /// What its appends are: entries, or heartbeats.
    appends: CallKind,
}

/// Why a call had no useful answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Transport(#[from] crate::transport::TransportError),
    #[error(transparent)]
    Codec(#[from] codec::CodecError),
    #[error("refused: {0}")]
    Refused(codec::Refusal),
    #[error("the answer does not fit the question")]
    Mismatch,
    #[error("cannot read the snapshot")]
    Snapshot(#[source] std::io::Error),
}

impl Network {
    pub(crate) fn new(
        from: MemberId,
        timing: Timing,
        transport: Arc<dyn Transport>,
        status: watch::Receiver<Status>,
    ) -> Self {
        Self {
            from,
            timing,
            transport,
            transfers: Arc::default(),
            status,
        }
    }

    /// Asks a member and waits for its answer until the deadline.
    pub(crate) async fn ask(
        &self,
        to: &Member,
        kind: CallKind,
        ask: Ask,
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        let request = codec::encode(&Request {
            to: to.id,
            from: self.from,
            ask,
        })?;
        let call = {
            let status = self.status.borrow();
            let to = status.member(to.id).unwrap_or(to);
            self.transport.call(to, kind, request, deadline)
        };
        let answer = call.await?;
        match codec::decode(&answer)? {
            Answer::Refused(refusal) => Err(CallError::Refused(refusal)),
            answer => Ok(answer),
        }
    }

    fn link(&self, id: MemberId, contact: &Contact, appends: CallKind) -> Link {
        Link {
            network: self.clone(),
            to: contact.member(id),
            appends,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: MemberId, node: &Contact) -> Link {
        self.link(target, node, CallKind::Append)
    }

    async fn new_heartbeat_client(&mut self, target: MemberId, node: &Contact) -> Link {
        self.link(target, node, CallKind::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: MemberId, node: &Contact) -> Link {
        self.link(target, node, CallKind::Snapshot)
    }
}

impl Link {
    async fn ask(&self, kind: CallKind, ask: Ask, deadline: Duration) -> Result<Answer, CallError> {
        self.network.ask(&self.to, kind, ask, deadline).await
    }

    async fn vote_call(
        &self,
        ask: Ask,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(CallKind::Vote, ask, option.hard_ttl()).await;
        match answer.map_err(unreachable)? {
            Answer::Vote(response) => Ok(response),
            _ => Err(unreachable(CallError::Mismatch)),
        }
    }

    /// Sends a snapshot piece by piece, from where the other side says it is.
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: &SnapshotFile,
    ) -> Result<SnapshotResponse<TypeConfig>, CallError> {
        let transfer = self.network.transfers.fetch_add(1, Ordering::Relaxed);
        let total = snapshot.bytes();
        let mut offset = 0;
        loop {
            let file = snapshot.clone();
            let bytes = tokio::task::spawn_blocking(move || file.piece(offset, PIECE_BYTES))
                .await
                .map_err(|error| CallError::Snapshot(std::io::Error::other(error)))?
                .map_err(CallError::Snapshot)?;
            let last = offset + bytes.len() as u64 == total;
            let piece = SnapshotPiece {
                vote,
                transfer,
                offset,
                total,
                bytes: bytes.into(),
            };
            // With the last piece the other side installs, which takes its machine some time.
            let deadline = self.network.timing.bulk_deadline() * if last { 30 } else { 2 };
            match self
                .ask(CallKind::Snapshot, Ask::Snapshot(piece), deadline)
                .await?
            {
                Answer::SnapshotPiece { next } if next > offset && !last => offset = next,
                Answer::SnapshotDone(response) if last => return Ok(response),
                _ => return Err(CallError::Mismatch),
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let deadline = match self.appends {
            CallKind::Heartbeat => option.hard_ttl(),
            _ => {
                let bytes = request.entries.iter().map(payload_bytes).sum();
                self.network.timing.append_deadline(bytes)
            }
        };
        let answer = self
            .ask(self.appends, Ask::Append(request), deadline)
            .await
            .map_err(unreachable)?;
        match answer {
            Answer::Append(response) => Ok(response),
            _ => Err(unreachable(CallError::Mismatch)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.vote_call(Ask::Vote(request), &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.vote_call(Ask::PreVote(request), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let send = std::pin::pin!(self.send_snapshot(vote, &snapshot.snapshot));
        let cancel = std::pin::pin!(cancel);
        match futures::future::select(send, cancel).await {
            Either::Left((Ok(response), _)) => Ok(response),
            Either::Left((Err(error), _)) => {
                tracing::warn!(to = self.to.id, %error, "sending a snapshot failed");
                Err(StreamingError::Unreachable(Unreachable::new(&error)))
            }
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self
            .ask(CallKind::Other, Ask::Transfer(request), option.hard_ttl())
            .await
            .map_err(unreachable)?;
        match answer {
            Answer::Transfer { accepted, reason } => {
                if !accepted {
                    tracing::warn!(to = self.to.id, reason, "a leader transfer was refused");
                }
                Ok(Ok(()))
            }
            _ => Err(unreachable(CallError::Mismatch)),
        }
    }

    /// Retries soon after a short outage and rarely during a long one.
    fn backoff(&self) -> Option<Backoff> {
        let first = self.network.timing.heartbeat / 2;
        let last = self.network.timing.election_max * 2;
        Some(Backoff::new((0..).map(move |attempt: u32| {
            (first * 2u32.saturating_pow(attempt.min(16))).min(last)
        })))
    }
}

fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(data) => data.0.len(),
        Payload::Blank | Payload::Membership(_) => 0,
    }
}

/// openraft backs off from a member that is unreachable, but not after other errors.
fn unreachable(error: CallError) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(&error))
}
