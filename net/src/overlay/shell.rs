//! Making the kernel hold what is wanted.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::diff::is_made;
use super::kernel::{Kernel, NetlinkError};
use super::observe::observe;
use super::{Have, OverlayWant, Plan, Step, diff, sysctl};

/// What stands between an overlay and what was wanted of it.
#[derive(Debug, Error)]
pub enum OverlayProblem {
    /// The container engine has not made the bridge yet, or not with this
    /// gateway address.
    #[error("network {network} waits for its bridge {bridge}")]
    BridgeMissing { network: String, bridge: String },
    /// The kernel's tables cannot be read.
    #[error("cannot read the kernel's network tables")]
    Observe(#[source] NetlinkError),
    /// One step failed; the others were done.
    #[error("cannot {step}")]
    Step {
        step: String,
        #[source]
        source: NetlinkError,
    },
    /// A kernel switch cannot be set.
    #[error("cannot set {} to {value}", path.display())]
    Switch {
        path: PathBuf,
        value: String,
        #[source]
        source: io::Error,
    },
}

/// The overlays of this host.
#[derive(Debug)]
pub struct Overlay {
    kernel: Kernel,
    /// What we believe to be there: observed once, then kept up by what we did.
    /// `None` after anything that makes it doubtful.
    have: Option<Have>,
    /// What `have` was made to follow, if all of it was done.
    done: Option<OverlayWant>,
    /// Whether every switch could be set when we looked. If not, each plan looks
    /// again, so that the problem is told until it is solved.
    prepared: bool,
    /// Bridges that carry something of ours.
    used: BTreeSet<String>,
}

impl Overlay {
    /// Opens the connection to the kernel. Must be called in a tokio runtime,
    /// on a thread that is in the host's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            kernel: Kernel::open()?,
            have: None,
            done: None,
            prepared: false,
            used: BTreeSet::new(),
        })
    }

    /// Makes the next plan look at the kernel's tables first.
    pub fn doubt(&mut self) {
        self.have = None;
        self.done = None;
    }

    /// Whether all of `want` was done, as far as we know.
    pub(crate) fn has_done(&self, want: &OverlayWant) -> bool {
        self.done.as_ref() == Some(want)
    }

    /// Whether a device was there when the kernel's tables were read last.
    pub(crate) fn knows_device(&self, name: &str) -> bool {
        self.kernel.indexes.contains_key(name)
    }

    /// What to do so that the kernel holds `want`; nothing if its tables cannot
    /// be read. What is wrong is added to `problems`.
    pub async fn plan(
        &mut self,
        want: &OverlayWant,
        problems: &mut Vec<OverlayProblem>,
    ) -> Option<Plan> {
        if self.done.as_ref() == Some(want) {
            return Some(Plan::default());
        }
        self.done = None;
        let believed = self.have.take();
        let believed = believed.filter(|_| self.prepared).filter(|have| {
            // A bridge that was not made when we looked may be made now.
            want.networks.iter().all(|network| {
                let bridge = have.bridges.get(&network.bridge);
                bridge.is_some_and(|bridge| is_made(network, bridge))
            })
        });
        let have = match believed {
            Some(have) => have,
            None => self.look(want, problems).await?,
        };
        let plan = diff(want, &have);
        for network in plan.missing.iter().filter_map(|at| want.networks.get(*at)) {
            problems.push(OverlayProblem::BridgeMissing {
                network: network.id.clone(),
                bridge: network.bridge.clone(),
            });
        }
        self.have = Some(have);
        Some(plan)
    }

    /// Does the first half of `plan`.
    pub async fn grow(&mut self, want: &OverlayWant, plan: &Plan) -> Vec<OverlayProblem> {
        let wanted = want.networks.iter().map(|network| network.bridge.clone());
        self.used.extend(wanted);
        self.execute(&plan.grow).await
    }

    /// Does the second half of `plan`.
    pub async fn shrink(&mut self, want: &OverlayWant, plan: &Plan) -> Vec<OverlayProblem> {
        let problems = self.execute(&plan.shrink).await;
        let wanted: BTreeSet<String> = want
            .networks
            .iter()
            .map(|network| network.bridge.clone())
            .collect();
        if problems.is_empty() {
            for bridge in self.used.difference(&wanted) {
                sysctl::release_bridge(bridge);
            }
            if let Some(have) = &mut self.have {
                have.bridges.retain(|name, _| wanted.contains(name));
            }
            self.used = wanted;
            let whole = self.have.is_some() && self.prepared && plan.missing.is_empty();
            if whole && self.done.is_none() {
                self.done = Some(want.clone());
            }
        }
        problems
    }

    async fn look(
        &mut self,
        want: &OverlayWant,
        problems: &mut Vec<OverlayProblem>,
    ) -> Option<Have> {
        let wanted = want.networks.iter().map(|network| &network.bridge);
        let bridges: BTreeSet<String> = wanted.chain(&self.used).cloned().collect();
        let have = match observe(&mut self.kernel, &bridges).await {
            Ok(have) => have,
            Err(error) => {
                problems.push(OverlayProblem::Observe(error));
                return None;
            }
        };
        // A tunnel of a former life names a bridge we did not ask for.
        self.used.extend(have.bridges.keys().cloned());
        let mut unset = Vec::new();
        if !want.networks.is_empty() {
            unset.extend(sysctl::prepare_host().await);
        }
        for network in &want.networks {
            if have.bridges.contains_key(&network.bridge) {
                unset.extend(sysctl::prepare_bridge(&network.bridge));
            }
        }
        self.prepared = unset.is_empty();
        problems.extend(unset);
        Some(have)
    }

    async fn execute(&mut self, steps: &[Step]) -> Vec<OverlayProblem> {
        let mut problems = Vec::new();
        for step in steps {
            match self.kernel.execute(step).await {
                Ok(()) => {
                    if let Some(have) = &mut self.have {
                        have.take(step);
                    }
                }
                Err(source) => problems.push(OverlayProblem::Step {
                    step: step.to_string(),
                    source,
                }),
            }
        }
        if !problems.is_empty() {
            self.doubt();
        }
        problems
    }
}
