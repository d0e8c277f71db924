//! The replicated state as the `raft` crate sees it: bytes in, bytes out, one published snapshot
//! after every batch.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use swarmr_raft::Machine;
use tokio::sync::watch;

use crate::state::codec;
use crate::state::rejected::Rejected;
use crate::state::{Command, Reply, State};

/// Owns the one mutable `State` of a manager.
#[derive(Debug)]
pub(super) struct StateMachine {
    state: State,
    published: watch::Sender<Arc<State>>,
}

impl StateMachine {
    /// The machine, and where it publishes.
    pub(super) fn new() -> (Self, watch::Receiver<Arc<State>>) {
        let (published, watch) = watch::channel(Arc::new(State::default()));
        let machine = Self {
            state: State::default(),
            published,
        };
        (machine, watch)
    }
}

impl Machine for StateMachine {
    fn apply(&mut self, index: u64, _term: u64, data: &[u8]) -> Bytes {
        let reply = match codec::decode::<Command>(data) {
            Ok(command) => self.state.apply(index, command),
            // Every manager reads the same bytes with the same build or a neighbouring one; what
            // one cannot read was refused by its proposer's own decode.
            Err(error) => {
                tracing::error!(index, %error, "an entry of the log cannot be read: upgrade this node");
                Reply::Rejected(Rejected::Invalid {
                    field: "command".to_owned(),
                    problem: error.to_string(),
                })
            }
        };
        Bytes::from(codec::encode(&reply).unwrap_or_default())
    }

    fn published(&mut self, _last_index: u64) {
        self.published.send_replace(Arc::new(self.state.clone()));
    }

    fn snapshot(&self) -> Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send> {
        let state = self.state.clone();
        Box::new(move || state.to_snapshot().map_err(io::Error::other))
    }

    fn restore(&mut self, _last_index: u64, bytes: &[u8]) -> io::Result<()> {
        self.state = State::from_snapshot(bytes).map_err(io::Error::other)?;
        Ok(())
    }
}
