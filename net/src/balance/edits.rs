//! The conversation with the kernel about elements.

use std::io;
use std::time::Duration;

use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use socket2::SockRef;

use super::batch::{Answer, Batch, answers, batch, generation};
use super::element::Edit;

/// More than the kernel puts into one answer.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// What the kernel may take for one answer: other writers go first.
const DEADLINE: Duration = Duration::from_secs(5);

/// A connection to the kernel's packet filter, opened when it is first needed,
/// in the network namespace of the calling thread.
#[derive(Debug, Default)]
pub(super) struct Edits {
    socket: Option<Socket>,
}

impl Edits {
    /// Makes all edits or none, and returns how often the packet filter had been
    /// changed before and after.
    pub(super) async fn apply(&mut self, edits: &[Edit]) -> io::Result<(u32, u32)> {
        let batch = batch(edits);
        self.talk(move |socket| {
            let before = count(socket)?;
            tell(socket, &batch)?;
            Ok((before, count(socket)?))
        })
        .await
    }

    /// How often the packet filter was changed, by anybody.
    pub(super) async fn generation(&mut self) -> io::Result<u32> {
        self.talk(count).await
    }

    /// Runs `work` beside the tasks of this thread: the kernel may let it wait
    /// for another writer. After an error the next one begins with a new socket,
    /// on which no late answer waits.
    async fn talk<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Socket) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let socket = self.socket.take();
        let talking = tokio::task::spawn_blocking(move || {
            let socket = match socket {
                Some(socket) => socket,
                None => open()?,
            };
            let result = work(&socket)?;
            io::Result::Ok((result, socket))
        });
        let (result, socket) = talking.await.map_err(io::Error::other)??;
        self.socket = Some(socket);
        Ok(result)
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    SockRef::from(&socket).set_read_timeout(Some(DEADLINE))?;
    Ok(socket)
}

fn count(socket: &Socket) -> io::Result<u32> {
    socket.send(&generation(), 0)?;
    loop {
        for answer in receive(socket)? {
            match answer {
                Answer::Generation(count) => return Ok(count),
                Answer::Error(code) => return Err(io::Error::from_raw_os_error(code)),
                Answer::Done(_) => {}
            }
        }
    }
}

fn tell(socket: &Socket, batch: &Batch) -> io::Result<()> {
    socket.send(&batch.bytes, 0)?;
    loop {
        for answer in receive(socket)? {
            match answer {
                Answer::Done(number) if number == batch.last => return Ok(()),
                Answer::Error(code) => return Err(io::Error::from_raw_os_error(code)),
                Answer::Done(_) | Answer::Generation(_) => {}
            }
        }
    }
}

fn receive(socket: &Socket) -> io::Result<Vec<Answer>> {
    let mut datagram = Vec::with_capacity(DATAGRAM_BYTES);
    socket.recv(&mut datagram, 0)?;
    Ok(answers(&datagram))
}
