//! What a service has been: its specs, one after the other.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Service;
use crate::spec::{ServiceSpec, Timestamp};

/// One of a service's specs. A change of scale alone makes none: whoever returns to a revision
/// wants its image and settings, and as many tasks as there are now.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// From 1; never given twice.
    pub number: u64,
    pub at: Timestamp,
    pub cause: RevisionCause,
    pub spec: Arc<ServiceSpec>,
    /// What its tasks carry: who returns to it finds those that were never replaced.
    pub spec_version: u64,
}

/// How a revision came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionCause {
    Created,
    Updated,
    /// Somebody asked to return to what that revision was.
    RolledBack {
        to: Option<u64>,
    },
    /// The update failed.
    RolledBackByItself {
        to: Option<u64>,
    },
}

impl fmt::Display for RevisionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, to) = match self {
            Self::Created => ("created", None),
            Self::Updated => ("updated", None),
            Self::RolledBack { to } => ("rolled back", *to),
            Self::RolledBackByItself { to } => ("rolled back by itself", *to),
        };
        f.write_str(words)?;
        to.map_or(Ok(()), |to| write!(f, " to {to}"))
    }
}

impl Service {
    /// The number of the spec that it has now; 0 for a service that is older than revisions.
    pub fn revision(&self) -> u64 {
        self.revisions.last().map_or(0, |newest| newest.number)
    }

    pub fn revision_at(&self, number: u64) -> Option<&Revision> {
        self.revisions
            .iter()
            .find(|revision| revision.number == number)
    }

    /// Whether returning to that revision is what made the present one.
    pub(super) fn has_returned_to(&self, number: u64) -> bool {
        let to = Some(number);
        self.revisions
            .last()
            .is_some_and(|newest| newest.cause == RevisionCause::RolledBack { to })
    }

    /// The newest revision before the present one that had this spec.
    pub(super) fn revision_of(&self, version: u64) -> Option<u64> {
        self.revisions
            .iter()
            .rev()
            .find(|revision| revision.spec_version == version)
            .map(|revision| revision.number)
    }

    /// A service of a version that knew no revisions begins with what it is.
    pub(super) fn remember_what_it_is(&mut self) {
        if self.revisions.is_empty() {
            self.record_revision(self.meta.created_at, RevisionCause::Created);
        }
    }

    /// Remembers the present spec. A mere change of scale is part of the newest revision.
    pub(super) fn record_revision(&mut self, at: Timestamp, cause: RevisionCause) {
        if let Some(newest) = self.revisions.last_mut()
            && differs_in_scale_only(&newest.spec, &self.spec)
        {
            newest.spec = self.spec.clone();
            newest.spec_version = self.spec_version;
            return;
        }
        self.revisions.push(Revision {
            number: self.revision() + 1,
            at,
            cause,
            spec: self.spec.clone(),
            spec_version: self.spec_version,
        });
        let limit = self.spec.swarmr.as_ref().map_or(
            crate::spec::extension::Extension::REVISIONS,
            crate::spec::extension::Extension::revisions_limit,
        );
        let surplus = (self.revisions.len() as u64).saturating_sub(limit.max(1));
        // No more than there are, which an index can hold.
        self.revisions
            .drain(..usize::try_from(surplus).unwrap_or(0));
    }
}

fn differs_in_scale_only(former: &ServiceSpec, spec: &ServiceSpec) -> bool {
    if former.mode == spec.mode {
        return former == spec;
    }
    let mut scaled = former.clone();
    scaled.mode = spec.mode.clone();
    scaled == *spec
}
