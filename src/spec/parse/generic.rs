//! `--generic-resource`: what a task reserves, and what a node has.

use super::ParseError;
use crate::spec::generic::GenericResource;

/// `KIND=COUNT`, or `KIND=NAME` for the one of that name.
pub fn generic_resource(text: &str) -> Result<GenericResource, ParseError> {
    read(text).ok_or_else(|| {
        let allowed = "KIND=COUNT such as ssd=1, or KIND=NAME such as gpu=UUID1";
        ParseError::new("generic resource", text, allowed)
    })
}

/// What a node has: the same, repeated for each name.
pub fn node_resource(text: &str) -> Result<GenericResource, ParseError> {
    read(text).ok_or_else(|| {
        let allowed = "KIND=COUNT such as ssd=3, or KIND=NAME such as gpu=UUID1";
        ParseError::new("generic resource", text, allowed)
    })
}

fn read(text: &str) -> Option<GenericResource> {
    let (kind, value) = text.split_once('=')?;
    if kind.is_empty() || value.is_empty() || value.contains(['=', ',']) {
        return None;
    }
    match value.parse::<i64>() {
        Ok(count) => (count > 0).then(|| GenericResource::discrete(kind, count)),
        Err(_) => Some(GenericResource::named(kind, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counts_and_anything_else_is_a_name() {
        for (text, want) in [
            ("ssd=3", GenericResource::discrete("ssd", 3)),
            ("gpu=UUID1", GenericResource::named("gpu", "UUID1")),
        ] {
            assert_eq!(generic_resource(text), Ok(want));
        }
        for wrong in ["", "ssd", "ssd=", "=1", "ssd=0", "ssd=-1", "gpu=a,b"] {
            let error = generic_resource(wrong).unwrap_err().to_string();
            assert!(error.contains("KIND=COUNT"), "{error}");
        }
    }
}
