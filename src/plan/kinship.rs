//! How a task's spec relates to the one that its service wants now.

use crate::spec::ServiceSpec;

/// How an older spec of a service relates to the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinship {
    /// Means the same tasks.
    Same,
    /// Differs only in where tasks may be: one on a node that suits the wanted spec may stay.
    Moved,
    /// Means other tasks.
    Different,
}

impl Kinship {
    pub(super) fn between(old: &ServiceSpec, wanted: &ServiceSpec) -> Self {
        if old.networks != wanted.networks
            || old.endpoint_spec != wanted.endpoint_spec
            || !old.extends_same_tasks(wanted)
        {
            return Self::Different;
        }
        if old.task_template == wanted.task_template {
            return Self::Same;
        }
        let mut moved = old.task_template.clone();
        moved.placement.clone_from(&wanted.task_template.placement);
        if moved == wanted.task_template {
            Self::Moved
        } else {
            Self::Different
        }
    }
}
