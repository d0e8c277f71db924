//! A long-lived stream of messages: sessions, logs, replication.
//!
//! Each frame is its length as four bytes, big-endian, and so many bytes.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use thiserror::Error;
use tokio::time::timeout;

use super::connection::{Connection, ConnectionLost};

/// How long a peer may take no byte at all before sending gives up.
const STALL: Duration = Duration::from_secs(10);

const HEADER: usize = 4;
const READ_AT_MOST: usize = 64 << 10;

/// Tells the other side that its frame was too large.
const TOO_LARGE: VarInt = VarInt::from_u32(1);

/// Both directions of a stream.
#[derive(Debug)]
pub struct FramedStream {
    sender: FramedSender,
    receiver: FramedReceiver,
}

/// Dropping it without `finish` after a cancelled `send` leaves the peer with a
/// torn frame, which it reports as such.
pub struct FramedSender {
    stream: SendStream,
    max_frame: usize,
    /// Parts of frames that are not with the transport yet.
    pending: VecDeque<Bytes>,
    /// Keeps the connection up as long as the stream is in use.
    connection: Connection,
}

pub struct FramedReceiver {
    stream: RecvStream,
    max_frame: usize,
    buffer: BytesMut,
    connection: Connection,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("a frame of {got} bytes, allowed are {allowed}")]
    TooLarge { got: usize, allowed: usize },
    #[error("the stream ended within a frame")]
    Torn,
    #[error("the peer ended the stream with code {code}")]
    EndedByPeer { code: u64 },
    #[error("the peer took nothing for {STALL:?}")]
    Stalled,
    #[error("the connection is lost")]
    Lost(#[from] ConnectionLost),
}

impl FramedStream {
    pub(crate) fn new(
        connection: Connection,
        send: SendStream,
        receive: RecvStream,
        max_frame: usize,
    ) -> Self {
        Self {
            sender: FramedSender {
                stream: send,
                max_frame,
                pending: VecDeque::new(),
                connection: connection.clone(),
            },
            receiver: FramedReceiver {
                stream: receive,
                max_frame,
                buffer: BytesMut::new(),
                connection,
            },
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.sender.connection
    }

    /// See [`FramedSender::send`].
    pub async fn send(&mut self, frame: Bytes) -> Result<(), FrameError> {
        self.sender.send(frame).await
    }

    /// See [`FramedReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<Bytes>, FrameError> {
        self.receiver.recv().await
    }

    /// For two tasks, one per direction.
    pub fn split(self) -> (FramedSender, FramedReceiver) {
        (self.sender, self.receiver)
    }
}

impl FramedSender {
    /// Returns when the transport has the frame; waits while the peer is behind.
    /// If the future is dropped, the frame goes out with the next `send`, whole.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), FrameError> {
        let too_large = FrameError::TooLarge {
            got: frame.len(),
            allowed: self.max_frame,
        };
        if frame.len() > self.max_frame {
            return Err(too_large);
        }
        let length = u32::try_from(frame.len()).map_err(|_| too_large)?;
        self.pending
            .push_back(Bytes::copy_from_slice(&length.to_be_bytes()));
        self.pending.push_back(frame);
        self.flush().await
    }

    /// Sends what a dropped `send` left and ends this direction.
    pub async fn finish(mut self) -> Result<(), FrameError> {
        self.flush().await?;
        // It fails only when the peer has ended the stream already.
        let _ = self.stream.finish();
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), FrameError> {
        while !self.pending.is_empty() {
            let chunks = self.pending.make_contiguous();
            let written = timeout(STALL, self.stream.write_chunks(chunks))
                .await
                .map_err(|_| FrameError::Stalled)??;
            self.pending.drain(..written.chunks);
        }
        Ok(())
    }
}

impl FramedReceiver {
    /// The next frame, or `None` when the peer has ended the stream between two.
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ_AT_MOST, true).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(FrameError::Torn),
            }
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*header) as usize;
        if length > self.max_frame {
            // It fails only when the stream is over already.
            let _ = self.stream.stop(TOO_LARGE);
            return Err(FrameError::TooLarge {
                got: length,
                allowed: self.max_frame,
            });
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

impl fmt::Debug for FramedSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedSender")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FramedReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedReceiver")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl From<WriteError> for FrameError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::EndedByPeer {
                code: code.into_inner(),
            },
            WriteError::ConnectionLost(error) => Self::Lost(error.into()),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => {
                Self::Lost(ConnectionLost::Here)
            }
        }
    }
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::EndedByPeer {
                code: code.into_inner(),
            },
            ReadError::ConnectionLost(error) => Self::Lost(error.into()),
            ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::Lost(ConnectionLost::Here),
        }
    }
}
