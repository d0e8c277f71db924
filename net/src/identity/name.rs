//! Names that may stand in a certificate, and the names derived from them.

use thiserror::Error;

/// A node or cluster id that cannot be part of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{what} {got:?} cannot be put into a certificate; allowed are 1 to 63 characters of a-z, 0-9 and -, not beginning or ending with -"
)]
pub struct NameError {
    /// "node id" or "cluster id".
    pub what: &'static str,
    pub got: String,
}

/// The DNS name under which the node is dialled and that its certificate carries.
pub fn server_name(node_id: &str) -> String {
    format!("{node_id}.swarmr")
}

pub(crate) fn spiffe_id(cluster_id: &str, node_id: &str) -> String {
    format!("spiffe://{cluster_id}/node/{node_id}")
}

/// Both ids become a DNS label, a URI part and a subject field: only what is safe
/// in all three, so that no id can be read as two different ones.
pub(crate) fn check(what: &'static str, name: &str) -> Result<(), NameError> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let fits = (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits {
        return Ok(());
    }
    Err(NameError {
        what,
        got: name.chars().take(80).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_in_lower_case_are_names() {
        for good in ["a", "node-1", "7ysdo3wqyyyebm46dhml0oxaa"] {
            assert_eq!(check("node id", good), Ok(()));
        }
        let long = "a".repeat(64);
        for bad in ["", "A", "a.b", "a/b", "-a", "a-", "ä", "a b", "*", &long] {
            assert!(check("node id", bad).is_err(), "{bad:?}");
        }
    }
}
