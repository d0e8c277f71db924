//! Keeps the Raft group in step with the nodes' roles, one change at a time: a node that is to be a
//! manager is prepared, added as a learner, and made a voter once it has caught up; one that is no
//! longer to be a manager, or no longer exists, is taken out. Leadership moves first when it is the
//! leader's own.

use std::sync::Arc;
use std::time::Duration;

use swarmr_raft::Member;
use tokio_util::sync::CancellationToken;

use crate::manager::peers::ask;
use crate::manager::store::Store;
use crate::message::control::{Answer, Ask};
use crate::spec::NodeId;
use crate::state::State;
use crate::state::command::Op;
use crate::state::node::{Node, NodeState};

/// After a change that failed.
const RETRY_AFTER: Duration = Duration::from_millis(300);
/// How long a new member may take to get the log.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(60);
const PREPARE_DEADLINE: Duration = Duration::from_secs(3);

/// The next change of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// Nobody is to change.
    Nothing,
    Add {
        node: NodeId,
        addr: String,
    },
    /// In the group already, but the state does not say so yet.
    Record {
        node: NodeId,
        raft_id: Option<u64>,
    },
    Remove {
        raft_id: u64,
        node: Option<NodeId>,
    },
    /// This leader itself is to go.
    HandOver,
    ChangeAddr {
        raft_id: u64,
        node: NodeId,
        addr: String,
    },
}

