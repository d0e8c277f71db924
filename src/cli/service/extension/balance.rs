//! `--rebalance`.

use clap::Args;

use crate::cli::values;
use crate::spec::ServiceSpec;
use crate::spec::extension::Rebalance;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct BalanceFlags {
    /// Whether tasks move to nodes that join or return: auto, or off
    #[arg(long, value_name = "WHEN", value_parser = values::rebalance())]
    rebalance: Option<Rebalance>,
}

impl BalanceFlags {
    /// Puts what was given in place of what there was.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) {
        if let Some(rebalance) = self.rebalance {
            let wanted = Some(rebalance).filter(|it| *it != Rebalance::Off);
            spec.swarmr.get_or_insert_default().rebalance = wanted;
        }
    }
}
