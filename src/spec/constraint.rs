//! Placement constraints: `node.labels.zone==a`, `node.role!=manager`.
//!
//! The API parses them when a service is written, to refuse what cannot be meant; the planner
//! parses them again and asks of each node whether they hold.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::node::Role;
use super::service::Labels;
use super::{NodeId, service::Platform};

/// One rule that a node must meet. Values are compared whole and without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    key: Key,
    operator: Operator,
    value: String,
}

/// What of a node is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Id,
    Hostname,
    Ip,
    Role,
    Os,
    Architecture,
    NodeLabel(String),
    EngineLabel(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Different,
}

/// Why a text is no constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseConstraintError {
    #[error("constraint {got:?} has no operator: want KEY==VALUE or KEY!=VALUE")]
    NoOperator { got: String },
    #[error(
        "constraint {got:?}: {key:?} is no key of a node: want node.id, node.hostname, node.ip, \
         node.role, node.platform.os, node.platform.arch, node.labels.NAME or engine.labels.NAME"
    )]
    Key { got: String, key: String },
    #[error(
        "constraint {got:?}: {value:?} is no value: want one or more of letters, digits, spaces \
         and : - _ . * ( ) ? + [ ] \\ ^ $ | /"
    )]
    Value { got: String, value: String },
}

/// A node as constraints see it.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts<'a> {
    pub id: NodeId,
    pub hostname: &'a str,
    /// The address that other nodes dial; `None` when it is no IP address.
    pub ip: Option<IpAddr>,
    pub role: Role,
    pub os: &'a str,
    /// As the kernel names it.
    pub architecture: &'a str,
    pub labels: &'a Labels,
    pub engine_labels: &'a Labels,
}

impl Constraint {
    /// Whether the node meets it. What a node does not have is the empty text.
    pub fn holds(&self, node: &NodeFacts<'_>) -> bool {
        let same = match &self.key {
            Key::Id => self.is(&node.id.to_string()),
            Key::Hostname => self.is(node.hostname),
            Key::Ip => return self.holds_for_ip(node.ip),
            Key::Role => self.is(&node.role.to_string()),
            Key::Os => self.is(node.os),
            Key::Architecture => {
                self.is(node.architecture)
                    || canonical_architecture(&self.value.to_lowercase())
                        == canonical_architecture(&node.architecture.to_lowercase())
            }
            Key::NodeLabel(label) => self.is(text_of(node.labels, label)),
            Key::EngineLabel(label) => self.is(text_of(node.engine_labels, label)),
        };
        same == (self.operator == Operator::Equal)
    }

    fn is(&self, text: &str) -> bool {
        self.value.eq_ignore_ascii_case(text)
    }

    /// A value that is neither an address nor a range is met by no node, either way.
    fn holds_for_ip(&self, ip: Option<IpAddr>) -> bool {
        let within = match parse_range(&self.value) {
            Some(range) => ip.is_some_and(|ip| contains(range, ip)),
            None => return false,
        };
        within == (self.operator == Operator::Equal)
    }
}

fn text_of<'a>(labels: &'a Labels, name: &str) -> &'a str {
    labels.get(name).map_or("", String::as_str)
}

fn parse_range(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address.parse::<IpAddr>().ok()?, Some(length)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(bits), |length| length.parse().ok())?;
    (length <= bits).then_some((address, length))
}

fn contains((base, length): (IpAddr, u32), ip: IpAddr) -> bool {
    match (base, ip) {
        (IpAddr::V4(base), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            u32::from(base) & mask == u32::from(ip) & mask
        }
        (IpAddr::V6(base), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            u128::from(base) & mask == u128::from(ip) & mask
        }
        _ => false,
    }
}

impl Platform {
    /// Whether a node of that architecture and system runs it; what is empty matches anything.
    pub fn runs_on(&self, architecture: &str, os: &str) -> bool {
        let same = |wanted: &str, has: &str| wanted.is_empty() || wanted.eq_ignore_ascii_case(has);
        same(&self.os, os)
            && same(
                canonical_architecture(&self.architecture),
                canonical_architecture(architecture),
            )
    }
}

/// Kernels and images name the same architecture differently; this is the images' name.
fn canonical_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl FromStr for Constraint {
    type Err = ParseConstraintError;

    fn from_str(text: &str) -> Result<Self, ParseConstraintError> {
        let got = || text.to_owned();
        let at = |operator: &str| text.find(operator).unwrap_or(text.len());
        let (equal, different) = (at("=="), at("!="));
        let (place, operator) = if equal <= different {
            (equal, Operator::Equal)
        } else {
            (different, Operator::Different)
        };
        // Both operators are two bytes of ASCII, so the slice starts at a character.
        let Some(value) = text.get(place + 2..) else {
            return Err(ParseConstraintError::NoOperator { got: got() });
        };
        let (key, value) = (text[..place].trim(), value.trim());
        let Some(parsed) = parse_key(key) else {
            return Err(ParseConstraintError::Key {
                got: got(),
                key: key.to_owned(),
            });
        };
        if value.is_empty() || !value.chars().all(is_value_character) {
            return Err(ParseConstraintError::Value {
                got: got(),
                value: value.to_owned(),
            });
        }
        Ok(Self {
            key: parsed,
            operator,
            value: value.to_owned(),
        })
    }
}

