//! Waiting until an application that runs takes connections, so that nobody is sent to it before.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::order::Order;
use super::runtime::Runtime;

/// How soon it is looked at again, at first and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// How long a process that cannot be seen may be one that has ended, of which the engine does not
/// know yet. After that it is one of an engine whose processes are not ours to see.
const UNSEEN: Duration = Duration::from_millis(500);

/// How far one task's application is with that.
#[derive(Debug)]
pub(super) struct Opening {
    since: Option<Instant>,
    poll: Backoff,
    done: bool,
}

/// What a look at an application has shown.
pub(super) enum Look {
    Open,
    /// It cannot be seen. Mostly because it has ended since the engine was asked: ask again then.
    Unseen {
        until: Instant,
    },
    /// Not yet: why, and when to look again.
    Closed {
        reason: String,
        until: Instant,
    },
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
    ) -> Look {
        let since = *self.since.get_or_insert_with(Instant::now);
        let published: Vec<u16> = order.published_ports().collect();
        let listened = if published.is_empty() {
            Some(BTreeSet::new())
        } else {
            runtime.listened_ports(pid, &published).await
        };
        let Some(listened) = listened else {
            if since.elapsed() < UNSEEN {
                let until = Instant::now() + self.poll.pause();
                return Look::Unseen { until };
            }
            self.done = true;
            return Look::Open;
        };
        let closed = published.iter().find(|port| !listened.contains(port));
        match closed.filter(|_| since.elapsed() < within) {
            Some(port) => Look::Closed {
                reason: format!("the application does not listen on its published port {port} yet"),
                until: Instant::now() + self.poll.pause(),
            },
            None => {
                self.done = true;
                Look::Open
            }
        }
    }
}
