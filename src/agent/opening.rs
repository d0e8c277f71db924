//! Waiting until an application that runs takes connections, so that nobody is sent to it before.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::order::Order;
use super::runtime::Runtime;

/// How soon it is looked at again, at first and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// How far one task's application is with that.
#[derive(Debug)]
pub(super) struct Opening {
    since: Option<Instant>,
    poll: Backoff,
    done: bool,
}

/// Not yet: why, and when to look again.
pub(super) struct Closed {
    pub(super) reason: String,
    pub(super) until: Instant,
}

impl Opening {
    pub(super) const fn new() -> Self {
        Self {
            since: None,
            poll: Backoff::new(POLL.0, POLL.1),
            done: false,
        }
    }

    /// The application listens on every published port, or that cannot be seen, or it was waited
    /// for long enough.
    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    /// Looks at the application, whose process is `pid`.
    pub(super) async fn look(
        &mut self,
        runtime: &dyn Runtime,
        order: &Order,
        pid: i64,
        within: Duration,
    ) -> Option<Closed> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let closed = closed_port(runtime, order, pid).await;
        match closed.filter(|_| since.elapsed() < within) {
            Some(port) => Some(Closed {
                reason: format!("the application does not listen on its published port {port} yet"),
                until: Instant::now() + self.poll.pause(),
            }),
            None => {
                self.done = true;
                None
            }
        }
    }
}

async fn closed_port(runtime: &dyn Runtime, order: &Order, pid: i64) -> Option<u16> {
    let mut published = order.published_ports().peekable();
    published.peek()?;
    let listened = runtime.listened_ports(pid).await?;
    published.find(|port| !listened.contains(port))
}
