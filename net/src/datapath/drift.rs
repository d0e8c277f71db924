//! Where a host differs from what was wanted of it.

use std::collections::VecDeque;
use std::fmt;
use std::time::SystemTime;

/// Of what was mended without being asked, this much is remembered.
const REMEMBERED: usize = 64;

/// What of a host has drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Bridges, tunnels, forwarding entries and addresses.
    Overlay,
    /// The device of the encrypted networks.
    Tunnel,
    /// The packet filter's table of ours.
    Rules,
    /// Our rules in the container engine's own filter.
    Firewall,
    /// The process for names, held ports and the encrypted tunnel.
    DataPlane,
    /// Networks of the container engine.
    EngineNetwork,
    /// What containers are connected to.
    Container,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlay => "overlay",
            Self::Tunnel => "tunnel",
            Self::Rules => "rules",
            Self::Firewall => "firewall",
            Self::DataPlane => "data-plane",
            Self::EngineNetwork => "engine-network",
            Self::Container => "container",
        })
    }
}

/// One difference, by what has to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    pub part: Part,
    /// An order: `forward MAC on DEVICE to ADDRESS`.
    pub what: String,
}

impl Drift {
    pub fn new(part: Part, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { part, what }
    }
}

/// A difference that was mended without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    pub at: SystemTime,
    pub drift: Drift,
}

/// How a host compares with what was wanted of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What is not as wanted now.
    pub found: Vec<Drift>,
    /// What was not, lately; oldest first.
    pub mended: Vec<Mended>,
    /// What could not be looked at, and why.
    pub problems: Vec<String>,
}

/// The differences that were mended last.
#[derive(Debug, Default)]
pub(super) struct Memory(VecDeque<Mended>);

impl Memory {
    pub(super) fn add(&mut self, drift: Vec<Drift>) {
        for drift in drift {
            tracing::warn!(part = %drift.part, "not as it was left, mending: {}", drift.what);
            if self.0.len() == REMEMBERED {
                self.0.pop_front();
            }
            let at = SystemTime::now();
            self.0.push_back(Mended { at, drift });
        }
    }

    pub(super) fn all(&self) -> Vec<Mended> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut memory = Memory::default();
        let numbered = |number: usize| Drift::new(Part::Rules, number.to_string());
        memory.add((0..REMEMBERED + 2).map(numbered).collect());
        let all = memory.all();
        assert_eq!(all.len(), REMEMBERED);
        assert_eq!(all[0].drift.what, "2");
        assert_eq!(all[REMEMBERED - 1].drift, numbered(REMEMBERED + 1));
    }
}
