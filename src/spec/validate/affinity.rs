//! What can be wrong with the rules that keep tasks together or apart.

use super::Findings;
use crate::spec::extension::AffinityRule;
use crate::spec::topology::Topology;

pub(super) fn check_affinities(name: &str, rules: &[AffinityRule], found: &mut Findings) {
    for (place, rule) in rules.iter().enumerate() {
        if rule.labels.is_empty() {
            found.add(
                format!("Swarmr.{name}[{place}].Labels"),
                "no label".to_owned(),
                "one or more labels of the services that the rule speaks of",
                "name a label, such as app=db",
            );
        }
        if Topology::parse(&rule.topology).is_none() {
            found.add(
                format!("Swarmr.{name}[{place}].Topology"),
                format!("{:?}", rule.topology),
                Topology::ALLOWED,
                "write it as node.labels.zone",
            );
        }
    }
}
