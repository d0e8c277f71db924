//! `--affinity` and `--anti-affinity`.

use super::ParseError;
use crate::spec::extension::{AffinityRule, Strength};
use crate::spec::topology::Topology;

/// `LABEL=VALUE[,LABEL=VALUE…][,topology=KEY][,required|preferred]`. Labels may be written as
/// `service.labels.LABEL==VALUE`; without a topology each host is for itself.
pub fn affinity(text: &str) -> Result<AffinityRule, ParseError> {
    let wrong = || {
        let allowed = format!(
            "LABEL=VALUE[,LABEL=VALUE][,topology=KEY][,required|preferred] with a key of {}",
            Topology::ALLOWED
        );
        ParseError::new("affinity", text, allowed)
    };
    let mut rule = AffinityRule {
        topology: "node.hostname".to_owned(),
        ..AffinityRule::default()
    };
    for piece in text.split(',').map(str::trim) {
        match piece.split_once('=') {
            None if piece == "required" => rule.strength = Strength::Required,
            None if piece == "preferred" => rule.strength = Strength::Preferred,
            None => return Err(wrong()),
            Some(("topology", key)) => {
                Topology::parse(key).ok_or_else(wrong)?;
                key.clone_into(&mut rule.topology);
            }
            Some((label, value)) => {
                let value = value.strip_prefix('=').unwrap_or(value).trim();
                let label = label.trim();
                let label = label.strip_prefix("service.labels.").unwrap_or(label);
                if label.is_empty() || value.is_empty() || label.ends_with('!') {
                    return Err(wrong());
                }
                rule.labels.insert(label.to_owned(), value.to_owned());
            }
        }
    }
    if rule.labels.is_empty() {
        return Err(wrong());
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_labels_a_topology_and_a_strength() {
        let rule = affinity("app=db,topology=node.labels.zone,preferred").unwrap();
        assert_eq!(rule.labels.get("app").map(String::as_str), Some("db"));
        assert_eq!(rule.topology, "node.labels.zone");
        assert_eq!(rule.strength, Strength::Preferred);
        assert_eq!(
            rule.to_string(),
            "app=db,topology=node.labels.zone,preferred"
        );
        let rule = affinity("service.labels.tier==cache,required").unwrap();
        assert_eq!(rule.to_string(), "tier=cache,topology=node.hostname");
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for wrong in [
            "",
            "app",
            "app=",
            "=db",
            "app!=db",
            "topology=node.labels.zone",
            "app=db,topology=zone",
            "app=db,maybe",
        ] {
            let error = affinity(wrong).unwrap_err().to_string();
            assert!(error.contains("topology=KEY"), "{wrong}: {error}");
        }
    }
}
