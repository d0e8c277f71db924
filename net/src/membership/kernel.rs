//! Whether a machine answers though its daemon does not.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::driver::Input;
use crate::gossip::NodeId;

/// How long a kernel may take to refuse a connection.
const DEADLINE: Duration = Duration::from_millis(250);
/// Questions under way at once; more are not asked.
const MOST: usize = 64;

/// Asks kernels for a connection to a port where nobody listens: the refusal is an answer.
#[derive(Debug)]
pub(super) struct Kernels {
    places: Arc<Semaphore>,
    inputs: mpsc::Sender<Input>,
    tracker: TaskTracker,
}

impl Kernels {
    pub(super) fn new(inputs: mpsc::Sender<Input>, tracker: TaskTracker) -> Self {
        let places = Arc::new(Semaphore::new(MOST));
        Self {
            places,
            inputs,
            tracker,
        }
    }

    pub(super) fn ask(&self, node: NodeId, address: SocketAddr) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return;
        };
        let inputs = self.inputs.clone();
        self.tracker.spawn(async move {
            let answer = timeout(DEADLINE, TcpStream::connect(address)).await;
            let answered = match answer {
                Ok(Ok(_)) => true,
                Ok(Err(error)) => matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
                ),
                Err(_) => false,
            };
            drop(place);
            if answered {
                // One that finds no room is asked again.
                let _ = inputs.try_send(Input::KernelAnswered(node));
            }
        });
    }
}
