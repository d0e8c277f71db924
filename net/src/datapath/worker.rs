//! The task that owns the data path.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::drift::Memory;
use super::{Comparison, Drift, Part, Problem, StartError, Want};
use crate::balance::{BalanceWant, Balanced, Firewall, Flows, Nft, Outcome, Protocol};
use crate::dataplane::Services;
use crate::in_words;
use crate::overlay::{LinkEvents, Overlay, OverlayProblem, OverlayWant, Plan, Subnet};
use crate::tunnel;

/// Between two comparisons with the kernel.
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// Devices come in bursts: a container's port is several events.
const EVENTS_SETTLE: Duration = Duration::from_millis(5);

/// Without a change before the kernel is asked for all of the table: that takes
/// long where it is large, and the next change breaks it off.
const QUIET: Duration = Duration::from_millis(200);

/// Before a process that has died is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// What the task is asked to do, and where the answer goes.
pub(super) enum Request {
    Apply(Box<Want>, oneshot::Sender<Vec<Problem>>),
    Settle(oneshot::Sender<()>),
    Reconcile(oneshot::Sender<Vec<Problem>>),
    Compare(oneshot::Sender<Comparison>),
    Close(oneshot::Sender<()>),
    Remove(oneshot::Sender<Vec<Problem>>),
}

/// What a change of wants leaves to be done once it is in force.
#[must_use]
struct Change {
    before: Option<Want>,
    outcome: Outcome,
}

/// Everything the data path consists of.
pub(super) struct Worker {
    overlay: Overlay,
    events: LinkEvents,
    nft: Nft,
    firewall: Firewall,
    /// Names and held ports.
    services: Services,
    /// The last want; nothing is touched before the first one.
    want: Option<Want>,
    /// UDP ports that the balancer serves.
    balanced_udp: BTreeSet<u16>,
    /// What was wrong last time, in words.
    problems: watch::Sender<Vec<String>>,
    /// All of the overlays was done when they were applied last.
    whole: bool,
    /// What was put there and did not stay.
    memory: Memory,
}

