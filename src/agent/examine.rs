//! Compares everything of this node's networks with what is wanted of it, and has it mended: the
//! engine's networks, what containers are connected to, and the data path.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use swarmr_net::datapath::{self, Part};
use tokio::sync::watch;
use tokio::time::Instant;

use super::network::NetworkDriver;
use super::order::engine_name;
use super::progress::Signals;
use super::runtime::{ContainerView, EngineNetwork, Phase, Runtime, RuntimeError};
use crate::clock::timestamp;
use crate::message::examination::{Drift, Examination, Mended};
use crate::spec::{ClusterId, NetworkId, TaskId};
use crate::state::assignment::{Assignment, Want};

/// How long mending may take before what is left is told.
const MEND_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at what is being mended.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What an examination works with.
pub(super) struct Examiner {
    pub(super) cluster: ClusterId,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) driver: Arc<dyn NetworkDriver>,
    pub(super) assignment: watch::Receiver<Option<Arc<Assignment>>>,
    pub(super) signals: Arc<Signals>,
}

impl fmt::Debug for Examiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examiner").finish_non_exhaustive()
    }
}

/// What one look showed.
#[derive(Default)]
struct Look {
    drift: Vec<Drift>,
    mended: Vec<Mended>,
    problems: Vec<String>,
}

impl Examiner {
    /// Looks, and has mended what it finds if it is to.
    pub(super) async fn examine(&self, mend: bool) -> Examination {
        let first = self.look().await;
        let last = match mend && can_be_mended(&first.drift) {
            true => Some(self.mend().await),
            false => None,
        };
        let (remaining, problems) = match last {
            Some(last) => (last.drift, last.problems),
            None => (first.drift.clone(), first.problems),
        };
        Examination {
            found: first.drift,
            remaining,
            mended: first.mended,
            problems,
        }
    }

    /// Has everything made again that is not as wanted; returns how it is then.
    async fn mend(&self) -> Look {
        let end = Instant::now() + MEND_WITHIN;
        self.signals.doubted.notify_one();
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let look = self.look().await;
            let is_sure = look.problems.is_empty();
            if is_sure && !can_be_mended(&look.drift) || Instant::now() >= end {
                return look;
            }
        }
    }

    async fn look(&self) -> Look {
        let mut look = Look::default();
        match self.driver.compare().await {
            Ok(comparison) => {
                look.drift = comparison.found.into_iter().map(drift).collect();
                look.mended = comparison.mended.into_iter().map(mended).collect();
                look.problems = comparison.problems;
            }
            Err(error) => look.problems.push(error.to_string()),
        }
        let assignment = self.assignment.borrow().clone();
        if let Some(assignment) = assignment
            && let Err(error) = self.look_at_engine(&assignment, &mut look.drift).await
        {
            look.problems.push(error.to_string());
        }
        look
    }

    async fn look_at_engine(
        &self,
        assignment: &Assignment,
        found: &mut Vec<Drift>,
    ) -> Result<(), RuntimeError> {
        let networks = self.runtime.list_networks(self.cluster).await?;
        found.extend(of_networks(assignment, &networks));
        let mut views = Vec::new();
        for container in self.runtime.list(self.cluster).await? {
            let (Some(task), true) = (container.task, container.running) else {
                continue;
            };
            if let Some(view) = self.runtime.inspect(&container.id).await? {
                views.push((task, view));
            }
        }
        found.extend(of_containers(assignment, &views));
        Ok(())
    }
}

/// A container is connected when it is created: to connect it otherwise would be to take it from
/// whoever uses it now.
fn can_be_mended(found: &[Drift]) -> bool {
    let container = Part::Container.to_string();
    found.iter().any(|drift| drift.part != container)
}

fn drift(drift: datapath::Drift) -> Drift {
    Drift {
        part: drift.part.to_string(),
        what: drift.what,
    }
}

fn mended(mended: datapath::Mended) -> Mended {
    Mended {
        at: timestamp(mended.at),
        drift: drift(mended.drift),
    }
}

