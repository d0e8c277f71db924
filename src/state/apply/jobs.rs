//! Jobs: what a new spec and a user's wish mean for their runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Applied;
use crate::spec::schedule::Concurrency;
use crate::spec::{RequestId, Schedule, ServiceId, ServiceSpec, Timestamp};
use crate::state::command::Reply;
use crate::state::job::{Cause, Job, completed_by_run, records_kept};
use crate::state::rejected::Rejected;
use crate::state::{Service, State};

impl State {
    /// Runs a job now, whatever its schedule says. Its concurrency holds here too.
    pub(super) fn run_job(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        request: RequestId,
    ) -> Applied {
        let service = self.known_service(id)?;
        let mut service = Service::clone(service);
        let completed = completed_by_run(self.tasks_of(id));
        let name = service.name().to_owned();
        let Some(job) = service.job.as_mut() else {
            return Err(Rejected::NotAJob { name });
        };
        if job.last_request == Some(request) {
            // Proposed again after its first answer was lost.
            return Ok(Reply::Written {
                version: service.meta.version,
            });
        }
        let live: Vec<u64> = job.live_runs().map(|run| run.number).collect();
        let goes_on = |run| Rejected::RunGoesOn {
            name: name.clone(),
            run,
        };
        match (service.spec.schedule(), live.as_slice()) {
            (_, []) => {}
            (Some(schedule), [oldest, ..]) => match schedule.concurrency {
                Concurrency::Forbid => return Err(goes_on(*oldest)),
                Concurrency::Allow if live.len() as u64 >= Schedule::MOST_AT_ONCE => {
                    return Err(goes_on(*oldest));
                }
                Concurrency::Allow => {}
                Concurrency::Replace => job.replace_live_runs(at, &completed),
            },
            (None, _) => job.replace_live_runs(at, &completed),
        }
        let standing = service.spec.schedule().is_none();
        job.start(
            Cause::Requested(request),
            service.spec_version,
            standing,
            at,
        );
        write(job, &service.spec);
        service.meta.write(index, at);
        self.put_service(index, service);
        Ok(Reply::Written { version: index })
    }

    /// What the planner decided of a job's runs. Skipped when they have changed meanwhile.
    pub(super) fn set_job(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        revision: u64,
        job: Job,
    ) -> bool {
        let Some(service) = self.services.get_mut(&id) else {
            return false;
        };
        let current = service
            .job
            .as_ref()
            .is_some_and(|job| job.revision == revision);
        if !current {
            return false;
        }
        let service = Arc::make_mut(service);
        let job = service.job.insert(job);
        job.revision = revision;
        write(job, &service.spec);
        service.meta.write(index, at);
        self.touched.service(id, index);
        self.drop_unused_specs(id);
        true
    }
}

/// What a new spec means for a job's runs: one without a schedule runs anew when its tasks are to
/// be others.
pub(super) fn respecified(
    service: &mut Service,
    old: &ServiceSpec,
    redeploys: bool,
    completed: &BTreeMap<u64, u64>,
    at: Timestamp,
) {
    let Some(job) = service.job.as_mut() else {
        return;
    };
    match (old.schedule(), service.spec.schedule()) {
        (before, Some(schedule)) => {
            if before.is_none_or(|before| schedule.retimes(before)) {
                job.decided_until = at;
            }
            job.close_standing_runs();
        }
        (_, None) if redeploys => {
            job.replace_live_runs(at, completed);
            job.start(Cause::Updated, service.spec_version, true, at);
        }
        (_, None) => {
            let scaled = old.mode != service.spec.mode;
            let standing = job.standing_run().map(|run| run.number);
            if let Some(run) = standing.filter(|_| scaled) {
                // There may be more to do; the planner sees.
                job.set_end(run, None);
            }
        }
    }
    write(job, &service.spec);
}

fn write(job: &mut Job, spec: &ServiceSpec) {
    job.revision += 1;
    job.trim(records_kept(spec));
}
