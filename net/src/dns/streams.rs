//! Questions over TCP: for answers that are too long for a datagram.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use hickory_server::net::xfer::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handler::Handler;
use super::slots::Slots;

/// For a question to arrive, and for an answer to be taken.
const DEADLINE: Duration = Duration::from_secs(5);
/// The longest question that is read, in bytes.
const QUESTION_BYTES: usize = 4096;
/// How long to wait after the host ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on all connections to `listener` until `closing`.
pub(super) async fn serve(
    listener: TcpListener,
    handler: Handler,
    slots: Slots,
    tracker: TaskTracker,
    closing: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok((stream, SocketAddr::V4(from))) => (stream, from),
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(%error, "a connection to the resolver was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Who has too many connections already loses this one.
        let Some(slot) = slots.take(*from.ip()) else {
            continue;
        };
        let (handler, closing) = (handler.clone(), closing.clone());
        tracker.spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = closing.cancelled() => {}
                ended = converse(stream, from, &handler) => if let Err(error) = ended {
                    tracing::trace!(%error, "a connection to the resolver ended");
                },
            }
        });
    }
}

/// Answers one question after the other, until there is none for a while.
async fn converse(mut stream: TcpStream, from: SocketAddrV4, handler: &Handler) -> io::Result<()> {
    loop {
        let question = timeout(DEADLINE, read(&mut stream)).await??;
        let Some(answer) = handler.answer(question, from, Protocol::Tcp).await else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let mut message = length.to_be_bytes().to_vec();
        message.extend(answer);
        timeout(DEADLINE, stream.write_all(&message)).await??;
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > QUESTION_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    Ok(question)
}
