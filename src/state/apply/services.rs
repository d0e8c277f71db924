//! Services: making, changing and removing them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Applied, check_version, jobs, not_found};
use crate::spec::extension::Rebalance;
use crate::spec::service::Mode;
use crate::spec::{NetworkId, ServiceId, ServiceSpec, Timestamp};
use crate::state::command::Reply;
use crate::state::job::completed_by_run;
use crate::state::object::Meta;
use crate::state::rejected::{Kind, Rejected};
use crate::state::revision::RevisionCause;
use crate::state::service::{Endpoint, Hold, Previous, Rollout, RolloutState};
use crate::state::task::DesiredState;
use crate::state::{Job, Service, State};

impl State {
    pub(super) fn create_service(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        spec: ServiceSpec,
    ) -> Applied {
        // Proposed again after its first answer was lost; it may have been removed since.
        let made = self.services.get(&id).or_else(|| self.departed.get(&id));
        if let Some(made) = made {
            return Ok(Reply::Written {
                version: made.meta.version,
            });
        }
        if self.service_names.contains_key(&spec.name) {
            return Err(Rejected::NameTaken {
                kind: Kind::Service,
                name: spec.name,
            });
        }
        self.check_networks(&spec)?;
        self.check_dependencies(&spec)?;
        let endpoint = self.allocate_endpoint(id, &spec, &Endpoint::default())?;
        let job = Job::created(&spec, index, at);
        let spec = Arc::new(spec);
        self.service_names.insert(spec.name.clone(), id);
        let mut service = Service {
            id,
            meta: Meta::new(index, at),
            specs: std::iter::once((index, spec.clone())).collect(),
            spec,
            spec_version: index,
            previous: None,
            revisions: Vec::new(),
            endpoint,
            rollout: None,
            stopped: false,
            started_at: None,
            renewed: 0,
            job,
            rebalance: false,
        };
        service.record_revision(at, RevisionCause::Created);
        self.put_service(index, service);
        Ok(Reply::Written { version: index })
    }

    pub(super) fn update_service(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        version: u64,
        spec: ServiceSpec,
    ) -> Applied {
        let service = self.known_service(id)?.clone();
        check_version(Kind::Service, service.name(), service.meta.version, version)?;
        let unchangeable = |what: &str| Rejected::Unchangeable {
            name: service.name().to_owned(),
            what: what.to_owned(),
        };
        if spec.name != service.spec.name {
            return Err(unchangeable("the name"));
        }
        if std::mem::discriminant::<Mode>(&spec.mode) != std::mem::discriminant(&service.spec.mode)
        {
            return Err(unchangeable("the mode"));
        }
        self.check_networks(&spec)?;
        self.check_dependencies(&spec)?;
        let endpoint = self.allocate_endpoint(id, &spec, &service.endpoint)?;
        let redeploys = redeploys(&service.spec, &spec);
        let resumes = !redeploys && resumes(&service, &spec);
        let mut service = Arc::unwrap_or_clone(service);
        service.remember_what_it_is();
        service.previous = previous(&service, &spec, redeploys);
        let old = std::mem::replace(&mut service.spec, Arc::new(spec));
        service.endpoint = endpoint;
        if let Some(rollout) = service.rollout.as_mut().filter(|_| resumes) {
            let (state, message) = if rollout.state.is_rollback() {
                (RolloutState::RollbackStarted, "rollback resumed")
            } else {
                (RolloutState::Updating, "update resumed")
            };
            *rollout = Rollout {
                step: rollout.step,
                restart: rollout.restart,
                ..Rollout::started(state, rollout.target, at, message)
            };
        }
        if redeploys {
            service.spec_version = index;
        }
        if redeploys && service.job.is_none() {
            let update = Rollout::started(RolloutState::Updating, index, at, "update in progress");
            service.rollout = Some(update.follows(service.rollout.as_ref()));
        }
        let completed = completed_by_run(self.tasks_of(id));
        jobs::respecified(&mut service, &old, redeploys, &completed, at);
        service
            .specs
            .insert(service.spec_version, service.spec.clone());
        service.record_revision(at, RevisionCause::Updated);
        service.meta.write(index, at);
        self.put_service(index, service);
        self.drop_unused_specs(id);
        Ok(Reply::Written { version: index })
    }

    pub(super) fn remove_service(&mut self, index: u64, at: Timestamp, id: ServiceId) -> Applied {
        let service = self
            .services
            .remove(&id)
            .ok_or_else(|| not_found(Kind::Service, &id))?;
        self.service_names.remove(&service.spec.name);
        self.keeping_apart.remove(&id);
        self.index_dependencies(id, Some(&service.spec));
        self.index_balance(id);
        let dependents: Vec<ServiceId> = self.dependents_of(service.name()).collect();
        for dependent in dependents {
            self.touched.service(dependent, index);
        }
        self.keeping_near.remove(&id);
        for (network, address) in &service.endpoint.virtual_addresses {
            self.change_network(*network, |network| network.release(*address));
        }
        let tasks: Vec<_> = self.tasks_of(id).map(|task| task.id).collect();
        for task in tasks {
            let never_ran = self.tasks.get(task).is_some_and(|task| task.node.is_none());
            if never_ran {
                self.delete_task(index, task);
            } else {
                self.change_task(index, at, task, |task| task.desired = DesiredState::Remove);
            }
        }
        let networks: BTreeSet<NetworkId> = self.networks_of(&service.spec).into_iter().collect();
        self.settle_gateways(&networks);
        self.touch_waiting(index);
        if self.tasks_of(id).next().is_none() {
            self.touched.forget(id, index);
        } else {
            self.departed.insert(id, service);
            self.touched.service(id, index);
        }
        Ok(Reply::Done)
    }

