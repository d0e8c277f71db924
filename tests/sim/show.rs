//! What a script's `show` prints: one screen, without ids.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use swarmr::plan::{Wait, waits};
use swarmr::spec::{Mode, Timestamp};
use swarmr::state::job::{Cause, Record, Run};
use swarmr::state::service::{Hold, Rollout, RolloutState};
use swarmr::state::stay::Stay;
use swarmr::state::task::{DesiredState, TaskState, Waiting};
use swarmr::state::{Service, Task};

use super::world::{START, World};

/// Time since the simulation began: `1:05`; where the script has set the clock, the time in UTC.
pub(super) fn clock(at: Timestamp) -> String {
    let millis = (at - START).0 / 1_000_000;
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    if seconds > 7 * 24 * 3600 {
        // The script has set the clock: then it is the time of day that matters.
        return at.to_string()[..19].replace('T', " ");
    }
    let fraction = if millis == 0 {
        String::new()
    } else {
        format!(".{millis:03}")
    };
    format!("{}:{:02}{fraction}", seconds / 60, seconds % 60)
}

impl World {
    /// All services with their wanted tasks.
    pub(super) fn show(&self) -> String {
        let mut text = String::new();
        let mut services: Vec<_> = self.state.services().collect();
        services.sort_by_key(|service| service.name());
        for service in services {
            text.push_str(&self.show_service(service));
        }
        text
    }

    /// Every task of a service that is remembered, the newest of each slot first.
    pub(super) fn history(&self, name: &str) -> String {
        let Ok(service) = self.state.find_service(name) else {
            return format!("no service {name}\n");
        };
        let mut tasks: Vec<&Task> = self
            .state
            .tasks_of(service.id)
            .map(|task| task.as_ref())
            .collect();
        tasks.sort_by_key(|task| (task.slot, std::cmp::Reverse(task.meta.created_at)));
        let mut text = String::new();
        for task in tasks {
            text.push_str(&self.task_line(service, task));
        }
        text
    }

    /// What a service has been.
    pub(super) fn revisions(&self, name: &str) -> String {
        let Ok(service) = self.state.find_service(name) else {
            return format!("no service {name}\n");
        };
        let mut text = String::new();
        for revision in service.revisions.iter().rev() {
            let current = if revision.number == service.revision() {
                " (current)"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  {:<3} {:<6} {:<26} {}{current}",
                revision.number,
                clock(revision.at),
                revision.cause.to_string(),
                revision.spec.task_template.container_spec.image,
            );
        }
        text
    }

