//! Keeps this node what the cluster wants it to be: its certificate fresh and of the right role, its
//! manager running or not, its memory of where managers are up to date.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use swarmr_net::identity::NodeIdentity;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::group;
use super::node::Node;
use crate::manager::peers::ask;
use crate::message::control::{Answer, Ask};
use crate::spec::Role;
use crate::state::assignment::{Assignment, ManagerAddr};

/// How often the certificate's age is looked at, and failed renewals are tried again.
const EVERY: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);
const RENEW_DEADLINE: Duration = Duration::from_secs(5);
/// How long a demoted manager waits to be out of the Raft group before it says that it is not.
const LEAVE_GROUP: Duration = Duration::from_secs(10);

/// Follows assignments and the clock until the node stops.
pub(super) async fn follow(
    node: Weak<Node>,
    mut managers: watch::Receiver<Vec<ManagerAddr>>,
    mut assigned: watch::Receiver<Option<Arc<Assignment>>>,
    stopping: CancellationToken,
) {
    // Where in its last stretch of life the certificate is renewed: all nodes at different times.
    let fraction = 0.5 + 0.3 * rand::random::<f64>();
    loop {
        let wait = match node.upgrade() {
            None => return,
            Some(node) => {
                let known = managers.borrow_and_update().clone();
                let wanted = assigned
                    .borrow_and_update()
                    .as_ref()
                    .map(|assignment| assignment.role);
                let settled = tokio::select! {
                    () = stopping.cancelled() => return,
                    settled = settle(&node, &known, wanted, fraction, &assigned) => settled,
                };
                match settled {
                    Ok(()) => EVERY,
                    Err(error) => {
                        tracing::warn!(
                            error,
                            "this node is not yet what the cluster wants it to be"
                        );
                        RETRY
                    }
                }
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = managers.changed() => if changed.is_err() { return },
            changed = assigned.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn settle(
    node: &Node,
    managers: &[ManagerAddr],
    wanted: Option<Role>,
    fraction: f64,
    assigned: &watch::Receiver<Option<Arc<Assignment>>>,
) -> Result<(), String> {
    if !managers.is_empty() {
        node.remember(|settings| settings.managers = managers.to_vec())
            .map_err(|error| format!("{error:#}"))?;
    }
    let Some(identity) = node.identity() else {
        return Ok(());
    };
    let role_differs = wanted.is_some_and(|wanted| wanted != node.role());
    if role_differs || identity.renew_at(fraction) <= SystemTime::now() {
        renew(node, &identity, managers).await?;
    }
    if node.role() == Role::Worker && node.manager().is_some() {
        step_down(node, assigned).await?;
    }
    Ok(())
}

/// Stops this node's manager once the others do without it.
async fn step_down(
    node: &Node,
    assigned: &watch::Receiver<Option<Arc<Assignment>>>,
) -> Result<(), String> {
    let give_up = Instant::now() + LEAVE_GROUP;
    while !group::is_out(node).await {
        let wanted = assigned.borrow().as_ref().map(|assignment| assignment.role);
        if wanted == Some(Role::Manager) {
            // Promoted again before it was out: it goes on as it is, under a new certificate.
            return Ok(());
        }
        if Instant::now() >= give_up {
            return Err("it is still in the Raft group".to_owned());
        }
        tokio::time::sleep(group::ASK_EVERY).await;
    }
    node.stop_manager()
        .await
        .map_err(|error| format!("{error:#}"))?;
    tracing::info!("this node is a worker now");
    Ok(())
}

/// A new certificate for the same key, from the first manager that gives one.
async fn renew(
    node: &Node,
    identity: &NodeIdentity,
    managers: &[ManagerAddr],
) -> Result<(), String> {
    let csr_pem = identity.key().csr().map_err(|error| error.to_string())?;
    let question = Ask::Renew { csr_pem };
    let mut why = "no manager is known".to_owned();
    for manager in managers {
        match ask(
            &node.pool,
            manager.node,
            &manager.addr,
            &question,
            RENEW_DEADLINE,
        )
        .await
        {
            Ok(Answer::Renewed {
                chain_pem,
                roots_pem,
            }) => {
                let renewed =
                    NodeIdentity::from_pem(&chain_pem, identity.key().clone(), &roots_pem)
                        .map_err(|error| error.to_string())?;
                renewed
                    .save(&node.disk.tls())
                    .map_err(|error| error.to_string())?;
                let before = node.role();
                node.door
                    .adopt(renewed)
                    .map_err(|error| error.to_string())?;
                if (before, node.role()) == (Role::Worker, Role::Manager) {
                    // A connection keeps the certificate that it was opened with: as a worker.
                    for manager in managers {
                        node.pool.remove(&manager.node.to_string());
                    }
                }
                tracing::info!(role = %node.role(), "certificate renewed");
                return Ok(());
            }
            Ok(other) => why = format!("manager {} answered {other:?}", manager.node),
            Err(error) => why = error.to_string(),
        }
    }
    Err(format!("the certificate could not be renewed: {why}"))
}
