//! Processes of a host as the machine underneath sees them.
//!
//! A host's processes are the descendants of its first one, so that containers
//! count too, whatever namespaces they have.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Unit of the times in `/proc/<pid>/stat`: 1/100 s wherever Linux runs us.
const TICK: Duration = Duration::from_millis(10);

/// One process; `pid` is that of the machine underneath.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    parent: i32,
    /// Processor time of the process and of its children that ended.
    pub cpu: Duration,
}

impl Process {
    /// The first word of the command line without its folders, and the rest.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let mut words: Vec<String> = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        if words.last().is_some_and(String::is_empty) {
            words.pop();
        }
        if let Some(program) = words.first_mut() {
            *program = program.rsplit('/').next().unwrap_or_default().to_owned();
        }
        words
    }

    /// Proportional set size in bytes; 0 when the process is gone.
    #[must_use]
    pub fn pss_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid));
        let kib = rollup.unwrap_or_default().lines().find_map(|line| {
            line.strip_prefix("Pss:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        });
        kib.unwrap_or(0) * 1024
    }

    /// Sends SIGKILL; a process that is gone already is no error.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Whether `pid` started this process, or adopted it.
    pub(crate) fn is_child_of(&self, pid: i32) -> bool {
        self.parent == pid
    }

    /// Whether the process still exists and is no zombie.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, _)| state != 'Z')
    }
}

/// The descendants of `root`, without `root`.
pub(crate) fn descendants(root: i32) -> Vec<Process> {
    let mut by_parent: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some((_, process)) = stat(pid) {
            by_parent.entry(process.parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut next = by_parent.remove(&root).unwrap_or_default();
    while let Some(process) = next.pop() {
        next.extend(by_parent.remove(&process.pid).unwrap_or_default());
        found.push(process);
    }
    found
}

/// State letter and process, from `/proc/<pid>/stat`.
fn stat(pid: i32) -> Option<(char, Process)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command stands in parentheses and may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // utime, stime, cutime and cstime are the 14th to 17th field.
    let ticks = fields
        .skip(9)
        .take(4)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum::<u32>();
    Some((
        state,
        Process {
            pid,
            parent,
            cpu: TICK * ticks,
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_is_found_below_us_and_lost_after_a_kill() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let found = descendants(me)
            .into_iter()
            .find(|process| process.pid == pid)
            .unwrap();
        assert!(found.is_alive() && found.pss_bytes() > 0);
        found.kill();
        child.wait().unwrap();
        assert!(!found.is_alive());
        assert!(descendants(me).iter().all(|process| process.pid != pid));
    }
}