impl Worker {
    pub(super) fn new(
        services: Services,
        problems: watch::Sender<Vec<String>>,
    ) -> Result<Self, StartError> {
        Ok(Self {
            overlay: Overlay::open()?,
            events: LinkEvents::open()?,
            nft: Nft::default(),
            firewall: Firewall::default(),
            services,
            want: None,
            balanced_udp: BTreeSet::new(),
            problems,
            whole: false,
            memory: Memory::default(),
        })
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut compare = interval_at(Instant::now() + COMPARE_EVERY, COMPARE_EVERY);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What is asked goes before what we look after by ourselves.
                biased;
                request = inbox.recv() => match request {
                    Some(Request::Apply(want, answer)) => {
                        let (problems, change) = self.apply(*want).await;
                        // The caller may have stopped waiting.
                        let _ = answer.send(problems);
                        self.settle(change).await;
                    }
                    Some(Request::Settle(answer)) => {
                        // Whatever was asked before is done.
                        let _ = answer.send(());
                    }
                    Some(Request::Reconcile(answer)) => {
                        let _ = answer.send(self.reconcile().await);
                    }
                    Some(Request::Compare(answer)) => {
                        let _ = answer.send(self.compare().await);
                    }
                    Some(Request::Remove(answer)) => {
                        let _ = answer.send(self.remove().await);
                        return;
                    }
                    Some(Request::Close(answer)) => {
                        self.services.close().await;
                        let _ = answer.send(());
                        return;
                    }
                    None => return,
                },
                () = self.events.changed() => {
                    tokio::time::sleep(EVENTS_SETTLE).await;
                    self.events.settle();
                    self.services.doubt_tunnel();
                    self.note_overlay().await;
                    self.again().await;
                }
                _ = compare.tick() => {
                    self.reconcile().await;
                }
                () = self.services.gone() => {
                    // One that dies at once is not started without a pause.
                    tokio::time::sleep(RESTART_PAUSE).await;
                    self.reconcile().await;
                }
                () = look(&mut self.nft), if self.nft.is_unseen() => {}
            }
        }
    }

    /// Makes the kernel follow `want`.
    async fn apply(&mut self, want: Want) -> (Vec<Problem>, Change) {
        let mut problems = Vec::new();
        if want.tunnel.is_some() {
            self.tunnel(&want, &mut problems).await;
        }
        let plan = self.build(&want.overlay, &mut problems).await;
        let ready = in_place(&want.overlay, plan.as_ref());
        if let Err(error) = self.firewall.put(&ready).await {
            problems.push(error.into());
        }
        let outcome = self.balance(&want, &ready, &mut problems).await;
        self.name(&want, &mut problems).await;
        if let Some(plan) = plan {
            let shrunk = self.overlay.shrink(&want.overlay, &plan).await;
            problems.extend(shrunk.into_iter().map(Problem::from));
        }
        self.whole = self.overlay.has_done(&want.overlay);
        if want.tunnel.is_none() {
            self.tunnel(&want, &mut problems).await;
        }
        let before = self.want.replace(want);
        self.tell(&problems);
        (problems, Change { before, outcome })
    }

    /// Ends what the change left behind. Reading the kernel's connections takes
    /// longer than all of the change did.
    async fn settle(&mut self, change: Change) {
        let Some(want) = &self.want else {
            return;
        };
        let before = change.before.as_ref();
        end_stale(before, want, change.outcome).await;
        end_removed(before, want).await;
        // Letting go of a large one takes a while, for which nobody waits.
        drop(tokio::task::spawn_blocking(|| drop(change.before)));
    }

    /// The growing half of the overlays.
    async fn build(&mut self, want: &OverlayWant, problems: &mut Vec<Problem>) -> Option<Plan> {
        let mut found = Vec::new();
        let mut plan = self.overlay.plan(want, &mut found).await?;
        let mut failed = self.overlay.grow(want, &plan).await;
        if !failed.is_empty() {
            // The devices may have changed since we looked: look again, once.
            found.clear();
            plan = self.overlay.plan(want, &mut found).await?;
            failed = self.overlay.grow(want, &plan).await;
        }
        let all = found.into_iter().chain(failed);
        problems.extend(all.map(Problem::from));
        Some(plan)
    }

    async fn balance(
        &mut self,
        want: &Want,
        ready: &OverlayWant,
        problems: &mut Vec<Problem>,
    ) -> Outcome {
        let mut balance = Cow::Borrowed(&want.balance);
        let reserved: BTreeSet<(Protocol, u16)> = want
            .overlay
            .networks
            .iter()
            .map(|network| (Protocol::Udp, network.port))
            .collect();
        publish_only(&mut balance, |protocol, port| {
            let reserved = reserved.contains(&(protocol, port));
            if reserved {
                problems.push(Problem::Reserved { protocol, port });
            }
            !reserved
        });
        let ports = balance.ports();
        match self.services.hold(&ports).await {
            Ok((held, unheld)) => {
                problems.extend(unheld.into_iter().map(Problem::from));
                publish_only(&mut balance, |protocol, port| {
                    held.contains(&(protocol, port))
                });
            }
            // What was published before is held still, as far as we know.
            Err(error) => problems.push(error.into()),
        }
        match self.nft.put(ready, &balance).await {
            Ok(outcome) => {
                if let Err(error) = self.services.release(&ports).await {
                    problems.push(error.into());
                }
                self.take_over_udp(&balance).await;
                outcome
            }
            Err(error) => {
                problems.push(error.into());
                Outcome::default()
            }
        }
    }

    /// A UDP sender that never pauses has a connection from before its port was
    /// published; forgetting it lets the next packet be balanced.
    async fn take_over_udp(&mut self, balance: &BalanceWant) {
        let served: BTreeSet<u16> = balance
            .published
            .iter()
            .filter(|port| port.protocol == Protocol::Udp && !port.backends.is_empty())
            .map(|port| port.port)
            .collect();
        for port in served.difference(&self.balanced_udp) {
            if let Err(error) = Flows::Before(Protocol::Udp, *port).forget().await {
                tracing::warn!(%error, port, "older UDP senders are not balanced");
            }
        }
        self.balanced_udp = served;
    }

    async fn tunnel(&mut self, want: &Want, problems: &mut Vec<Problem>) {
        if let Err(error) = self.services.tunnel(want.tunnel.as_ref()).await {
            problems.push(error.into());
        }
    }

    async fn name(&mut self, want: &Want, problems: &mut Vec<Problem>) {
        match self.services.name(&want.dns).await {
            Ok(unheard) => problems.extend(unheard.into_iter().map(Problem::from)),
            Err(error) => problems.push(error.into()),
        }
    }

    /// Compares everything with the kernel and repairs.
    async fn reconcile(&mut self) -> Vec<Problem> {
        self.note().await;
        let repaired = self.nft.repair().await;
        let there = self.services.reconcile().await;
        let mut problems = self.again().await;
        problems.extend(repaired.err().map(Problem::from));
        problems.extend(there.err().map(Problem::from));
        problems
    }

    /// How things compare with the last want.
    async fn compare(&mut self) -> Comparison {
        let mut comparison = Comparison {
            mended: self.memory.all(),
            ..Comparison::default()
        };
        let plan = self.compare_overlay(&mut comparison).await;
        let Some(want) = &self.want else {
            return comparison;
        };
        let Comparison {
            found, problems, ..
        } = &mut comparison;
        found.extend(drifts(Part::Rules, self.nft.compare().await));
        let ready = in_place(&want.overlay, plan.as_ref());
        match self.firewall.compare(&ready).await {
            Ok(firewall) => found.extend(drifts(Part::Firewall, firewall)),
            Err(error) => problems.push(in_words(&error)),
        }
        if !self.services.are_there().await {
            let what = "start the process for names and published ports";
            found.push(Drift::new(Part::DataPlane, what));
        }
        comparison
    }

    async fn compare_overlay(&mut self, comparison: &mut Comparison) -> Option<Plan> {
        self.overlay.doubt();
        let want = self.want.as_ref()?;
        let mut told = Vec::new();
        let plan = self.overlay.plan(&want.overlay, &mut told).await;
        // Bridges are the container engine's.
        told.retain(|it| !matches!(it, OverlayProblem::BridgeMissing { .. }));
        comparison
            .problems
            .extend(told.iter().map(|it| in_words(it)));
        let repairs = plan.iter().flat_map(Plan::repairs);
        comparison.found.extend(drifts(Part::Overlay, repairs));
        if plan.is_some() && want.tunnel.is_some() && !self.overlay.knows_device(tunnel::DEVICE) {
            let what = format!("make the device {}", tunnel::DEVICE);
            comparison.found.push(Drift::new(Part::Tunnel, what));
        }
        plan
    }

    /// Takes note of what of the overlays is not as it was left.
    async fn note_overlay(&mut self) {
        let mut comparison = Comparison::default();
        self.compare_overlay(&mut comparison).await;
        if self.whole {
            self.memory.add(comparison.found);
        }
    }

    /// Takes note of everything that is not as it was left. What was never done
    /// is none of it.
    async fn note(&mut self) {
        let known = self.firewall.is_known();
        let mut found = self.compare().await.found;
        found.retain(|drift| match drift.part {
            Part::Overlay | Part::Tunnel => self.whole,
            Part::Firewall => known,
            _ => true,
        });
        self.memory.add(found);
    }

    /// Makes the kernel follow `want`, and ends what that leaves behind.
    async fn change(&mut self, want: Want) -> Vec<Problem> {
        let (problems, change) = self.apply(want).await;
        self.settle(change).await;
        problems
    }

    /// Applies the last want once more.
    async fn again(&mut self) -> Vec<Problem> {
        match self.want.take() {
            Some(want) => self.change(want).await,
            None => Vec::new(),
        }
    }

    /// Removes everything.
    async fn remove(mut self) -> Vec<Problem> {
        self.overlay.doubt();
        self.firewall.doubt();
        let mut problems = self.change(Want::default()).await;
        if let Err(error) = self.nft.remove().await {
            problems.push(error.into());
        }
        self.services.close().await;
        problems
    }

    /// Says what is wrong when it is not what was wrong before.
    fn tell(&self, problems: &[Problem]) {
        let texts: Vec<String> = problems.iter().map(Problem::explain).collect();
        self.problems.send_if_modified(|before| {
            let changed = *before != texts;
            if changed {
                for text in texts.iter().filter(|text| !before.contains(text)) {
                    tracing::warn!("data path: {text}");
                }
                *before = texts;
            }
            changed
        });
    }
}

