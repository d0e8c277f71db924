//! Updates that go on only when somebody, or time, says so: so many slots get the new spec, then
//! the update rests.
//!
//! A step counts the slots that there are at the time, so a change of scale changes how many it
//! takes. Nothing that has the new spec is ever taken back but by a rollback, which has no steps.

use super::desk::Desk;
use super::wait::{Stage, Wait};
use crate::spec::Timestamp;
use crate::spec::extension::Step;
use crate::state::service::{Hold, Rollout, RolloutState};

/// The step that an update is at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    step: Step,
    number: u64,
    of: u64,
}

impl Next {
    /// What it comes to with so many slots.
    pub(super) fn stage(&self, total: u64) -> Stage {
        Stage {
            number: self.number,
            of: self.of,
            slots: self.step.size.of(total),
            total,
        }
    }
}

/// The step that bounds the service's update now; `None` where it may take all slots.
pub(super) fn next(desk: &Desk<'_>) -> Option<Next> {
    let rollout = desk.rollout.as_ref().filter(|it| it.is_unfinished())?;
    if rollout.state.is_rollback() || rollout.restart {
        return None;
    }
    let steps = desk.service.spec.update_steps();
    let step = *steps.get(usize::try_from(rollout.step).ok()?)?;
    Some(Next {
        step,
        number: rollout.step + 1,
        // The rest is the last.
        of: steps.len() as u64 + 1,
    })
}

/// A step is done since then, and its tasks were well for the monitor time.
pub(super) fn rest(desk: &mut Desk<'_>, rollout: &mut Rollout, stage: Stage, since: Timestamp) {
    let Some(next) = next(desk) else {
        return;
    };
    let Some(until) = next.step.delay.map(|delay| since + delay) else {
        rollout.hold = Some(Hold::Promotion);
        rollout.message = format!(
            "update waits for promotion after {stage}: swarmr service promote {}",
            desk.service.name()
        );
        return desk.wait(Wait::Promotion { step: stage });
    };
    if until > desk.now {
        desk.wake(until);
        return desk.wait(Wait::Step { step: stage, until });
    }
    rollout.step += 1;
    rollout.settled_at = None;
}

/// There is more to do in the step, as after a change of scale.
pub(super) fn go_on(desk: &mut Desk<'_>) {
    if let Some(rollout) = desk.rollout.as_mut()
        && rollout.hold == Some(Hold::Promotion)
        && rollout.state == RolloutState::Updating
    {
        rollout.hold = None;
        "update in progress".clone_into(&mut rollout.message);
    }
}
