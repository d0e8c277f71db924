//! Steering a service without changing what it is to be: pausing, promoting, restarting, stopping.
//! Each is refused where it means nothing, and a request that comes twice does its work once.

use std::sync::Arc;

use super::Applied;
use crate::spec::{Mode, ServiceId, Timestamp};
use crate::state::command::{Reply, Steer};
use crate::state::rejected::Rejected;
use crate::state::service::{Hold, Rollout, RolloutState};
use crate::state::{Service, State};

impl State {
    pub(super) fn steer_service(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        steer: Steer,
    ) -> Applied {
        let service = self.known_service(id)?;
        if let Steer::RollBackTo { revision } = steer {
            return self.roll_back_to(index, at, id, revision);
        }
        let mut service = Service::clone(service);
        let changed = match steer {
            Steer::Promote { from, to_the_end } => promote(&mut service, from, to_the_end)?,
            Steer::Pause => pause(&mut service)?,
            Steer::Resume => resume(&mut service, at)?,
            Steer::Restart { seen } => restart(&mut service, index, at, seen)?,
            Steer::Stop => stop(&mut service)?,
            Steer::Start => start(&mut service, at),
            Steer::RollBackTo { .. } => false,
        };
        if changed {
            service.meta.write(index, at);
            self.put_service(index, service);
        }
        Ok(Reply::Done)
    }
}

fn not_now(service: &Service, problem: &str) -> Rejected {
    Rejected::NotNow {
        name: service.name().to_owned(),
        problem: problem.to_owned(),
    }
}

/// Goes on from step `from`; one that was left behind already was promoted already.
fn promote(service: &mut Service, from: u64, to_the_end: bool) -> Result<bool, Rejected> {
    let refusal = not_now(
        service,
        "its update does not wait for a promotion; swarmr service inspect --pretty shows what it does",
    );
    let Some(rollout) = service.rollout.as_mut().filter(|it| it.is_unfinished()) else {
        return Err(refusal);
    };
    if rollout.step > from {
        return Ok(false);
    }
    if rollout.hold != Some(Hold::Promotion) {
        return Err(refusal);
    }
    rollout.step = if to_the_end { u64::MAX } else { from + 1 };
    "update in progress".clone_into(&mut rollout.message);
    rollout.hold = None;
    rollout.settled_at = None;
    Ok(true)
}

fn pause(service: &mut Service) -> Result<bool, Rejected> {
    let refusal = not_now(service, "no update is in progress that could be paused");
    let Some(rollout) = service.rollout.as_mut().filter(|it| it.is_unfinished()) else {
        return Err(refusal);
    };
    let changed = rollout.state.is_active();
    if changed {
        rollout.message = format!("{} paused by the user", rollout.noun());
        rollout.state = if rollout.state.is_rollback() {
            RolloutState::RollbackPaused
        } else {
            RolloutState::Paused
        };
        rollout.hold = Some(Hold::User);
    }
    Ok(changed)
}

/// What failed is forgiven, and what did not run in time has its time again, unless somebody
/// paused it before anything was wrong.
fn resume(service: &mut Service, at: Timestamp) -> Result<bool, Rejected> {
    let refusal = not_now(
        service,
        "no update is paused; one that waits for a promotion goes on by swarmr service promote",
    );
    let Some(rollout) = service.rollout.as_mut() else {
        return Err(refusal);
    };
    if !rollout.state.is_paused() {
        let resumed = rollout.state.is_active() && rollout.resumed_at.is_some();
        return if resumed { Ok(false) } else { Err(refusal) };
    }
    if rollout.hold != Some(Hold::User) {
        rollout.failures = 0;
        rollout.counted_until = at;
        rollout.overdue.clear();
    }
    rollout.message = format!("{} resumed", rollout.noun());
    rollout.state = if rollout.state.is_rollback() {
        RolloutState::RollbackStarted
    } else {
        RolloutState::Updating
    };
    rollout.hold = None;
    rollout.settled_at = None;
    rollout.resumed_at = Some(at);
    Ok(true)
}

/// Gives the spec a version of its own, so that all tasks are of an older one. What a rollback
/// returns to stays, and so does the revision.
fn restart(service: &mut Service, index: u64, at: Timestamp, seen: u64) -> Result<bool, Rejected> {
    if service.renewed > seen {
        return Ok(false);
    }
    let is_job = matches!(
        service.spec.mode,
        Mode::ReplicatedJob(_) | Mode::GlobalJob(_)
    );
    if is_job {
        return Err(not_now(
            service,
            "jobs do not roll, so they are not restarted",
        ));
    }
    if service.stopped {
        return Err(not_now(
            service,
            "it is stopped; swarmr service start starts it",
        ));
    }
    if service.rollout.as_ref().is_some_and(Rollout::is_unfinished) {
        return Err(not_now(
            service,
            "an update of it is not finished; wait for it, or return with swarmr service rollback",
        ));
    }
    service.spec_version = index;
    service.renewed = index;
    service.specs.insert(index, service.spec.clone());
    if let Some(newest) = service.revisions.last_mut() {
        newest.spec_version = index;
    }
    let restart = Rollout {
        restart: true,
        ..Rollout::started(RolloutState::Updating, index, at, "restart in progress")
    };
    service.rollout = Some(restart.follows(service.rollout.as_ref()));
    Ok(true)
}

fn stop(service: &mut Service) -> Result<bool, Rejected> {
    let is_job = matches!(
        service.spec.mode,
        Mode::ReplicatedJob(_) | Mode::GlobalJob(_)
    );
    if is_job {
        return Err(not_now(
            service,
            "jobs end by themselves; remove it instead",
        ));
    }
    Ok(!std::mem::replace(&mut service.stopped, true))
}

fn start(service: &mut Service, at: Timestamp) -> bool {
    let changed = std::mem::replace(&mut service.stopped, false);
    if changed {
        service.started_at = Some(at);
    }
    changed
}

impl State {
    fn roll_back_to(&mut self, index: u64, at: Timestamp, id: ServiceId, number: u64) -> Applied {
        let service = self.known_service(id)?;
        let revision = service
            .revision_at(number)
            .ok_or_else(|| Rejected::NoSuchRevision {
                name: service.name().to_owned(),
                revision: number,
            })?;
        if service.has_returned_to(number) {
            return Ok(Reply::Done);
        }
        if service.revision() == number {
            return Err(not_now(
                service,
                &format!("it is at revision {number} already"),
            ));
        }
        let mut spec = revision.spec.clone();
        let spec_version = revision.spec_version;
        if spec.mode != service.spec.mode {
            // As many tasks as it has now.
            Arc::make_mut(&mut spec).mode = service.spec.mode.clone();
        }
        self.return_to(index, at, id, spec, spec_version, number)?;
        Ok(Reply::Written { version: index })
    }
}