/// Engine networks that are missing, and those that are left over.
fn of_networks(assignment: &Assignment, found: &[EngineNetwork]) -> Vec<Drift> {
    let part = Part::EngineNetwork.to_string();
    let there: BTreeSet<NetworkId> = found.iter().filter_map(|it| it.network).collect();
    let wanted: BTreeSet<NetworkId> = assignment.networks.iter().map(|it| it.id).collect();
    let missing = assignment.networks.iter();
    let missing = missing
        .filter(|network| !there.contains(&network.id))
        .map(|network| format!("make the engine's network for {}", network.name));
    let left_over = found
        .iter()
        .filter(|it| it.network.is_some_and(|id| !wanted.contains(&id)))
        .map(|network| format!("remove the engine's network {}", network.name));
    let what = missing.chain(left_over);
    what.map(|what| Drift {
        part: part.clone(),
        what,
    })
    .collect()
}

/// Containers that are not where their task is said to be.
fn of_containers(assignment: &Assignment, found: &[(TaskId, ContainerView)]) -> Vec<Drift> {
    let mut drift = Vec::new();
    for (task, view) in found {
        let assigned = assignment.tasks.iter().find(|it| it.id == *task);
        let live = assigned.filter(|it| !matches!(it.want, Want::Stopped | Want::Removed));
        let (Some(assigned), Phase::Running(_)) = (live, &view.phase) else {
            continue;
        };
        for attachment in &assigned.attachments {
            let mut networks = assignment.networks.iter();
            let Some(network) = networks.find(|it| it.id == attachment.network) else {
                continue;
            };
            let name = engine_name(&network.name, network.id, network.internal);
            let has = view.addresses.get(&name);
            if has == Some(&attachment.address) {
                continue;
            }
            let has = has.map_or_else(|| "no address".to_owned(), ToString::to_string);
            drift.push(Drift {
                part: Part::Container.to_string(),
                what: format!(
                    "replace task {task}: its container {} has {has} on {} instead of {}",
                    view.name, network.name, attachment.address
                ),
            });
        }
    }
    drift
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::super::runtime::Health;
    use super::super::wants::tests::assignment;
    use super::*;

    #[test]
    fn engine_networks_are_compared_by_what_they_carry() {
        let assignment = assignment();
        let network = |network, name: &str| EngineNetwork {
            id: "e".to_owned(),
            name: name.to_owned(),
            network,
        };
        let all = assignment.networks.iter();
        let mut there: Vec<_> = all.map(|it| network(Some(it.id), "x")).collect();
        there.push(network(None, "not ours"));
        assert_eq!(of_networks(&assignment, &there), []);
        there[0] = network(Some(NetworkId::from_bits(77)), "old");
        let found = of_networks(&assignment, &there);
        let what: Vec<&str> = found.iter().map(|it| it.what.as_str()).collect();
        let name = &assignment.networks[0].name;
        let make = format!("make the engine's network for {name}");
        assert_eq!(what, [&make, "remove the engine's network old"]);
        assert!(can_be_mended(&found));
    }

    #[test]
    fn a_container_with_another_address_is_told_and_left_alone() {
        let assignment = assignment();
        let live = |want| !matches!(want, Want::Stopped | Want::Removed);
        let mut tasks = assignment.tasks.iter().filter(|it| live(it.want));
        let task = tasks.find(|it| !it.attachments.is_empty()).unwrap();
        let attachment = &task.attachments[0];
        let mut networks = assignment.networks.iter();
        let network = networks.find(|it| it.id == attachment.network).unwrap();
        let name = engine_name(&network.name, network.id, network.internal);
        let view = |address, phase| ContainerView {
            id: "c".to_owned(),
            name: "web.1".to_owned(),
            labels: BTreeMap::new(),
            phase,
            pid: 1,
            addresses: BTreeMap::from([(name.clone(), address)]),
        };
        let others = task.attachments.len() - 1;
        let running = Phase::Running(Health::Unchecked);
        let found = |view| of_containers(&assignment, &[(task.id, view)]);
        assert_eq!(
            found(view(attachment.address, running.clone())).len(),
            others
        );
        let strange = Ipv4Addr::new(192, 0, 2, 1);
        let told = found(view(strange, running));
        assert_eq!(told.len(), others + 1);
        assert!(told[0].what.contains("has 192.0.2.1 on"), "{told:?}");
        assert!(!can_be_mended(&told));
        // One that is created has no address yet.
        assert_eq!(found(view(strange, Phase::Created)), []);
    }
}
