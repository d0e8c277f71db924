//! Returning a service to its previous spec.

use std::sync::Arc;

use super::{Applied, check_version, not_found};
use crate::spec::{ServiceId, Timestamp};
use crate::state::State;
use crate::state::command::Reply;
use crate::state::rejected::{Kind, Rejected};
use crate::state::service::{Rollout, RolloutState};

impl State {
    pub(super) fn roll_back_service(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        version: u64,
    ) -> Applied {
        let service = self
            .services
            .get(&id)
            .ok_or_else(|| not_found(Kind::Service, &id))?;
        check_version(Kind::Service, service.name(), service.meta.version, version)?;
        self.start_rollback(index, at, id, "manually requested rollback")?;
        Ok(Reply::Written { version: index })
    }

    /// Makes the previous spec current again. An automatic rollback leaves nothing to roll back to,
    /// and so does a manual one: it never oscillates.
    pub(in crate::state) fn start_rollback(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        message: &str,
    ) -> Applied {
        let service = self
            .services
            .get(&id)
            .ok_or_else(|| not_found(Kind::Service, &id))?
            .clone();
        let no_previous = || Rejected::NoPreviousSpec {
            name: service.name().to_owned(),
        };
        let previous = service.previous.clone().ok_or_else(no_previous)?;
        // Networks of the old spec may be gone by now; a rollback to them cannot be done.
        self.check_networks(&previous.spec)?;
        let endpoint = self.allocate_endpoint(id, &previous.spec, &service.endpoint)?;
        let mut service = Arc::unwrap_or_clone(service);
        service.spec = previous.spec;
        service.spec_version = previous.spec_version;
        service.previous = None;
        service.endpoint = endpoint;
        service
            .specs
            .insert(service.spec_version, service.spec.clone());
        service.rollout = Some(Rollout::started(
            RolloutState::RollbackStarted,
            service.spec_version,
            at,
            message,
        ));
        service.meta.write(index, at);
        self.put_service(index, service);
        self.drop_unused_specs(id);
        Ok(Reply::Written { version: index })
    }
}
