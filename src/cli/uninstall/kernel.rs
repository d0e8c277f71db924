//! What the data path leaves in the kernel: a table of packet rules, devices, routing rules, and
//! rules in the engine's own chain. Each is found by its name, so that nothing else is touched.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::failure::Failure;

const TABLE: &str = "swarmr";
/// Tunnels first: a bridge goes when nothing hangs on it.
const DEVICE_PREFIXES: [&str; 2] = ["swx-", "swr-"];
const ENGINE_CHAIN: &str = "DOCKER-USER";

/// Removes all of it; one outcome for each kind, with what was removed.
pub(super) fn clean() -> Vec<Result<String, Failure>> {
    vec![tables(), routing_rules(), engine_rules(), devices()]
}

fn tables() -> Result<String, Failure> {
    let Some(listing) = output("nft", &["list", "tables"]) else {
        return Ok(String::new());
    };
    let families = own_tables(&listing);
    for family in &families {
        succeed(Command::new("nft").args(["delete", "table", family, TABLE]))?;
    }
    Ok(if families.is_empty() {
        String::new()
    } else {
        format!("Removed the packet rules of {}", families.join(", "))
    })
}

/// The families that have a table of ours.
fn own_tables(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["table", family, name] if *name == TABLE => Some((*family).to_owned()),
                _ => None,
            }
        })
        .collect()
}

fn routing_rules() -> Result<String, Failure> {
    let listing = output("ip", &["rule", "show"]).unwrap_or_default();
    let preferences = own_routing_rules(&listing);
    for preference in &preferences {
        succeed(Command::new("ip").args(["rule", "del", "pref", preference]))?;
    }
    Ok(String::new())
}

/// The preferences of rules for what comes in from our bridges.
fn own_routing_rules(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter(|line| line.contains(&format!("iif {}", DEVICE_PREFIXES[1])))
        .filter_map(|line| line.split_once(':'))
        .map(|(preference, _)| preference.trim().to_owned())
        .collect()
}

fn engine_rules() -> Result<String, Failure> {
    let listing = output("iptables", &["-w", "-S", ENGINE_CHAIN]).unwrap_or_default();
    for rule in own_engine_rules(&listing) {
        succeed(Command::new("iptables").arg("-w").args(rule))?;
    }
    Ok(String::new())
}

/// The arguments that delete each rule of ours.
fn own_engine_rules(listing: &str) -> Vec<Vec<String>> {
    listing
        .lines()
        .filter(|line| line.contains("--comment swarmr") || line.contains("--comment \"swarmr\""))
        .filter_map(|line| line.strip_prefix("-A "))
        .map(|rule| {
            let words = rule.split_whitespace().map(|word| word.replace('"', ""));
            std::iter::once("-D".to_owned()).chain(words).collect()
        })
        .collect()
}

fn devices() -> Result<String, Failure> {
    let names: Vec<String> = Path::new("/sys/class/net")
        .read_dir()
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|device| device.file_name().to_string_lossy().into_owned())
        .collect();
    let own = own_devices(&names);
    for name in &own {
        succeed(Command::new("ip").args(["link", "delete", name]))?;
    }
    Ok(if own.is_empty() {
        String::new()
    } else {
        format!("Removed the devices {}", own.join(", "))
    })
}

fn own_devices(names: &[String]) -> Vec<&str> {
    DEVICE_PREFIXES
        .iter()
        .flat_map(|prefix| names.iter().filter(move |name| name.starts_with(prefix)))
        .map(String::as_str)
        .collect()
}

/// What a program prints; `None` where it is not there or fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program that must succeed.
pub(super) fn succeed(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::error(format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::error(format!(
        "{name} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_is_found() {
        assert_eq!(
            own_tables("table ip filter\ntable ip swarmr\ntable inet swarmr\ntable ip swarmr2\n"),
            ["ip", "inet"]
        );
        assert_eq!(
            own_routing_rules(
                "0:\tfrom all lookup local\n\
                 100:\tfrom all fwmark 0x1 iif swr-abc [detached] lookup 100\n\
                 101:\tfrom all iif eth0 lookup 7\n"
            ),
            ["100"]
        );
        assert_eq!(
            own_engine_rules(
                "-N DOCKER-USER\n-A DOCKER-USER -s 192.0.2.0/24 -j DROP\n\
                 -A DOCKER-USER -i swr-a -o swr-a -m comment --comment swarmr -j ACCEPT\n"
            ),
            [[
                "-D",
                "DOCKER-USER",
                "-i",
                "swr-a",
                "-o",
                "swr-a",
                "-m",
                "comment",
                "--comment",
                "swarmr",
                "-j",
                "ACCEPT"
            ]]
        );
        let names = ["lo", "swr-a", "eth0", "swx-7", "docker0"].map(str::to_owned);
        assert_eq!(own_devices(&names), ["swx-7", "swr-a"]);
    }
}
