//! The answering end of the protocol: frames from other members, handed to openraft.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use openraft::errors::{Fatal, Infallible, RaftError};

use crate::codec::{self, Answer, Ask, CodecError, Refusal, Request, SnapshotPiece};
use crate::error::ReadError;
use crate::member::MemberId;
use crate::read::Reader;
use crate::snapshot::{Received, SnapshotStore};
use crate::types::{Consensus, TypeConfig};

/// Answers calls for one member.
pub(crate) struct Server {
    pub(crate) id: MemberId,
    pub(crate) consensus: Consensus,
    pub(crate) reader: Reader,
    pub(crate) snapshots: Arc<SnapshotStore>,
    /// Before this no vote is given: a vote of ours may still be what a leader's lease rests on,
    /// and openraft forgets that over a restart.
    pub(crate) votes_from: Instant,
    pub(crate) incoming: Arc<Mutex<Option<Incoming>>>,
}

/// A snapshot on its way in.
pub(crate) struct Incoming {
    from: MemberId,
    transfer: u64,
    file: Received,
    /// Bytes so far.
    bytes: u64,
}

impl Server {
    /// Answers one request. Bytes that are no request get an answer too.
    pub(crate) async fn serve(&self, request: Bytes) -> Bytes {
        let answer = match codec::decode::<Request>(&request) {
            Ok(request) if request.to != self.id => Answer::Refused(Refusal::WrongMember(self.id)),
            Ok(request) => self.answer(request).await.unwrap_or_else(Answer::Refused),
            Err(CodecError::Version(version)) => Answer::Refused(Refusal::Version(version)),
            Err(CodecError::Malformed(_)) => Answer::Refused(Refusal::Malformed),
        };
        codec::encode(&answer).unwrap_or_default()
    }

    async fn answer(&self, request: Request) -> Result<Answer, Refusal> {
        let consensus = &self.consensus;
        match request.ask {
            Ask::Append(append) => {
                let response = consensus.append_entries(append).await.map_err(refusal)?;
                Ok(Answer::Append(response))
            }
            Ask::Vote(vote) => {
                self.check_may_vote()?;
                Ok(Answer::Vote(consensus.vote(vote).await.map_err(refusal)?))
            }
            Ask::PreVote(vote) => {
                self.check_may_vote()?;
                let response = consensus.pre_vote(vote).await.map_err(refusal)?;
                Ok(Answer::Vote(response))
            }
            Ask::Transfer(transfer) => {
                let response = consensus
                    .handle_transfer_leader(transfer)
                    .await
                    .map_err(stopped)?;
                Ok(Answer::Transfer {
                    accepted: response.is_ok(),
                    reason: response.err().map_or_else(String::new, |e| e.to_string()),
                })
            }
            Ask::Snapshot(piece) => self.take_piece(request.from, piece).await,
            Ask::ReadIndex => match self.reader.confirm().await {
                Ok(index) => Ok(Answer::ReadIndex(index)),
                Err(ReadError::NotLeader { leader }) => Err(Refusal::NotLeader { leader }),
                Err(ReadError::NoQuorum | ReadError::TimedOut) => Err(Refusal::NoQuorum),
                Err(ReadError::Stopped) => Err(Refusal::Stopped),
            },
        }
    }

    fn check_may_vote(&self) -> Result<(), Refusal> {
        if Instant::now() < self.votes_from {
            return Err(Refusal::JustStarted);
        }
        Ok(())
    }

    /// Keeps a piece of a snapshot; with the last one, installs it.
    async fn take_piece(&self, from: MemberId, piece: SnapshotPiece) -> Result<Answer, Refusal> {
        let vote = piece.vote;
        let (incoming, snapshots) = (self.incoming.clone(), self.snapshots.clone());
        let complete = blocking(move || {
            let mut incoming = incoming.lock().expect("no panic while receiving");
            let next = receive(&mut incoming, &snapshots, from, &piece)?;
            match incoming.take_if(|_| next >= piece.total) {
                Some(complete) => snapshots.received(complete.file).map(Ok),
                None => Ok(Err(next)),
            }
        })
        .await?;
        let (meta, snapshot) = match complete {
            Ok(complete) => complete,
            Err(next) => return Ok(Answer::SnapshotPiece { next }),
        };
        let response = self
            .consensus
            .install_full_snapshot(vote, openraft::Snapshot { meta, snapshot })
            .await
            .map_err(stopped)?;
        Ok(Answer::SnapshotDone(response))
    }
}

/// Writes a piece; returns the offset that the next one must have. Blocks on the disk.
fn receive(
    incoming: &mut Option<Incoming>,
    snapshots: &SnapshotStore,
    from: MemberId,
    piece: &SnapshotPiece,
) -> io::Result<u64> {
    if piece.offset == 0 {
        *incoming = Some(Incoming {
            from,
            transfer: piece.transfer,
            file: snapshots.receive()?,
            bytes: 0,
        });
    }
    let expected = incoming.as_mut().filter(|incoming| {
        (incoming.from, incoming.transfer, incoming.bytes) == (from, piece.transfer, piece.offset)
    });
    let Some(incoming) = expected else {
        return Err(io::Error::other(
            "this piece of a snapshot does not follow the last one",
        ));
    };
    incoming
        .file
        .file()
        .write_all_at(&piece.bytes, piece.offset)?;
    incoming.bytes += piece.bytes.len() as u64;
    Ok(incoming.bytes)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Refusal::Stopped)?
        .map_err(|error| Refusal::Failed(error.to_string()))
}

fn refusal(error: RaftError<TypeConfig, Infallible>) -> Refusal {
    match error {
        RaftError::Fatal(fatal) => stopped(fatal),
        RaftError::APIError(never) => match never {},
    }
}

fn stopped(fatal: Fatal<TypeConfig>) -> Refusal {
    match fatal {
        Fatal::Stopped => Refusal::Stopped,
        other => Refusal::Failed(other.to_string()),
    }
}
