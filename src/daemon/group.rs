//! Whether this node is out of the Raft group. Asked of those who stay, for a member that was taken
//! out may never hear of it; and waited for, since a voter that stops while it still counts may cost
//! the others their quorum.

use std::time::Duration;

use super::node::Node;
use crate::manager::peers::ask;
use crate::message::control::{Answer, Ask};

/// Between two questions.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(100);
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// Whether the leader says that this node is in the group no more, or it never was.
pub(super) async fn is_out(node: &Node) -> bool {
    let Some(manager) = node.manager() else {
        return true;
    };
    let question = Ask::IsMember {
        raft_id: manager.raft_id(),
    };
    for other in node.known_managers() {
        if other.node == node.id {
            continue;
        }
        let answer = ask(
            &node.pool,
            other.node,
            &other.addr,
            &question,
            ANSWER_DEADLINE,
        );
        if let Ok(Answer::Member(member)) = answer.await {
            return !member;
        }
    }
    false
}
