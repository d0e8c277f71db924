//! Asking another node something: one question, one answer, one deadline.

use std::time::Duration;

use bytes::Bytes;
use swarmr_net::in_words;
use swarmr_net::quic::Pool;

use crate::message::control::{Answer, Ask};
use crate::message::{ANSWER_BYTES_MAX, CONTROL};
use crate::spec::NodeId;
use crate::state::codec;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It never left: nothing was done.
    #[error("cannot reach node {node} at {addr}: {why}")]
    Unreachable {
        node: NodeId,
        addr: String,
        why: String,
    },
    /// It left and no answer came: whether it was done is unknown.
    #[error("no answer from node {node} at {addr}: {why}")]
    Silent {
        node: NodeId,
        addr: String,
        why: String,
    },
}

/// Asks `node`, which listens on `addr`.
pub(crate) async fn ask(
    pool: &Pool,
    node: NodeId,
    addr: &str,
    question: &Ask,
    deadline: Duration,
) -> Result<Answer, AskError> {
    let unreachable = |why: String| AskError::Unreachable {
        node,
        addr: addr.to_owned(),
        why,
    };
    let silent = |why: String| AskError::Silent {
        node,
        addr: addr.to_owned(),
        why,
    };
    let request = codec::encode(question).map_err(|error| unreachable(error.to_string()))?;
    let id = node.to_string();
    pool.set_address(&id, addr);
    let answer = pool
        .call(
            &id,
            CONTROL,
            Bytes::from(request),
            deadline,
            ANSWER_BYTES_MAX,
        )
        .await
        .map_err(|error| {
            let why = in_words(&error);
            if error.was_not_carried_out() {
                unreachable(why)
            } else {
                silent(why)
            }
        })?;
    codec::decode(&answer).map_err(|error| silent(format!("its answer cannot be read: {error}")))
}
