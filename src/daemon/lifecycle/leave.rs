//! Out of a cluster.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::failed;
use crate::api::control::LifecycleError;
use crate::daemon::node::Node;
use crate::daemon::{Daemon, STOP_DEADLINE, group};
use crate::manager::peers::ask;
use crate::message::control::{Answer, Ask};

/// How long the cluster may take to let a manager go.
const LEAVE_DEADLINE: Duration = Duration::from_secs(15);
/// How long one manager may take to answer.
const ASK_DEADLINE: Duration = Duration::from_secs(5);

impl Daemon {
    pub(in crate::daemon) async fn leave_cluster(&self, force: bool) -> Result<(), LifecycleError> {
        let _one_at_a_time = self.lifecycle.write().await;
        let Some(node) = self.node.borrow().clone() else {
            return Err(LifecycleError::NotMember);
        };
        if let Some(manager) = node.manager()
            && !force
        {
            let voters = manager.store().status().members.len();
            return Err(LifecycleError::Unsafe(leaving_manager(voters)));
        }
        if let Err(why) = say_goodbye(&node).await {
            if !force {
                return Err(LifecycleError::Unreachable(format!(
                    "no manager could be told that this node leaves: {why}. Use --force to leave all the same"
                )));
            }
            tracing::warn!(why, "left without telling the managers");
        }
        self.node.send_replace(None);
        let cluster = node.cluster;
        node.stop(STOP_DEADLINE).await;
        drop(node);
        self.engine.remove_everything(cluster).await;
        self.states.send_replace(Arc::default());
        self.disk
            .clear_all()
            .map_err(|error| failed(format!("{error:#}")))
    }
}

/// Tells the managers, and as one of them waits to be out of their group.
async fn say_goodbye(node: &Node) -> Result<(), String> {
    let managers = node.settings().managers;
    let deadline = Instant::now() + LEAVE_DEADLINE;
    if node.manager().is_some() && managers.len() < 2 {
        return Ok(());
    }
    let mut why = "no manager is known".to_owned();
    for manager in managers.iter().filter(|manager| manager.node != node.id) {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .min(ASK_DEADLINE);
        match ask(
            &node.pool,
            manager.node,
            &manager.addr,
            &Ask::Leave { force: true },
            left,
        )
        .await
        {
            Ok(Answer::Done) => {
                while !group::is_out(node).await {
                    if Instant::now() >= deadline {
                        return Err("this manager is still in the Raft group".to_owned());
                    }
                    tokio::time::sleep(group::ASK_EVERY).await;
                }
                return Ok(());
            }
            Ok(other) => why = format!("manager {} answered {other:?}", manager.node),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn leaving_manager(voters: usize) -> String {
    let intro =
        "You are attempting to leave the swarm on a node that is participating as a manager.";
    let next = "Demote it first (swarmr node demote self on another manager), or use --force to suppress this message.";
    match voters {
        1 => format!(
            "{intro} Removing the last manager erases all current state of the swarm. {next}"
        ),
        _ => {
            let (left, needed) = (voters - 1, voters / 2 + 1);
            format!(
                "{intro} The cluster has {voters} managers and needs {needed} of them to answer; \
                 without this one {left} are left. {next}"
            )
        }
    }
}
