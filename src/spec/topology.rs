//! What divides nodes into groups: a label, or what each node has for itself.

use std::fmt;

/// One way to divide them. Keys of labels are taken as they are, the rest without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology<'a> {
    Id,
    Hostname,
    NodeLabel(&'a str),
    EngineLabel(&'a str),
}

impl<'a> Topology<'a> {
    /// What a topology key is, in words.
    pub const ALLOWED: &'static str =
        "node.hostname, node.id, node.labels.NAME or engine.labels.NAME";

    /// `None` for a text that names nothing of a node.
    pub fn parse(text: &'a str) -> Option<Self> {
        let label = |prefix: &str| {
            text.get(..prefix.len())
                .filter(|start| start.eq_ignore_ascii_case(prefix))
                .map(|_| &text[prefix.len()..])
                .filter(|name| !name.is_empty())
        };
        if text.eq_ignore_ascii_case("node.id") {
            return Some(Self::Id);
        }
        if text.eq_ignore_ascii_case("node.hostname") {
            return Some(Self::Hostname);
        }
        label("node.labels.")
            .map(Self::NodeLabel)
            .or_else(|| label("engine.labels.").map(Self::EngineLabel))
    }
}

impl fmt::Display for Topology<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("node.id"),
            Self::Hostname => f.write_str("node.hostname"),
            Self::NodeLabel(label) => write!(f, "node.labels.{label}"),
            Self::EngineLabel(label) => write!(f, "engine.labels.{label}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_in_constraints() {
        for (text, want) in [
            ("node.id", Some(Topology::Id)),
            ("Node.Hostname", Some(Topology::Hostname)),
            ("node.labels.zone", Some(Topology::NodeLabel("zone"))),
            ("engine.labels.Rack", Some(Topology::EngineLabel("Rack"))),
            ("node.labels.", None),
            ("zone", None),
            ("", None),
        ] {
            assert_eq!(Topology::parse(text), want, "{text}");
        }
    }
}
