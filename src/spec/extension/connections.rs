//! Which task of a service a connection goes to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::nullable::{is_default, nullable};
use crate::spec::service::Labels;

/// `Swarmr.Connections`: of connections to the service's own address and to its ports in the
/// routing mesh. Nothing of it changes what a task is, so a change of it replaces none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Connections {
    /// A caller comes to the same task each time, by whichever node, while none comes or goes.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub sticky: bool,
    /// Tasks of other nodes get none of a node's connections while one on the node itself serves.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub prefer_local: bool,
    /// A label of nodes: tasks on a node get as many times the connections as its number says.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub weight_label: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Connections {
    /// The largest weight: a service's table grows with the sum of them.
    pub const HEAVIEST: u8 = 100;

    /// The weight of tasks on a node with these labels: 1 where the label is missing, or is no
    /// number from 1 to [`HEAVIEST`](Self::HEAVIEST).
    pub fn weight(&self, labels: &Labels) -> u8 {
        let said = labels.get(&self.weight_label);
        said.and_then(|said| parse(said)).unwrap_or(1)
    }

    /// What the label says, where that is no weight.
    pub fn no_weight<'a>(&self, labels: &'a Labels) -> Option<&'a str> {
        let said = labels.get(&self.weight_label)?;
        parse(said).is_none().then_some(said)
    }
}

fn parse(said: &str) -> Option<u8> {
    let weight = said.parse().ok()?;
    (1..=Connections::HEAVIEST)
        .contains(&weight)
        .then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_what_the_label_says_if_it_says_one() {
        let connections = Connections {
            weight_label: "size".to_owned(),
            ..Connections::default()
        };
        let weight = |name: &str, said: &str| {
            connections.weight(&Labels::from([(name.to_owned(), said.to_owned())]))
        };
        let said = [("size", "3", 3), ("size", "100", 100), ("other", "3", 1)];
        let unheard = [("size", "0", 1), ("size", "101", 1), ("size", "big", 1)];
        for (name, text, expected) in said.into_iter().chain(unheard) {
            assert_eq!(weight(name, text), expected, "{name}={text}");
            let labels = Labels::from([(name.to_owned(), text.to_owned())]);
            let unheard = connections.no_weight(&labels).is_some();
            assert_eq!(unheard, name == "size" && expected == 1, "{name}={text}");
        }
    }
}
