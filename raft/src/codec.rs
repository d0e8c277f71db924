//! The bytes of a call between members. This module alone names the codec: its frames live no
//! longer than a call, and both ends check the version byte in front.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::member::{Member, MemberId};
use crate::types::{TypeConfig, Vote};

/// Raised with every change of a frame's layout.
pub(crate) const VERSION: u8 = 1;

/// Largest frame: a message of entries (1 MiB, or one entry of up to 8 MiB) and room to spare.
pub(crate) const FRAME_BYTES: usize = 16 << 20;

type Settings = Configuration<LittleEndian, Varint, Limit<FRAME_BYTES>>;

const SETTINGS: Settings = bincode::config::standard().with_limit::<FRAME_BYTES>();

/// What one member asks another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Whom the sender meant: an address may have passed to somebody else.
    pub(crate) to: MemberId,
    pub(crate) from: MemberId,
    pub(crate) ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Transfer(TransferLeaderRequest<TypeConfig>),
    Snapshot(SnapshotPiece),
    ReadIndex,
}

/// A piece of a snapshot file. Pieces are sent in order, one at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotPiece {
    /// The sender's, which leads.
    pub(crate) vote: Vote,
    /// Tells one transmission from another.
    pub(crate) transfer: u64,
    pub(crate) offset: u64,
    pub(crate) total: u64,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    Transfer {
        accepted: bool,
        reason: String,
    },
    /// The piece is kept; the next one begins here.
    SnapshotPiece {
        next: u64,
    },
    SnapshotDone(SnapshotResponse<TypeConfig>),
    ReadIndex(u64),
    Refused(Refusal),
}

/// Why a member does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request is malformed")]
    Malformed,
    #[error("protocol version {0} is not spoken")]
    Version(u8),
    #[error("the request was meant for another member than {0}")]
    WrongMember(MemberId),
    #[error("it has just started and gives no vote yet")]
    JustStarted,
    #[error("it does not lead")]
    NotLeader { leader: Option<Member> },
    #[error("it has no quorum")]
    NoQuorum,
    #[error("it has stopped")]
    Stopped,
    #[error("it failed: {0}")]
    Failed(String),
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("protocol version {0} is not spoken")]
    Version(u8),
    #[error("malformed frame: {0}")]
    Malformed(String),
}

pub(crate) fn encode<T: Serialize>(frame: &T) -> Result<Bytes, CodecError> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(frame, &mut bytes, SETTINGS)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok(bytes.into())
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let malformed = |what: &str| CodecError::Malformed(what.to_owned());
    let (version, body) = bytes.split_first().ok_or_else(|| malformed("empty"))?;
    if *version != VERSION {
        return Err(CodecError::Version(*version));
    }
    let (frame, used) = bincode::serde::decode_from_slice(body, SETTINGS)
        .map_err(|error| malformed(&error.to_string()))?;
    if used == body.len() {
        Ok(frame)
    } else {
        Err(malformed("bytes left over"))
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftVote as _;
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Data, Entry, LeaderId, Payload, log_id};

    fn append() -> Request {
        Request {
            to: 2,
            from: 1,
            ask: Ask::Append(AppendEntriesRequest {
                vote: Vote::from_leader_id(
                    LeaderId {
                        term: 3,
                        node_id: 1,
                    },
                    true,
                ),
                prev_log_id: Some(log_id(2, 1, 6)),
                entries: vec![Entry {
                    log_id: log_id(3, 1, 7),
                    payload: Payload::Normal(Data(Bytes::from_static(b"hi"))),
                }],
                leader_commit: None,
            }),
        }
    }

    #[test]
    fn an_append_has_these_bytes_on_the_wire() {
        let bytes = encode(&append()).unwrap();
        let want = [
            1, // version
            2, 1, // to, from
            0, // append
            3, 1, 1, // vote: term, leader, committed
            1, 2, 1, 6, // previous entry: some, term, leader, index
            1, // one entry
            3, 1, 7, // its term, leader, index
            1, 2, b'h', b'i', // data
            0,    // no commit position
        ];
        assert_eq!(&bytes[..], &want[..]);
    }

    #[test]
    fn a_frame_is_read_back() {
        let bytes = encode(&append()).unwrap();
        let back: Request = decode(&bytes).unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", append()));
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = encode(&append()).unwrap().to_vec();
        bytes[0] = 9;
        assert_eq!(
            decode::<Request>(&bytes).unwrap_err(),
            CodecError::Version(9)
        );
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_memory_is_taken() {
        // An answer that refuses with a text of 2^40 bytes.
        let mut bytes = vec![VERSION, 6, 7, 253];
        bytes.extend_from_slice(&(1u64 << 40).to_le_bytes());
        assert!(decode::<Answer>(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = vec![VERSION];
            framed.extend(bytes);
            let _ = decode::<Request>(&framed);
            let _ = decode::<Answer>(&framed);
        }
    }
}
