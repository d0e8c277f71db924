//! What a service waits for before its tasks start.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spec::nullable::is_default;
use crate::spec::parse::ParseError;

/// One entry of `DependsOn`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Dependency {
    /// The other service's name. It need not exist yet.
    pub service: String,
    pub condition: Condition,
    /// Updates wait too, and not only the first tasks.
    #[serde(skip_serializing_if = "is_default")]
    pub on_update: bool,
}

/// How far the other service must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// A container of each of its tasks was started.
    #[default]
    Started,
    /// Each of its tasks runs, and is healthy where it has a health check.
    Healthy,
    /// Each of its tasks has ended well.
    Completed,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        })
    }
}

impl FromStr for Dependency {
    type Err = ParseError;

    /// `db`, `db:healthy`, `migrate:completed,update`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(
                "dependency",
                text,
                "SERVICE[:started|healthy|completed][,update], such as db:healthy",
            )
        };
        let (rest, on_update) = match text.split_once(',') {
            None => (text, false),
            Some((rest, "update")) => (rest, true),
            Some(_) => return Err(wrong()),
        };
        let (service, condition) = match rest.split_once(':') {
            None | Some((_, "started")) => (rest, Condition::Started),
            Some((_, "healthy")) => (rest, Condition::Healthy),
            Some((_, "completed")) => (rest, Condition::Completed),
            Some(_) => return Err(wrong()),
        };
        let service = service.split(':').next().unwrap_or_default();
        if service.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            service: service.to_owned(),
            condition,
            on_update,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_a_name_a_condition_and_when() {
        let read = |text: &str| text.parse::<Dependency>();
        let wanted = |service: &str, condition, on_update| {
            Ok(Dependency {
                service: service.to_owned(),
                condition,
                on_update,
            })
        };
        assert_eq!(read("db"), wanted("db", Condition::Started, false));
        assert_eq!(read("db:healthy"), wanted("db", Condition::Healthy, false));
        assert_eq!(
            read("job:completed,update"),
            wanted("job", Condition::Completed, true)
        );
        assert_eq!(read("db,update"), wanted("db", Condition::Started, true));
        for wrong in ["", ":healthy", "db:well", "db,always", "db:"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