/// Ends the connections to containers that serve no more. Without this a client
/// that uses a port number again would meet the dead backend of its former
/// connection.
async fn end_stale(before: Option<&Want>, want: &Want, outcome: Outcome) {
    let now = &want.balance;
    let held_less = before.is_none_or(|before| now.holds_less(&before.balance));
    if !outcome.left && !held_less {
        return;
    }
    let wants = || before.into_iter().chain([want]);
    let networks = wants().flat_map(|want| &want.overlay.networks);
    let subnets: BTreeSet<Subnet> = networks.map(|network| network.subnet).collect();
    let ports = wants().flat_map(|want| want.balance.ports()).collect();
    let ended = async {
        let found = Balanced::find(subnets.into_iter().collect(), ports).await?;
        let serving = now.serving_among(&found.backends());
        found.forget_stale(&serving, &now.held).await
    };
    if let Err(error) = ended.await {
        tracing::warn!(%error, "connections to former backends linger");
    }
}

/// Forgets the connections of networks that were removed: nothing of theirs
/// stays in the kernel.
async fn end_removed(before: Option<&Want>, want: &Want) {
    let now: BTreeSet<Subnet> = want.overlay.networks.iter().map(|it| it.subnet).collect();
    let before = before.iter().flat_map(|before| &before.overlay.networks);
    let removed: Vec<Subnet> = before
        .map(|network| network.subnet)
        .filter(|subnet| !now.contains(subnet))
        .collect();
    if removed.is_empty() {
        return;
    }
    if let Err(error) = Flows::Of(removed).forget().await {
        tracing::warn!(%error, "connections of removed networks linger");
    }
}

