//! Returning a service to an earlier spec.

use std::sync::Arc;

use super::{Applied, check_version, jobs};
use crate::spec::{ServiceId, ServiceSpec, Timestamp};
use crate::state::command::Reply;
use crate::state::job::completed_by_run;
use crate::state::rejected::{Kind, Rejected};
use crate::state::revision::RevisionCause;
use crate::state::service::{Previous, Rollout, RolloutState};
use crate::state::{Service, State};

/// Where a rollback leads, and who wants it.
struct Return<'a> {
    to: Previous,
    /// What the next rollback returns to.
    previous: Option<Previous>,
    cause: RevisionCause,
    message: &'a str,
}

impl State {
    /// A user returns to the previous spec. As in Docker, the two change places: doing it again
    /// leads back.
    pub(super) fn roll_back_service(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        version: u64,
    ) -> Applied {
        let service = self.known_service(id)?;
        check_version(Kind::Service, service.name(), service.meta.version, version)?;
        let to = previous_of(service)?;
        let back = Return {
            previous: Some(present(service)),
            cause: RevisionCause::RolledBack {
                to: service.revision_of(to.spec_version),
            },
            to,
            message: "manually requested rollback",
        };
        self.start_return(index, at, id, back)?;
        Ok(Reply::Written { version: index })
    }

    /// A user returns to some revision.
    pub(super) fn return_to(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        spec: Arc<ServiceSpec>,
        spec_version: u64,
        revision: u64,
    ) -> Applied {
        let service = self.known_service(id)?;
        let back = Return {
            to: Previous { spec, spec_version },
            previous: Some(present(service)),
            cause: RevisionCause::RolledBack { to: Some(revision) },
            message: &format!("manually requested rollback to revision {revision}"),
        };
        self.start_return(index, at, id, back)
    }

    /// An update that failed makes the previous spec current again. That leaves nothing to roll
    /// back to, so that it never oscillates.
    pub(in crate::state) fn start_rollback(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        message: &str,
    ) -> Applied {
        let service = self.known_service(id)?;
        let to = previous_of(service)?;
        let back = Return {
            previous: None,
            cause: RevisionCause::RolledBackByItself {
                to: service.revision_of(to.spec_version),
            },
            to,
            message,
        };
        self.start_return(index, at, id, back)
    }

    fn start_return(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        back: Return<'_>,
    ) -> Applied {
        let service = self.known_service(id)?.clone();
        // Networks of the old spec may be gone by now; a rollback to them cannot be done.
        self.check_networks(&back.to.spec)?;
        let endpoint = self.allocate_endpoint(id, &back.to.spec, &service.endpoint)?;
        let mut service = Arc::unwrap_or_clone(service);
        service.remember_what_it_is();
        let redeploys = service.spec_version != back.to.spec_version;
        let old = std::mem::replace(&mut service.spec, back.to.spec);
        service.spec_version = back.to.spec_version;
        service.previous = back.previous;
        service.endpoint = endpoint;
        service
            .specs
            .insert(service.spec_version, service.spec.clone());
        service.record_revision(at, back.cause);
        if service.job.is_none() {
            let rollback = Rollout::started(
                RolloutState::RollbackStarted,
                service.spec_version,
                at,
                back.message,
            );
            service.rollout = Some(rollback.follows(service.rollout.as_ref()));
        }
        let completed = completed_by_run(self.tasks_of(id));
        jobs::respecified(&mut service, &old, redeploys, &completed, at);
        service.meta.write(index, at);
        self.put_service(index, service);
        self.drop_unused_specs(id);
        Ok(Reply::Written { version: index })
    }
}

fn previous_of(service: &Service) -> Result<Previous, Rejected> {
    let no_previous = || Rejected::NoPreviousSpec {
        name: service.name().to_owned(),
    };
    service.previous.clone().ok_or_else(no_previous)
}

fn present(service: &Service) -> Previous {
    Previous {
        spec: service.spec.clone(),
        spec_version: service.spec_version,
    }
}