    pub(super) fn check_networks(&self, spec: &ServiceSpec) -> Result<(), Rejected> {
        for network in spec.networks() {
            let known = network
                .target
                .parse()
                .is_ok_and(|id: NetworkId| self.networks.contains_key(&id));
            if !known {
                return Err(Rejected::NotFound {
                    kind: Kind::Network,
                    name: network.target.clone(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn known_service(&self, id: ServiceId) -> Result<&Arc<Service>, Rejected> {
        let service = self.services.get(&id);
        service.ok_or_else(|| not_found(Kind::Service, &id))
    }

    /// Asks for its tasks to be moved until its nodes are even, or ends that.
    pub(super) fn set_rebalance(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        on: bool,
    ) -> Applied {
        let service = self
            .services
            .get_mut(&id)
            .ok_or_else(|| not_found(Kind::Service, &id))?;
        let service = Arc::make_mut(service);
        service.rebalance = on;
        service.meta.write(index, at);
        self.index_balance(id);
        self.touched.service(id, index);
        Ok(Reply::Written { version: index })
    }

    fn check_dependencies(&self, spec: &ServiceSpec) -> Result<(), Rejected> {
        match self.dependency_circle(spec) {
            None => Ok(()),
            Some(circle) => Err(Rejected::DependencyCircle {
                name: spec.name.clone(),
                circle: circle.join(" -> "),
            }),
        }
    }

    pub(super) fn put_service(&mut self, index: u64, service: Service) {
        let id = service.id;
        let networks: BTreeSet<NetworkId> = self
            .networks_of(&service.spec)
            .into_iter()
            .chain(
                self.services
                    .get(&id)
                    .map(|former| self.networks_of(&former.spec))
                    .into_iter()
                    .flatten(),
            )
            .collect();
        if service.keeps_apart() {
            self.keeping_apart.insert(id);
        } else {
            self.keeping_apart.remove(&id);
        }
        if service.keeps_near() {
            self.keeping_near.insert(id);
        } else {
            self.keeping_near.remove(&id);
        }
        let former = self.services.insert(id, Arc::new(service));
        self.index_balance(id);
        self.index_dependencies(id, former.as_ref().map(|former| former.spec.as_ref()));
        self.settle_gateways(&networks);
        // It may hold addresses or ports now that others wait for, or have given some back.
        self.touch_waiting(index);
        self.touched.service(id, index);
    }

    /// Keeps in mind whether the service is to be evened out whenever there is a chance.
    pub(in crate::state) fn index_balance(&mut self, id: ServiceId) {
        let wants = self.services.get(&id).is_some_and(|service| {
            let extension = service.spec.swarmr.as_ref();
            service.rebalance || extension.is_some_and(|it| it.rebalance == Some(Rebalance::Auto))
        });
        if wants {
            self.balanced.insert(id);
        } else {
            self.balanced.remove(&id);
        }
    }

    /// Forgets specs that no task, no run and no rollback refers to any more.
    pub(in crate::state) fn drop_unused_specs(&mut self, id: ServiceId) {
        let mut used: BTreeSet<u64> = self.tasks_of(id).map(|task| task.spec_version).collect();
        let job = self
            .services
            .get(&id)
            .and_then(|service| service.job.as_ref());
        used.extend(
            job.into_iter()
                .flat_map(Job::live_runs)
                .map(|run| run.spec_version),
        );
        if let Some(service) = self.services.get_mut(&id) {
            let current = service.spec_version;
            if service
                .specs
                .keys()
                .any(|version| *version != current && !used.contains(version))
            {
                Arc::make_mut(service)
                    .specs
                    .retain(|version, _| *version == current || used.contains(version));
            }
        }
    }
}

/// Whether a change of the spec means new tasks. A change of scale, of labels or of policies does not.
fn redeploys(old: &ServiceSpec, new: &ServiceSpec) -> bool {
    old.task_template != new.task_template
        || old.networks != new.networks
        || old.endpoint_spec != new.endpoint_spec
        || !old.extends_same_tasks(new)
}

/// Whether an update of the policies alone sets a paused rollout going again.
fn resumes(service: &Service, new: &ServiceSpec) -> bool {
    // What somebody paused only they set going again.
    let paused = service
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_paused() && rollout.hold != Some(Hold::User));
    paused
        && (service.spec.update_config != new.update_config
            || service.spec.rollback_config != new.rollback_config
            || service.spec.update_policy() != new.update_policy()
            || service.spec.rollback_policy() != new.rollback_policy())
}

/// What a rollback returns to after an update. While a rollout is unfinished, an update that only
/// scales, labels or changes policies must not make its half-deployed spec the one to return to:
/// what it was before stays, with the new scale.
fn previous(service: &Service, new: &ServiceSpec, redeploys: bool) -> Option<Previous> {
    let unfinished = service.rollout.as_ref().is_some_and(Rollout::is_unfinished);
    if redeploys || !unfinished {
        return Some(Previous {
            spec: service.spec.clone(),
            spec_version: service.spec_version,
        });
    }
    service.previous.clone().map(|mut previous| {
        Arc::make_mut(&mut previous.spec).mode = new.mode.clone();
        previous
    })
}
