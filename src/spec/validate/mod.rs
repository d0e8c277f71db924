//! What is wrong with what a user wrote: every problem at once, each with what is allowed and what
//! to do. Called by the API before anything is proposed, and by the CLI before it asks.

mod affinity;
mod extension;
mod inventory;
mod job;
mod objects;
mod service;
mod start;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Nanos;

pub use objects::{validate_config, validate_network, validate_node};
pub use service::validate;

/// Docker's floor: a container below it does not start.
pub const MIN_MEMORY_BYTES: i64 = 4 << 20;
/// A thousandth of a CPU.
pub const MIN_NANO_CPUS: i64 = 1_000_000;
/// Most bytes that a config holds.
pub const MAX_CONFIG_BYTES: usize = 1_000 << 10;
const MAX_LABEL_LENGTH: usize = 63;
const MAX_CONFIG_NAME_LENGTH: usize = 64;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: a path of field names as the API spells them.
    pub field: String,
    pub got: String,
    /// What would be right.
    pub allowed: String,
    /// What to do next.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: got {}: {}", self.field, self.got, self.allowed)?;
        if self.fix.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", self.fix)
        }
    }
}

#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
}

impl Findings {
    fn add(&mut self, field: impl Into<String>, got: String, allowed: &str, fix: &str) {
        self.problems.push(Problem {
            field: field.into(),
            got,
            allowed: allowed.to_owned(),
            fix: fix.to_owned(),
        });
    }

    fn length(&mut self, field: impl Into<String>, length: Nanos) {
        if length.0 < 0 {
            self.add(
                field,
                format!("{} ns", length.0),
                "a duration is 0 or more",
                "give a positive duration such as 10s",
            );
        }
    }
}

fn is_name_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-')
}
