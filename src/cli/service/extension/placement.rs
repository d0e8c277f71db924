//! `--strategy`, `--affinity` and `--anti-affinity`.

use clap::Args;

use crate::cli::values;
use crate::spec::ServiceSpec;
use crate::spec::extension::{AffinityRule, Strategy};
use crate::spec::parse::{self, ParseError};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct PlacementFlags {
    /// Which of the nodes that fit is taken: the emptiest, or the fullest
    #[arg(long, value_parser = values::strategy())]
    strategy: Option<Strategy>,
    /// Services to be near to, by their labels; "none" takes all such rules away
    #[arg(
        long,
        value_name = "LABEL=VALUE[,topology=KEY][,preferred]",
        value_parser = rule
    )]
    affinity: Vec<Given>,
    /// Services to be apart from, perhaps itself; "none" takes all such rules away
    #[arg(
        long,
        value_name = "LABEL=VALUE[,topology=KEY][,preferred]",
        value_parser = rule
    )]
    anti_affinity: Vec<Given>,
}

#[derive(Debug, Clone)]
enum Given {
    None,
    Rule(AffinityRule),
}

fn rule(text: &str) -> Result<Given, ParseError> {
    if text == "none" {
        return Ok(Given::None);
    }
    parse::affinity(text).map(Given::Rule)
}

fn rules(given: &[Given]) -> Vec<AffinityRule> {
    let rules = given.iter().filter_map(|given| match given {
        Given::None => None,
        Given::Rule(rule) => Some(rule.clone()),
    });
    rules.collect()
}

impl PlacementFlags {
    /// Puts what was given in place of what there was.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) {
        if let Some(strategy) = self.strategy {
            spec.swarmr.get_or_insert_default().strategy = strategy;
        }
        if !self.affinity.is_empty() {
            spec.swarmr.get_or_insert_default().affinities = rules(&self.affinity);
        }
        if !self.anti_affinity.is_empty() {
            spec.swarmr.get_or_insert_default().anti_affinities = rules(&self.anti_affinity);
        }
    }
}
