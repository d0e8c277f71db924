//! One question, one answer, each on a stream of its own.
//!
//! Both are a length of four bytes, big-endian, and so many bytes. The length is
//! there because a stream whose sender goes away ends as if it were finished: half
//! a request must not pass for a whole one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::{Connection, ConnectionLost, Peer};
use super::dial::DialError;

/// How long a caller may take to send a request or to take the answer.
const TRANSFER: Duration = Duration::from_secs(10);

const HEADER: usize = 4;
const READ_AT_MOST: usize = 64 << 10;

/// Stream codes; part of the protocol.
const TOO_LARGE: VarInt = VarInt::from_u32(1);
const UNREADABLE: VarInt = VarInt::from_u32(2);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// Nothing was sent: worth another try at once.
    #[error("the connection was lost before the request was sent")]
    NotSent(#[source] ConnectionLost),
    /// The request may or may not have been carried out.
    #[error("the connection was lost while waiting for the answer")]
    Lost(#[source] ConnectionLost),
    /// The request may or may not have been carried out.
    #[error("no answer within {within:?}")]
    Timeout { within: Duration },
    #[error("the request of {got} bytes is larger than the peer takes")]
    RequestTooLarge { got: usize },
    #[error("the answer has {got} bytes, allowed are {allowed}")]
    AnswerTooLarge { got: usize, allowed: usize },
    /// The peer's handler failed. The request may have been carried out.
    #[error("the peer gave up on the request")]
    GivenUp,
    /// From [`super::Pool::call`] only: nothing was sent.
    #[error("there is no connection to the node")]
    NoConnection(#[source] DialError),
}

impl CallError {
    /// Whether the request certainly was not carried out.
    pub fn was_not_carried_out(&self) -> bool {
        matches!(
            self,
            Self::NotSent(_) | Self::NoConnection(_) | Self::RequestTooLarge { .. }
        )
    }
}

/// Asks and waits for the answer, at most until `deadline` from now. An answer of
/// more than `max_response` bytes is refused without being read.
pub async fn call(
    connection: &Connection,
    request: Bytes,
    deadline: Duration,
    max_response: usize,
) -> Result<Bytes, CallError> {
    timeout(deadline, ask(connection, request, max_response))
        .await
        .unwrap_or(Err(CallError::Timeout { within: deadline }))
}

/// Answers calls until the connection is over, and says why it is.
///
/// At most `limit_concurrent` handlers run at once; further calls wait. Requests
/// of more than `max_request` bytes are refused without being read. When this
/// returns or is dropped, so are handlers that still run.
pub async fn serve_calls<H, F>(
    connection: Connection,
    limit_concurrent: usize,
    max_request: usize,
    handler: H,
) -> ConnectionLost
where
    H: Fn(Arc<Peer>, Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Bytes> + Send + 'static,
{
    let handler = Arc::new(handler);
    let places = Arc::new(Semaphore::new(limit_concurrent.max(1)));
    let mut running = JoinSet::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            lost = connection.closed() => return lost,
        };
        let place = place.expect("the semaphore is never closed");
        while running.try_join_next().is_some() {}
        let (send, receive) = match connection.accept_bi().await {
            Ok(stream) => stream,
            Err(lost) => return lost,
        };
        let handler = Arc::clone(&handler);
        let peer = Arc::clone(connection.peer());
        running.spawn(async move {
            answer(send, receive, max_request, |request| handler(peer, request)).await;
            drop(place);
        });
    }
}

async fn ask(
    connection: &Connection,
    request: Bytes,
    max_response: usize,
) -> Result<Bytes, CallError> {
    let got = request.len();
    let (mut send, mut receive) = connection.open_bi().await.map_err(CallError::NotSent)?;
    let lost = || connection.lost().unwrap_or(ConnectionLost::Here);
    match write(&mut send, request).await {
        Ok(()) => {}
        // A server may answer, or refuse, before it has read everything: what it
        // says is on the other direction.
        Err(Transfer::Stopped) => {}
        Err(Transfer::TooLarge { .. }) => return Err(CallError::RequestTooLarge { got }),
        Err(_) => return Err(CallError::Lost(lost())),
    }
    read(&mut receive, max_response)
        .await
        .map_err(|error| match error {
            Transfer::TooLarge { got } => CallError::AnswerTooLarge {
                got,
                allowed: max_response,
            },
            Transfer::Reset(TOO_LARGE) => CallError::RequestTooLarge { got },
            Transfer::Lost => CallError::Lost(lost()),
            Transfer::Reset(_) | Transfer::Stopped | Transfer::Torn => CallError::GivenUp,
        })
}

async fn answer<F>(
    mut send: SendStream,
    mut receive: RecvStream,
    max_request: usize,
    handler: impl FnOnce(Bytes) -> F,
) where
    F: Future<Output = Bytes>,
{
    let request = match timeout(TRANSFER, read(&mut receive, max_request)).await {
        Ok(Ok(request)) => request,
        Ok(Err(Transfer::TooLarge { .. })) => return refuse(send, receive, TOO_LARGE),
        Ok(Err(_)) | Err(_) => return refuse(send, receive, UNREADABLE),
    };
    let response = handler(request).await;
    // If it fails, the caller has gone: there is nobody to tell.
    let _ = timeout(TRANSFER, write(&mut send, response)).await;
}

/// Both calls fail only on streams that the peer has ended already.
fn refuse(mut send: SendStream, mut receive: RecvStream, code: VarInt) {
    let _ = send.reset(code);
    let _ = receive.stop(code);
}

/// How moving a message can fail.
#[derive(Debug, PartialEq, Eq)]
enum Transfer {
    TooLarge {
        got: usize,
    },
    /// Ended within a message.
    Torn,
    Reset(VarInt),
    Stopped,
    Lost,
}

async fn write(stream: &mut SendStream, message: Bytes) -> Result<(), Transfer> {
    let got = message.len();
    let length = u32::try_from(got).map_err(|_| Transfer::TooLarge { got })?;
    let header = Bytes::copy_from_slice(&length.to_be_bytes());
    stream
        .write_all_chunks(&mut [header, message])
        .await
        .map_err(|error| match error {
            WriteError::Stopped(_) => Transfer::Stopped,
            _ => Transfer::Lost,
        })?;
    // It fails only when the peer stopped the stream meanwhile.
    let _ = stream.finish();
    Ok(())
}

/// Memory grows with what has arrived, not with what was announced.
async fn read(stream: &mut RecvStream, max: usize) -> Result<Bytes, Transfer> {
    let mut buffer = BytesMut::new();
    loop {
        if let Some(header) = buffer.first_chunk::<HEADER>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length > max {
                return Err(Transfer::TooLarge { got: length });
            }
            if buffer.len() >= HEADER + length {
                buffer.advance(HEADER);
                buffer.truncate(length);
                return Ok(buffer.freeze());
            }
        }
        let chunk = stream
            .read_chunk(READ_AT_MOST, true)
            .await
            .map_err(|error| match error {
                ReadError::Reset(code) => Transfer::Reset(code),
                _ => Transfer::Lost,
            })?
            .ok_or(Transfer::Torn)?;
        buffer.extend_from_slice(&chunk.bytes);
    }
}
