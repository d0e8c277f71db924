//! What a service has been: `GET /swarmr/v1/services/NAME/revisions`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::spec::difference::differences;
use crate::spec::nullable::nullable;
use crate::spec::{ServiceSpec, Timestamp};
use crate::state::{self};

/// One of a service's specs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Revision {
    pub revision: u64,
    pub created_at: Timestamp,
    /// How it came to be: `updated`, `rolled back to 3`, …
    #[serde(default)]
    pub cause: String,
    /// Whether the service has it now.
    #[serde(default)]
    pub current: bool,
    /// What it has that the one before it had not, in a few words.
    #[serde(default, deserialize_with = "nullable")]
    pub changes: Vec<String>,
    /// Only where one revision was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Arc<ServiceSpec>>,
}

/// All that are remembered, newest first.
pub fn list(service: &state::Service) -> Vec<Revision> {
    let mut revisions: Vec<Revision> = (0..service.revisions.len())
        .filter_map(|place| render(service, place))
        .collect();
    revisions.reverse();
    revisions
}

/// One with its spec; `None` when it is not remembered.
pub fn one(service: &state::Service, number: u64) -> Option<Revision> {
    let place = service
        .revisions
        .iter()
        .position(|revision| revision.number == number)?;
    let spec = service.revisions.get(place)?.spec.clone();
    Some(Revision {
        spec: Some(spec),
        ..render(service, place)?
    })
}

fn render(service: &state::Service, place: usize) -> Option<Revision> {
    let revision = service.revisions.get(place)?;
    let former = place
        .checked_sub(1)
        .and_then(|at| service.revisions.get(at));
    Some(Revision {
        revision: revision.number,
        created_at: revision.at,
        cause: revision.cause.to_string(),
        current: revision.number == service.revision(),
        changes: former.map_or_else(Vec::new, |former| differences(&former.spec, &revision.spec)),
        spec: None,
    })
}
