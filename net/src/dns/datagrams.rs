//! Questions over UDP: many are taken and answered with one call each.
//!
//! Under load nearly all of a resolver's time is the kernel's, so what counts
//! is how often it is called.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Questions taken at one time.
const BATCH: usize = 32;
/// No question that we understand is longer: a name, and EDNS with a cookie.
const QUESTION_BYTES: usize = 512;
/// The longest answer.
pub(super) const ANSWER_BYTES: usize = super::LARGEST_UDP as usize;

/// What is made of a question.
pub(super) enum Reply {
    /// So many bytes of the buffer are the answer.
    Written(usize),
    /// It is answered later, or never.
    None,
}

/// Takes questions from `socket` and sends what `answer` writes. Ends only when
/// the socket fails.
pub(super) async fn serve(
    socket: &UdpSocket,
    mut answer: impl FnMut(SocketAddrV4, &[u8], &mut [u8]) -> Reply,
) -> io::Result<()> {
    loop {
        socket.readable().await?;
        let mut turn = Ok(0);
        let again = socket.try_io(Interest::READABLE, || {
            turn = BATCH_OF_THREAD.with_borrow_mut(|batch| batch.turn(socket, &mut answer));
            match turn {
                // The queue is empty: the next call would only say so.
                Ok(received) if received < BATCH => Err(io::ErrorKind::WouldBlock.into()),
                Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        match turn {
            Err(error) if !is_passing(error) => return Err(error.into()),
            // Not asked at all: another thread emptied the queue.
            _ => drop(again),
        }
    }
}

/// Whether it is about an answer that could not be delivered, while the socket
/// is well.
const fn is_passing(error: Errno) -> bool {
    matches!(
        error,
        Errno::EAGAIN
            | Errno::EINTR
            | Errno::ECONNREFUSED
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EPERM
            | Errno::ENOBUFS
            | Errno::ENOMEM
    )
}

thread_local! {
    /// All sockets of a thread share one: none is in the middle of a turn while
    /// another has its own.
    static BATCH_OF_THREAD: RefCell<Batch> = RefCell::new(Batch::new());
}

struct Batch {
    questions: Vec<[u8; QUESTION_BYTES]>,
    answers: Vec<[u8; ANSWER_BYTES]>,
    incoming: MultiHeaders<SockaddrIn>,
    outgoing: MultiHeaders<SockaddrIn>,
    /// Who asked, and the length of the question, in order.
    asked: Vec<(SockaddrIn, usize)>,
    /// Position and length of each answer, and where it goes.
    answered: Vec<(usize, usize)>,
    destinations: Vec<Option<SockaddrIn>>,
}

impl Batch {
    fn new() -> Self {
        Self {
            questions: vec![[0; QUESTION_BYTES]; BATCH],
            answers: vec![[0; ANSWER_BYTES]; BATCH],
            incoming: MultiHeaders::preallocate(BATCH, None),
            outgoing: MultiHeaders::preallocate(BATCH, None),
            asked: Vec::with_capacity(BATCH),
            answered: Vec::with_capacity(BATCH),
            destinations: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what is there and answers it; returns how many there were.
    fn turn(
        &mut self,
        socket: &UdpSocket,
        answer: &mut impl FnMut(SocketAddrV4, &[u8], &mut [u8]) -> Reply,
    ) -> Result<usize, Errno> {
        let received = self.receive(socket)?;
        self.answer(answer);
        self.send(socket);
        Ok(received)
    }

    fn receive(&mut self, socket: &UdpSocket) -> Result<usize, Errno> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .questions
            .iter_mut()
            .map(|question| [IoSliceMut::new(question)])
            .collect();
        self.asked.clear();
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut self.incoming,
            slices.iter_mut(),
            // With TRUNC the kernel says how long a cut question was.
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC,
            None,
        )?;
        for message in received {
            let nobody = || SockaddrIn::new(0, 0, 0, 0, 0);
            let from = message.address.unwrap_or_else(nobody);
            self.asked.push((from, message.bytes));
        }
        Ok(self.asked.len())
    }

    fn answer(&mut self, answer: &mut impl FnMut(SocketAddrV4, &[u8], &mut [u8]) -> Reply) {
        self.answered.clear();
        self.destinations.clear();
        let all = self.asked.iter().zip(&self.questions);
        for (position, ((from, length), question)) in all.enumerate() {
            let Some(question) = question.get(..*length) else {
                continue;
            };
            let address = SocketAddrV4::new(from.ip(), from.port());
            // Nobody can be answered there.
            if address.port() == 0 || address.ip().is_broadcast() || address.ip().is_multicast() {
                continue;
            }
            if let Reply::Written(length) = answer(address, question, &mut self.answers[position]) {
                self.answered.push((position, length));
                self.destinations.push(Some(*from));
            }
        }
    }

    fn send(&mut self, socket: &UdpSocket) {
        let slices: Vec<[IoSlice<'_>; 1]> = self
            .answered
            .iter()
            .map(|(position, length)| [IoSlice::new(&self.answers[*position][..*length])])
            .collect();
        let mut first = 0;
        while first < slices.len() {
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.outgoing,
                &slices[first..],
                &self.destinations[first..],
                [],
                MsgFlags::MSG_DONTWAIT,
            );
            first += match sent {
                Ok(sent) => sent.count(),
                Err(Errno::EINTR) => 0,
                // The first one cannot be sent; who asked will ask again.
                Err(error) => {
                    tracing::debug!(%error, "a resolver's answer was not sent");
                    1
                }
            };
        }
    }
}
