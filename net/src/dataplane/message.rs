//! What the daemon and the process of the data plane say to each other:
//! a length and one MessagePack value, a question and its answer.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::balance::{HoldProblem, Protocol};
use crate::dns::{ListenProblem, Table};
use crate::tunnel::TunnelWant;

/// What this program's data plane does, as a number: raised with each change
/// of it that is worth replacing a running one, and with each change of the
/// messages. A process of another generation is replaced.
pub(super) const GENERATION: u32 = 2;
/// Of one message, in bytes: the names of a large cluster.
const LARGEST: u32 = 64 << 20;

/// What the daemon wants. Each is the whole truth on its subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Ask {
    /// The first word of each connection.
    Hello,
    /// Hold these ports too.
    Hold(BTreeSet<(Protocol, u16)>),
    /// Hold no ports but these.
    Release(BTreeSet<(Protocol, u16)>),
    Name {
        upstreams: Vec<SocketAddr>,
        table: Table,
    },
    /// Carry encrypted networks; `None`: none.
    Tunnel(Option<Box<TunnelWant>>),
    /// A successor asks for the sockets. They go on being served here too.
    HandOver,
    /// A successor serves all of it: serve nothing new, end when what runs
    /// through here has ended.
    Retire,
    /// There is nothing left to serve: end.
    End,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    Hello {
        generation: u32,
    },
    /// All ports that are held now, and what stands in the way of others.
    Held {
        held: BTreeSet<(Protocol, u16)>,
        problems: Vec<HoldProblem>,
    },
    Named {
        problems: Vec<ListenProblem>,
    },
    /// What stands in the way of the tunnel, if anything does.
    Tunneled {
        problem: Option<String>,
    },
    Done,
    /// The question could not be done.
    Failed(String),
}

pub(super) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    let mut serializer = rmp_serde::Serializer::new(&mut frame).with_struct_map();
    message
        .serialize(&mut serializer)
        .map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    check(length)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

pub(super) async fn send(
    stream: &mut (impl AsyncWriteExt + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    stream.write_all(&encode(message)?).await
}

/// The next message; an error of the kind `UnexpectedEof` at the end.
pub(super) async fn receive<T: DeserializeOwned>(
    stream: &mut (impl AsyncReadExt + Unpin),
) -> io::Result<T> {
    let length = stream.read_u32().await?;
    check(length)?;
    let mut bytes = Vec::new();
    // Not reserved before it comes.
    let taken = stream
        .take(u64::from(length))
        .read_to_end(&mut bytes)
        .await?;
    match u32::try_from(taken) == Ok(length) {
        true => decode(&bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn check(length: u32) -> io::Result<()> {
    match length <= LARGEST {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes: at most {LARGEST} are allowed"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_through_whole() {
        let ports = BTreeSet::from([(Protocol::Tcp, 80), (Protocol::Udp, 53)]);
        let frame = encode(&Ask::Hold(ports.clone())).unwrap();
        let Ask::Hold(got) = receive(&mut &frame[..]).await.unwrap() else {
            panic!("another message");
        };
        assert_eq!(got, ports);
        let cut = receive::<Ask>(&mut &frame[..frame.len() - 1]).await;
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_too_long_or_no_message_is_refused() {
        let long = receive::<Ask>(&mut &u32::MAX.to_be_bytes()[..]).await;
        assert_eq!(long.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let strange = receive::<Ask>(&mut &[0, 0, 0, 1, 0xc1][..]).await;
        assert_eq!(strange.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