pub(super) async fn run(store: Store, me: NodeId, over: CancellationToken) {
    let mut states = store.watch();
    loop {
        let state = states.borrow_and_update().clone();
        let next = decide(&state, &store.status().members, me);
        let outcome = tokio::select! {
            () = over.cancelled() => return,
            outcome = carry_out(&store, &state, &next) => outcome,
        };
        if next != Next::Nothing {
            match outcome {
                Ok(()) => tracing::info!(?next, "managers changed"),
                Err(error) => {
                    tracing::warn!(?next, error, "managers could not be changed yet");
                    tokio::select! {
                        () = over.cancelled() => return,
                        () = tokio::time::sleep(RETRY_AFTER) => {}
                    }
                }
            }
            continue;
        }
        tokio::select! {
            () = over.cancelled() => return,
            changed = states.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
}

/// What the group should become, from what the state wants and who votes now.
fn decide(state: &State, voters: &[Member], me: NodeId) -> Next {
    if state.cluster().is_none() {
        return Next::Nothing;
    }
    let id_of = |member: &Member| member.label.parse::<NodeId>().ok();
    let mut leaving = None;
    for member in voters {
        let node = id_of(member).and_then(|id| state.node(id));
        match node {
            Some(node) if node.is_manager() => {
                if node
                    .member
                    .is_none_or(|recorded| recorded.raft_id != member.id)
                {
                    return Next::Record {
                        node: node.id,
                        raft_id: Some(member.id),
                    };
                }
                if node.addr != member.addr {
                    return Next::ChangeAddr {
                        raft_id: member.id,
                        node: node.id,
                        addr: node.addr.clone(),
                    };
                }
            }
            Some(node) => {
                leaving = Some(Next::Remove {
                    raft_id: member.id,
                    node: Some(node.id),
                })
            }
            None if id_of(member) == Some(me) => leaving = Some(Next::HandOver),
            None => {
                leaving = Some(Next::Remove {
                    raft_id: member.id,
                    node: None,
                })
            }
        }
        if matches!(&leaving, Some(Next::Remove { node: Some(node), .. }) if *node == me) {
            leaving = Some(Next::HandOver);
        }
    }
    if let Some(leaving) = leaving {
        return leaving;
    }
    let is_voter = |node: &Node| voters.iter().any(|member| id_of(member) == Some(node.id));
    for node in state.nodes() {
        if node.member.is_some() && !is_voter(node) {
            return Next::Record {
                node: node.id,
                raft_id: None,
            };
        }
        if node.is_manager() && node.member.is_none() && node.status.state == NodeState::Ready {
            return Next::Add {
                node: node.id,
                addr: node.addr.clone(),
            };
        }
    }
    Next::Nothing
}

async fn carry_out(store: &Store, state: &Arc<State>, next: &Next) -> Result<(), String> {
    match next {
        Next::Nothing => Ok(()),
        Next::Add { node, addr } => {
            // Log indexes only grow, and one change is carried out at a time: the id is new.
            let raft_id = next_raft_id(store, state);
            let prepared = ask(
                store.pool(),
                *node,
                addr,
                &Ask::PrepareMember { raft_id },
                PREPARE_DEADLINE,
            )
            .await;
            let raft_id = match prepared.map_err(|error| error.to_string())? {
                Answer::Done => raft_id,
                // It was prepared before, by an attempt whose end nobody saw.
                Answer::Prepared { raft_id } => raft_id,
                other => return Err(format!("it answered {other:?}")),
            };
            let member = Member {
                id: raft_id,
                label: node.to_string(),
                addr: addr.clone(),
            };
            store
                .raft()
                .add_member(member, CATCH_UP_DEADLINE)
                .await
                .map_err(|error| error.to_string())?;
            record(store, *node, Some(raft_id)).await
        }
        Next::Record { node, raft_id } => record(store, *node, *raft_id).await,
        Next::Remove { raft_id, node } => {
            store
                .raft()
                .remove_member(*raft_id)
                .await
                .map_err(|error| error.to_string())?;
            match node {
                Some(node) => record(store, *node, None).await,
                None => Ok(()),
            }
        }
        Next::HandOver => store
            .raft()
            .transfer_leader(None)
            .await
            .map_err(|error| error.to_string()),
        Next::ChangeAddr {
            raft_id,
            node,
            addr,
        } => {
            let member = Member {
                id: *raft_id,
                label: node.to_string(),
                addr: addr.clone(),
            };
            store
                .raft()
                .update_member_addr(member)
                .await
                .map_err(|error| error.to_string())
        }
    }
}

/// Above every id given before: those were log indexes of earlier moments.
fn next_raft_id(store: &Store, state: &State) -> u64 {
    let given = store
        .status()
        .members
        .iter()
        .map(|member| member.id)
        .max()
        .unwrap_or(0);
    state.index().max(given) + 1
}

async fn record(store: &Store, node: NodeId, raft_id: Option<u64>) -> Result<(), String> {
    store
        .propose_here(Op::SetMember { node, raft_id })
        .await
        .map(|_| ())
        .map_err(|error| format!("{error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{NodeSpec, Role, Timestamp};
    use crate::state::Command;
    use crate::state::command::{AddNode, InitCluster, NodeObservation};

    fn id(number: u128) -> NodeId {
        NodeId::from_bits(number)
    }

    fn addr(number: u128) -> String {
        format!("10.0.0.{number}:2377")
    }

    fn voter(number: u128) -> Member {
        Member {
            id: u64::try_from(number).unwrap(),
            label: id(number).to_string(),
            addr: addr(number),
        }
    }

    /// Managers with these numbers, all of them ready, those in `recorded` with their Raft id.
    fn cluster(managers: &[u128], recorded: &[u128]) -> State {
        let mut state = State::default();
        let mut index = 0;
        let mut apply = |op| {
            index += 1;
            state.apply(
                index,
                Command {
                    at: Timestamp(i64::try_from(index).unwrap()),
                    op,
                },
            )
        };
        let node = |number| AddNode {
            id: id(number),
            role: Role::Manager,
            availability: crate::spec::Availability::Active,
            addr: addr(number),
            data_path_addr: std::net::Ipv4Addr::LOCALHOST,
            description: crate::state::node::NodeDescription::default(),
        };
        let (first, others) = managers.split_first().unwrap();
        apply(Op::InitCluster(Box::new(InitCluster {
            id: crate::spec::ClusterId::from_bits(1),
            spec: crate::spec::ClusterSpec::default(),
            authority: crate::state::cluster::Authority {
                root_pem: String::new(),
                key_pem: String::new(),
            },
            join_tokens: crate::state::cluster::JoinTokens {
                worker: String::new(),
                manager: String::new(),
            },
            address_pools: "10.0.0.0/8".parse().into_iter().collect(),
            subnet_prefix: 24,
            data_path_port: 4789,
            seed: 1,
            ingress: crate::spec::NetworkId::from_bits(1),
            first_node: node(*first),
            first_raft_id: u64::try_from(*first).unwrap(),
        })));
        for number in others {
            apply(Op::AddNode(Box::new(node(*number))));
        }
        for number in managers {
            apply(Op::ObserveNodes(vec![NodeObservation {
                node: id(*number),
                state: Some((NodeState::Ready, String::new())),
                description: None,
                addr: None,
            }]));
        }
        for number in recorded {
            apply(Op::SetMember {
                node: id(*number),
                raft_id: Some(u64::try_from(*number).unwrap()),
            });
        }
        state
    }

    fn demote(state: &mut State, number: u128) {
        let version = state.node(id(number)).unwrap().meta.version;
        let spec = NodeSpec {
            role: Role::Worker,
            ..NodeSpec::default()
        };
        let index = state.index() + 1;
        let at = Timestamp(i64::try_from(index).unwrap());
        state.apply(
            index,
            Command {
                at,
                op: Op::UpdateNode {
                    id: id(number),
                    version,
                    spec,
                    drain_limit: None,
                },
            },
        );
    }

    #[test]
    fn a_group_that_is_as_wanted_is_left_alone() {
        assert_eq!(
            decide(&cluster(&[1, 2], &[1, 2]), &[voter(1), voter(2)], id(1)),
            Next::Nothing
        );
    }

    #[test]
    fn a_new_manager_is_added_and_then_recorded() {
        let state = cluster(&[1, 2], &[1]);
        assert_eq!(
            decide(&state, &[voter(1)], id(1)),
            Next::Add {
                node: id(2),
                addr: addr(2)
            }
        );
        let added = decide(&state, &[voter(1), voter(2)], id(1));
        assert_eq!(
            added,
            Next::Record {
                node: id(2),
                raft_id: Some(2)
            }
        );
    }

    #[test]
    fn a_demoted_manager_is_removed_and_then_recorded_as_none() {
        let mut state = cluster(&[1, 2, 3], &[1, 2, 3]);
        demote(&mut state, 2);
        let voters = [voter(1), voter(2), voter(3)];
        assert_eq!(
            decide(&state, &voters, id(1)),
            Next::Remove {
                raft_id: 2,
                node: Some(id(2))
            }
        );
        let removed = decide(&state, &[voter(1), voter(3)], id(1));
        assert_eq!(
            removed,
            Next::Record {
                node: id(2),
                raft_id: None
            }
        );
    }

    #[test]
    fn a_demoted_leader_hands_over_first() {
        let mut state = cluster(&[1, 2], &[1, 2]);
        demote(&mut state, 1);
        assert_eq!(decide(&state, &[voter(1), voter(2)], id(1)), Next::HandOver);
    }

    #[test]
    fn a_voter_that_is_no_node_any_more_is_removed() {
        let state = cluster(&[1], &[1]);
        assert_eq!(
            decide(&state, &[voter(1), voter(9)], id(1)),
            Next::Remove {
                raft_id: 9,
                node: None
            }
        );
    }
}
