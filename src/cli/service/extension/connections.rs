//! `--sticky`, `--prefer-local` and `--weight-label`.

use clap::Args;

use crate::spec::ServiceSpec;
use crate::spec::extension::Connections;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct ConnectionFlags {
    /// Whether a caller comes to the same task each time, while none comes or goes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sticky: Option<bool>,
    /// Whether connections stay on the node that they are made at, while a task there serves
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    prefer_local: Option<bool>,
    /// Label of nodes that says how many times the connections (1 to 100) their tasks get; "none"
    /// treats all alike
    #[arg(long, value_name = "LABEL")]
    weight_label: Option<String>,
}

impl ConnectionFlags {
    /// Puts what was given in place of what there was.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) {
        let given = self.sticky.is_some() || self.prefer_local.is_some();
        if !given && self.weight_label.is_none() {
            return;
        }
        let extension = spec.swarmr.get_or_insert_default();
        let mut connections = extension.connections.take().unwrap_or_default();
        connections.sticky = self.sticky.unwrap_or(connections.sticky);
        connections.prefer_local = self.prefer_local.unwrap_or(connections.prefer_local);
        if let Some(label) = &self.weight_label {
            let label = Some(label).filter(|label| *label != "none");
            connections.weight_label = label.cloned().unwrap_or_default();
        }
        extension.connections = Some(connections).filter(|it| *it != Connections::default());
    }
}