fn parse_key(key: &str) -> Option<Key> {
    let simple = match key.to_ascii_lowercase().as_str() {
        "node.id" => Some(Key::Id),
        "node.hostname" => Some(Key::Hostname),
        "node.ip" => Some(Key::Ip),
        "node.role" => Some(Key::Role),
        "node.platform.os" => Some(Key::Os),
        "node.platform.arch" => Some(Key::Architecture),
        _ => None,
    };
    let label = |prefix: &str| {
        key.get(..prefix.len())
            .filter(|start| start.eq_ignore_ascii_case(prefix))
            .map(|_| key[prefix.len()..].to_owned())
            .filter(|name| !name.is_empty() && name.chars().all(is_label_character))
    };
    simple
        .or_else(|| label("node.labels.").map(Key::NodeLabel))
        .or_else(|| label("engine.labels.").map(Key::EngineLabel))
}

const fn is_label_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

fn is_value_character(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || character.is_ascii_whitespace()
        || ":-_.*()?+[]\\^$|/".contains(character)
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Key::Id => f.write_str("node.id"),
            Key::Hostname => f.write_str("node.hostname"),
            Key::Ip => f.write_str("node.ip"),
            Key::Role => f.write_str("node.role"),
            Key::Os => f.write_str("node.platform.os"),
            Key::Architecture => f.write_str("node.platform.arch"),
            Key::NodeLabel(label) => write!(f, "node.labels.{label}"),
            Key::EngineLabel(label) => write!(f, "engine.labels.{label}"),
        }?;
        let operator = match self.operator {
            Operator::Equal => "==",
            Operator::Different => "!=",
        };
        write!(f, "{operator}{}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        let labels = Labels::from([
            ("zone".to_owned(), "a".to_owned()),
            ("Rack".to_owned(), "r 1".to_owned()),
        ]);
        let engine_labels = Labels::from([("storage".to_owned(), "ssd".to_owned())]);
        let node = NodeFacts {
            id: NodeId::from_bits(7),
            hostname: "Alpha",
            ip: Some("10.1.2.3".parse().unwrap()),
            role: Role::Worker,
            os: "linux",
            architecture: "x86_64",
            labels: &labels,
            engine_labels: &engine_labels,
        };
        text.parse::<Constraint>().unwrap().holds(&node)
    }

    #[test]
    fn every_key_is_compared_whole_and_without_regard_to_case() {
        for met in [
            "node.id==0000000000000000000000007",
            "node.hostname == alpha",
            "NODE.Hostname!=alph",
            "node.role==WORKER",
            "node.role!=manager",
            "node.platform.os==Linux",
            "node.platform.arch==x86_64",
            "node.platform.arch==amd64",
            "node.platform.arch!=arm64",
            "node.labels.zone==A",
            "node.labels.Rack==r 1",
            "engine.labels.storage==ssd",
        ] {
            assert!(holds(met), "{met}");
        }
        for unmet in [
            "node.hostname==alph*",
            "node.labels.rack==r 1",
            "node.labels.zone!=a",
            "node.platform.arch!=amd64",
            "engine.labels.zone==a",
        ] {
            assert!(!holds(unmet), "{unmet}");
        }
    }

    #[test]
    fn what_a_node_lacks_differs_from_every_value() {
        assert!(holds("node.labels.disk!=ssd"));
        assert!(!holds("node.labels.disk==ssd"));
    }

    #[test]
    fn an_address_is_compared_with_an_address_or_a_range() {
        for met in [
            "node.ip==10.1.2.3",
            "node.ip==10.1.0.0/16",
            "node.ip==0.0.0.0/0",
            "node.ip!=10.1.2.4",
            "node.ip!=10.2.0.0/16",
            "node.ip!=fd00::/8",
        ] {
            assert!(holds(met), "{met}");
        }
        for unmet in [
            "node.ip==10.1.2.0/30x",
            "node.ip!=nonsense",
            "node.ip==10.1.2.3/33",
        ] {
            assert!(!holds(unmet), "{unmet}");
        }
    }

    #[test]
    fn what_is_no_constraint_is_refused_with_what_is_allowed() {
        let error = |text: &str| text.parse::<Constraint>().unwrap_err().to_string();
        assert_eq!(
            error("node.role=manager"),
            "constraint \"node.role=manager\" has no operator: want KEY==VALUE or KEY!=VALUE"
        );
        assert!(error("node.rôle==manager").contains("\"node.rôle\" is no key of a node"));
        assert!(error("node.labels.==a").contains("node.labels.NAME"));
        assert!(error("node.role==").contains("\"\" is no value"));
        assert!(error("node.role==a,b").contains("\"a,b\" is no value"));
        assert!(error("").contains("no operator"));
    }

    #[test]
    fn a_constraint_reads_back_as_it_is_written() {
        for text in ["node.labels.zone==a", "node.ip!=10.0.0.0/8"] {
            assert_eq!(text.parse::<Constraint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_platform_matches_the_kernels_names() {
        let platform = |architecture: &str, os: &str| Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
        };
        assert!(platform("amd64", "linux").runs_on("x86_64", "linux"));
        assert!(platform("aarch64", "").runs_on("arm64", "linux"));
        assert!(platform("", "").runs_on("riscv64", "linux"));
        assert!(!platform("arm64", "linux").runs_on("x86_64", "linux"));
        assert!(!platform("amd64", "windows").runs_on("x86_64", "linux"));
    }
}
