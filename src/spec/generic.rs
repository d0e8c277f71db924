//! Generic resources: what a node has and a task reserves without anybody knowing what it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::nullable::nullable;

/// One entry of Docker's `GenericResources`, as nodes declare and tasks reserve them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GenericResource {
    /// One thing that has a name: `gpu=UUID1`.
    #[serde(rename = "NamedResourceSpec")]
    Named(NamedResource),
    /// A number of things that are all alike: `ssd=3`.
    #[serde(rename = "DiscreteResourceSpec")]
    Discrete(DiscreteResource),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NamedResource {
    #[serde(deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DiscreteResource {
    #[serde(deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub value: i64,
}

impl GenericResource {
    pub fn named(kind: &str, value: &str) -> Self {
        Self::Named(NamedResource {
            kind: kind.to_owned(),
            value: value.to_owned(),
        })
    }

    pub fn discrete(kind: &str, value: i64) -> Self {
        Self::Discrete(DiscreteResource {
            kind: kind.to_owned(),
            value,
        })
    }

    pub fn kind(&self) -> &str {
        match self {
            Self::Named(named) => &named.kind,
            Self::Discrete(discrete) => &discrete.kind,
        }
    }

    /// The value as a container reads it.
    pub fn value(&self) -> String {
        match self {
            Self::Named(named) => named.value.clone(),
            Self::Discrete(discrete) => discrete.value.to_string(),
        }
    }
}

impl fmt::Display for GenericResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind(), self.value())
    }
}

/// What containers are told of the resources that they were given, as Docker's are:
/// `DOCKER_RESOURCE_GPU=UUID1,UUID2`.
pub fn environment(resources: &[GenericResource]) -> Vec<String> {
    let mut variables: Vec<(String, Vec<String>)> = Vec::new();
    for resource in resources {
        let name = format!("DOCKER_RESOURCE_{}", resource.kind().to_uppercase());
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(resource.value()),
            None => variables.push((name, vec![resource.value()])),
        }
    }
    variables
        .into_iter()
        .map(|(name, values)| format!("{name}={}", values.join(",")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_written_as_docker_writes_them() {
        let text = r#"[{"NamedResourceSpec":{"Kind":"gpu","Value":"UUID1"}},{"DiscreteResourceSpec":{"Kind":"ssd","Value":3}}]"#;
        let resources: Vec<GenericResource> = serde_json::from_str(text).unwrap();
        assert_eq!(
            resources,
            [
                GenericResource::named("gpu", "UUID1"),
                GenericResource::discrete("ssd", 3)
            ]
        );
        assert_eq!(serde_json::to_string(&resources).unwrap(), text);
    }

    #[test]
    fn a_container_reads_what_it_was_given() {
        let given = [
            GenericResource::named("gpu", "UUID1"),
            GenericResource::discrete("ssd", 3),
            GenericResource::named("gpu", "UUID2"),
        ];
        assert_eq!(
            environment(&given),
            ["DOCKER_RESOURCE_GPU=UUID1,UUID2", "DOCKER_RESOURCE_SSD=3"]
        );
    }
}