fn drifts(part: Part, found: impl IntoIterator<Item = String>) -> impl Iterator<Item = Drift> {
    found.into_iter().map(move |what| Drift::new(part, what))
}

async fn look(nft: &mut Nft) {
    tokio::time::sleep(QUIET).await;
    nft.look().await;
}

/// Leaves out the published ports that are not `kept`. Nothing is copied where
/// all of them are.
fn publish_only(balance: &mut Cow<'_, BalanceWant>, mut kept: impl FnMut(Protocol, u16) -> bool) {
    let published = balance.published.iter();
    let kept: Vec<bool> = published
        .map(|port| kept(port.protocol, port.port))
        .collect();
    if kept.iter().all(|kept| *kept) {
        return;
    }
    let mut kept = kept.into_iter();
    let published = &mut balance.to_mut().published;
    published.retain(|_| kept.next().unwrap_or(true));
}

/// `want` without the networks that wait for their bridge.
fn in_place<'a>(want: &'a OverlayWant, plan: Option<&Plan>) -> Cow<'a, OverlayWant> {
    let missing = plan.map_or(&[][..], |plan| &plan.missing);
    if missing.is_empty() {
        return Cow::Borrowed(want);
    }
    let networks = want.networks.iter().enumerate();
    let present = networks.filter(|(position, _)| !missing.contains(position));
    Cow::Owned(OverlayWant {
        networks: present.map(|(_, network)| network.clone()).collect(),
    })
}
