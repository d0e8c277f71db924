//! A service as snapshots hold it: each of its specs once, for its history, its tasks and its
//! rollback mostly mean the same few.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Endpoint, Previous, Rollout, Service};
use crate::spec::{ServiceId, ServiceSpec, Timestamp};
use crate::state::job::Job;
use crate::state::object::Meta;
use crate::state::revision::{Revision, RevisionCause};

/// Where a spec stands in `Stored::table`.
type Place = usize;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    id: ServiceId,
    meta: Meta,
    /// Each different spec, in the order of their first use.
    #[serde(default)]
    table: Vec<Arc<ServiceSpec>>,
    #[serde(default)]
    current: Place,
    spec_version: u64,
    #[serde(default)]
    before: Option<(Place, u64)>,
    #[serde(default)]
    by_version: BTreeMap<u64, Place>,
    #[serde(default)]
    history: Vec<StoredRevision>,
    endpoint: Endpoint,
    rollout: Option<Rollout>,
    #[serde(default)]
    stopped: bool,
    #[serde(default)]
    started_at: Option<Timestamp>,
    #[serde(default)]
    renewed: u64,
    #[serde(default)]
    job: Option<Job>,
    #[serde(default)]
    rebalance: bool,
    /// Snapshots of older versions have whole specs instead of places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spec: Option<Arc<ServiceSpec>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Previous>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    specs: BTreeMap<u64, Arc<ServiceSpec>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredRevision {
    number: u64,
    at: Timestamp,
    cause: RevisionCause,
    spec: Place,
    spec_version: u64,
}

impl From<Service> for Stored {
    fn from(service: Service) -> Self {
        let mut table = Vec::new();
        let current = place(&mut table, &service.spec);
        let before = service
            .previous
            .map(|previous| (place(&mut table, &previous.spec), previous.spec_version));
        let by_version = service
            .specs
            .iter()
            .map(|(version, spec)| (*version, place(&mut table, spec)))
            .collect();
        let history = service
            .revisions
            .iter()
            .map(|revision| StoredRevision {
                number: revision.number,
                at: revision.at,
                cause: revision.cause,
                spec: place(&mut table, &revision.spec),
                spec_version: revision.spec_version,
            })
            .collect();
        Self {
            id: service.id,
            meta: service.meta,
            table,
            current,
            spec_version: service.spec_version,
            before,
            by_version,
            history,
            endpoint: service.endpoint,
            rollout: service.rollout,
            stopped: service.stopped,
            started_at: service.started_at,
            renewed: service.renewed,
            job: service.job,
            rebalance: service.rebalance,
            spec: None,
            previous: None,
            specs: BTreeMap::new(),
        }
    }
}

impl TryFrom<Stored> for Service {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let at = |place: Place| {
            stored
                .table
                .get(place)
                .cloned()
                .ok_or_else(|| format!("a service refers to spec {place}, which is missing"))
        };
        let spec = match stored.spec {
            Some(spec) => spec,
            None => at(stored.current)?,
        };
        let previous = match stored.before {
            Some((place, spec_version)) => Some(Previous {
                spec: at(place)?,
                spec_version,
            }),
            None => stored.previous,
        };
        let mut specs = stored.specs;
        for (version, place) in stored.by_version {
            specs.insert(version, at(place)?);
        }
        let revisions = stored
            .history
            .into_iter()
            .map(|revision| {
                Ok(Revision {
                    number: revision.number,
                    at: revision.at,
                    cause: revision.cause,
                    spec: at(revision.spec)?,
                    spec_version: revision.spec_version,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            id: stored.id,
            meta: stored.meta,
            spec,
            spec_version: stored.spec_version,
            previous,
            specs,
            revisions,
            endpoint: stored.endpoint,
            rollout: stored.rollout,
            stopped: stored.stopped,
            started_at: stored.started_at,
            renewed: stored.renewed,
            job: stored.job,
            rebalance: stored.rebalance,
        })
    }
}

fn place(table: &mut Vec<Arc<ServiceSpec>>, spec: &Arc<ServiceSpec>) -> Place {
    let known = table
        .iter()
        .position(|known| Arc::ptr_eq(known, spec) || known == spec);
    known.unwrap_or_else(|| {
        table.push(spec.clone());
        table.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::codec;

    fn spec(image: &str) -> Arc<ServiceSpec> {
        let mut spec = ServiceSpec::default();
        spec.task_template.container_spec.image = image.to_owned();
        Arc::new(spec)
    }

    fn service() -> Service {
        let (one, two) = (spec("web:1"), spec("web:2"));
        let revision = |number, spec: &Arc<ServiceSpec>| Revision {
            number,
            at: Timestamp(1),
            cause: RevisionCause::Updated,
            spec: spec.clone(),
            spec_version: number,
        };
        Service {
            id: ServiceId::from_bits(7),
            meta: Meta::new(9, Timestamp(1)),
            spec_version: 2,
            previous: Some(Previous {
                spec: one.clone(),
                spec_version: 1,
            }),
            specs: [(1, one.clone()), (2, two.clone())].into(),
            // Equal, though not the same allocation.
            revisions: vec![revision(1, &spec("web:1")), revision(2, &two)],
            spec: two,
            endpoint: Endpoint::default(),
            rollout: None,
            stopped: true,
            started_at: None,
            renewed: 0,
            rebalance: true,
            job: Some(Job {
                iteration: 3,
                ..Job::default()
            }),
        }
    }

    #[test]
    fn each_spec_is_stored_once_and_shared_again() {
        let service = service();
        assert_eq!(Stored::from(service.clone()).table.len(), 2);
        let bytes = codec::encode(&service).unwrap();
        let read: Service = codec::decode(&bytes).unwrap();
        assert_eq!(read, service);
        let last = read.revisions.last().unwrap();
        assert!(Arc::ptr_eq(&read.spec, &last.spec));
        assert!(Arc::ptr_eq(&read.specs[&1], &read.revisions[0].spec));
    }

    #[test]
    fn snapshots_from_before_revisions_are_read() {
        #[derive(Serialize)]
        struct Old {
            id: ServiceId,
            meta: Meta,
            spec: Arc<ServiceSpec>,
            spec_version: u64,
            previous: Option<Previous>,
            specs: BTreeMap<u64, Arc<ServiceSpec>>,
            endpoint: Endpoint,
            rollout: Option<Rollout>,
        }
        let now = service();
        let bytes = codec::encode(&Old {
            id: now.id,
            meta: now.meta,
            spec: now.spec.clone(),
            spec_version: now.spec_version,
            previous: now.previous.clone(),
            specs: now.specs.clone(),
            endpoint: now.endpoint.clone(),
            rollout: None,
        })
        .unwrap();
        let read: Service = codec::decode(&bytes).unwrap();
        let want = Service {
            revisions: Vec::new(),
            stopped: false,
            rebalance: false,
            job: None,
            ..now
        };
        assert_eq!(read, want);
    }
}