    /// The nodes and what is on them.
    pub(super) fn nodes(&self) -> String {
        let mut text = String::new();
        for node in self.state.nodes() {
            let usage = self.state.usage(node.id);
            let labels: Vec<String> = node
                .spec
                .labels
                .iter()
                .map(|(label, value)| format!("{label}={value}"))
                .collect();
            let stopping = usage.present - usage.active;
            let stopping = if stopping == 0 {
                String::new()
            } else {
                format!("+{stopping} stopping ")
            };
            let line = format!(
                "{:<4} {:<8} {:<7} {} tasks {stopping}{}",
                node.description.hostname,
                format!("{:?}", node.status.state).to_lowercase(),
                node.spec.availability.to_string(),
                usage.active,
                labels.join(" ")
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// How many tasks are remembered, in whatever state.
    pub(super) fn count(&self) -> String {
        format!("{} tasks\n", self.state.task_count())
    }

    /// One line: the slots of a service with the tasks that have not ended.
    pub(super) fn slots_line(&self, name: &str) -> String {
        let Ok(service) = self.state.find_service(name) else {
            return format!("no service {name}");
        };
        let mut tasks: Vec<&Task> = self
            .state
            .tasks_of(service.id)
            .map(|task| task.as_ref())
            .filter(|task| !task.has_ended())
            .collect();
        tasks.sort_by_key(|task| (task.slot, task.meta.created_at));
        let mut cells: Vec<(String, String)> = Vec::new();
        for task in tasks {
            let cell = format!("{} {}", self.tag(service, task), stage(task));
            let slot = self.slot_name(task);
            match cells.last_mut().filter(|(last, _)| *last == slot) {
                Some((_, text)) => {
                    let _ = write!(text, ", {cell}");
                }
                None => cells.push((slot, cell)),
            }
        }
        let progress = match &service.rollout {
            Some(rollout) => word(rollout).to_owned(),
            None => self.job_progress(service).unwrap_or_default(),
        };
        let mut line = format!("{progress:<19}");
        for (slot, cell) in cells {
            let _ = write!(line, " | .{slot} {cell:<20}");
        }
        line.trim_end().to_owned()
    }

    /// What a job's newest run has done: `run 0: 2/5 done`.
    fn job_progress(&self, service: &Service) -> Option<String> {
        let job = service.job.as_ref()?;
        let Some(run) = job.run(job.iteration) else {
            return Some("no run yet".to_owned());
        };
        let done: BTreeSet<_> = self
            .state
            .tasks_of(service.id)
            .filter(|task| task.slot.run() == Some(run.number))
            .filter(|task| task.status.state == TaskState::Complete)
            .map(|task| task.slot)
            .collect();
        let total = match &service.spec.mode {
            Mode::ReplicatedJob(mode) => format!("/{}", mode.total_completions()),
            _ => String::new(),
        };
        Some(format!("run {}: {}{total} done", run.number, done.len()))
    }

    /// A job's runs, as they are remembered, oldest first.
    pub(super) fn runs(&self, name: &str) -> String {
        let mut text = String::new();
        let service = self.state.find_service(name).expect("the service");
        let records = service.job.iter().flat_map(|job| &job.records);
        for record in records {
            let line = match record {
                Record::Run(run) => run_line(service, run),
                Record::Omission(it) => {
                    let (first, last) = (local(service, it.first), local(service, it.last));
                    let times = if it.count == 1 {
                        first
                    } else {
                        format!("{} times from {first} to {last}", it.count)
                    };
                    format!("no run   {times}: {:?}", it.why)
                }
            };
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    fn show_service(&self, service: &Service) -> String {
        let tasks: Vec<&Task> = self
            .state
            .tasks_of(service.id)
            .map(|task| task.as_ref())
            .filter(|task| task.is_wanted())
            .collect();
        let running = tasks.iter().filter(|task| task.is_serving()).count();
        let mode = match &service.spec.mode {
            Mode::Global(_) => "global".to_owned(),
            Mode::ReplicatedJob(_) | Mode::GlobalJob(_) => {
                self.job_progress(service).unwrap_or_default()
            }
            _ => format!("{running}/{}", service.spec.replicas().unwrap_or(0)),
        };
        let mut text = format!("{} {mode}", service.name());
        if service.stopped {
            text.push_str(" · stopped");
        }
        if let Some(rollout) = &service.rollout {
            let _ = write!(text, " · {}", self.rollout_text(rollout));
        }
        text.push('\n');
        for wait in waits(&self.state, service.id, self.now) {
            match wait {
                Wait::Delay(until) => {
                    let _ = writeln!(text, "  next step at {}", clock(until));
                }
                Wait::Monitor(until) => {
                    let _ = writeln!(text, "  watched until {}", clock(until));
                }
                Wait::InFlight(_) | Wait::Dependency(_) => {
                    let _ = writeln!(text, "  {wait}");
                }
                Wait::NextRun(at) => {
                    let _ = writeln!(text, "  next run at {}", local(service, at));
                }
                Wait::Step { step, until } => {
                    let _ = writeln!(text, "  {step} is done, next at {}", clock(until));
                }
                Wait::Promotion { .. }
                | Wait::PausedByUser
                | Wait::Stopped
                | Wait::Suspended
                | Wait::NoTimes(_)
                | Wait::RunsStopping(_) => {
                    let _ = writeln!(text, "  {wait}");
                }
                // The rollout's message says it already.
                Wait::Paused(_) => {}
            }
        }
        let mut tasks = tasks;
        tasks.sort_by_key(|task| (task.slot, task.meta.created_at));
        for task in tasks {
            text.push_str(&self.task_line(service, task));
        }
        text
    }

    fn rollout_text(&self, rollout: &Rollout) -> String {
        let mut text = self.without_ids(&rollout.message);
        if rollout.failures > 0 {
            let _ = write!(text, " ({} of {} failed)", rollout.failures, rollout.slots);
        }
        text
    }

    fn task_line(&self, service: &Service, task: &Task) -> String {
        let claims = task.claims.as_deref().cloned().unwrap_or_default();
        let generic = claims.generic.iter().map(ToString::to_string);
        let devices = claims.devices.iter();
        let devices = devices.map(|device| format!("{}={}", device.kind, device.id));
        let given: Vec<String> = generic.chain(devices).collect();
        let given = if given.is_empty() {
            String::new()
        } else {
            format!("[{}] ", given.join(" "))
        };
        let why = match (&task.waiting, task.status.err.as_str()) {
            (Some(waiting), _) => self.waiting_text(waiting),
            (None, err) => err.to_owned(),
        };
        let line = format!(
            "  {:<8} {:<8} {:<4} {:<8} {:<9} {given}{why}",
            format!("{}.{}", service.name(), self.slot_name(task)),
            image(service, task),
            task.node
                .map_or_else(|| "-".to_owned(), |node| self.node_name(node)),
            format!("{:?}", task.desired).to_lowercase(),
            format!("{:?}", task.status.state).to_lowercase(),
        );
        format!("{}\n", line.trim_end())
    }

    fn waiting_text(&self, waiting: &Waiting) -> String {
        match waiting {
            Waiting::RestartDelay(until) => format!("restart delay until {}", clock(*until)),
            Waiting::Leaving(Stay::Delay(until)) => {
                format!("leaves its node at {} at the earliest", clock(*until))
            }
            Waiting::CrashLoop(it) => {
                let last = if it.last.is_empty() {
                    "finished"
                } else {
                    &it.last
                };
                format!(
                    "crash loop, restart {} at {}: {last}",
                    it.restart,
                    clock(it.until)
                )
            }
            Waiting::NoSuitableNode(_)
            | Waiting::Leaving(_)
            | Waiting::Dependency(_)
            | Waiting::Predecessor(_)
            | Waiting::AddressesExhausted(_) => self.without_ids(&waiting.to_string()),
        }
    }

    /// Ids differ with every change of the planner; names do not.
    pub(super) fn without_ids(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for task in self.state.tasks() {
            let id = task.id.to_string();
            if text.contains(&id) {
                let service = self.state.service(task.service);
                let name = service.map_or("?", |service| service.name());
                let image = service.map_or("?", |service| image(service, task));
                let named = format!("{name}.{} ({image})", self.slot_name(task));
                text = text.replace(&id, &named);
            }
        }
        for network in self.state.networks() {
            text = text.replace(&network.id.to_string(), network.name());
        }
        text
    }

    fn tag(&self, service: &Service, task: &Task) -> String {
        let image = image(service, task);
        image.rsplit(':').next().unwrap_or(image).to_owned()
    }
}

fn run_line(service: &Service, run: &Run) -> String {
    let cause = match run.cause {
        Cause::Due(at) => format!("due {}", local(service, at)),
        Cause::Created => "created".to_owned(),
        Cause::Updated => "updated".to_owned(),
        Cause::Requested(_) => "requested".to_owned(),
    };
    let end = run.end.as_ref().map_or_else(String::new, |end| {
        let failed = match end.failed {
            0 => String::new(),
            failed => format!(", {failed} failed: {}", end.err),
        };
        let outcome = format!("{:?}", end.outcome).to_lowercase();
        format!(
            " to {} {outcome}: {} done{failed}",
            clock(end.at),
            end.completed
        )
    });
    let started = clock(run.started_at);
    format!("run {:<4} {cause} · {started}{end}", run.number)
}

/// As the clocks of a schedule's zone show it.
fn local(service: &Service, at: Timestamp) -> String {
    let schedule = service.spec.schedule();
    let times = schedule.and_then(|schedule| schedule.clock().ok());
    times.map_or_else(|| at.to_string(), |times| times.show(at))
}

fn image<'a>(service: &'a Service, task: &Task) -> &'a str {
    service
        .spec_at(task.spec_version)
        .map_or("?", |spec| &spec.task_template.container_spec.image)
}

const fn stage(task: &Task) -> &'static str {
    match (task.desired, task.status.state) {
        (DesiredState::Shutdown | DesiredState::Remove, _) => "stopping",
        (_, TaskState::New | TaskState::Pending) => "unplaced",
        (DesiredState::Ready, _) => "held",
        (_, TaskState::Running) => "running",
        (_, TaskState::Ready | TaskState::Starting) => "starting",
        (_, _) => "preparing",
    }
}

fn word(rollout: &Rollout) -> &'static str {
    if rollout.hold == Some(Hold::Promotion) {
        return "awaits promotion";
    }
    match rollout.state {
        RolloutState::Updating => "updating",
        RolloutState::Paused => "paused",
        RolloutState::Completed => "completed",
        RolloutState::RollbackStarted => "rolling back",
        RolloutState::RollbackPaused => "rollback paused",
        RolloutState::RollbackCompleted => "rollback completed",
    }
}
