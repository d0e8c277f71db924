//! The import rules of ARCHITECTURE.md, kept true by reading the `use` lines and paths of the code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A module and what its files must not mention. A mention is the text anywhere in a line of code.
const RULES: &[(&str, &[&str])] = &[
    ("src/spec", PURE),
    ("src/state", PURE),
    ("src/plan", PURE),
    ("src/message", PURE),
    ("net/src/gossip", PURE),
    (
        "src/spec",
        &[
            "crate::state",
            "crate::plan",
            "crate::api",
            "crate::message",
            "crate::agent",
            "crate::manager",
        ],
    ),
    (
        "src/state",
        &[
            "crate::plan",
            "crate::api",
            "crate::message",
            "crate::agent",
            "crate::manager",
            "crate::daemon",
        ],
    ),
    (
        "src/plan",
        &[
            "crate::api",
            "crate::message",
            "crate::agent",
            "crate::manager",
            "crate::daemon",
            "crate::cli",
        ],
    ),
    (
        "src/message",
        &[
            "crate::plan",
            "crate::api",
            "crate::agent",
            "crate::manager",
            "crate::daemon",
            "crate::cli",
        ],
    ),
    (
        "src/api",
        &[
            "crate::plan",
            "swarmr_raft",
            "crate::manager",
            "crate::agent",
            "crate::daemon",
            "crate::cli",
        ],
    ),
    (
        "src/agent",
        &[
            "crate::plan",
            "swarmr_raft",
            "crate::manager",
            "crate::daemon",
            "crate::cli",
        ],
    ),
    (
        "src/manager",
        &[
            "crate::agent",
            "bollard",
            "rtnetlink",
            "crate::daemon",
            "crate::cli",
        ],
    ),
    (
        "src/cli",
        &[
            "crate::state",
            "crate::plan",
            "crate::manager",
            "crate::agent",
            "swarmr_raft",
            "swarmr_net",
        ],
    ),
    ("raft/src", &["swarmr::", "net::quic", "quinn"]),
    ("net/src", &["swarmr::", "openraft", "raft::"]),
];

/// What a function of its inputs alone cannot need.
const PURE: &[&str] = &[
    "tokio",
    "async fn",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "swarmr_raft",
    "swarmr_net",
    "HashMap",
    "HashSet",
    "SystemTime",
    "Instant::",
    "rand::",
    "std::env",
    "std::thread",
];

/// A table that cannot be walked through has no order that could differ.
const EXEMPT: &[(&str, &str)] = &[("src/spec/by_id.rs", "HashMap")];

#[test]
fn modules_use_only_what_lies_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for (folder, banned) in RULES {
        let files = rust_files(&root.join(folder));
        assert!(
            !files.is_empty(),
            "{folder} has no code: the rule for it checks nothing"
        );
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file can be read");
            for (number, line) in code_lines(&text) {
                for word in banned.iter().filter(|word| line.contains(**word)) {
                    let exempt =
                        |(path, allowed): &(&str, &str)| file.ends_with(path) && word == allowed;
                    if EXEMPT.iter().any(exempt) {
                        continue;
                    }
                    broken.push(format!(
                        "{}:{number}: {folder} must not use {word}",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_type_of_openraft_is_in_a_public_signature_of_the_raft_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("raft/src");
    let broken: Vec<String> = rust_files(&root)
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a source file can be read");
            code_lines(&text)
                .filter(|(_, line)| {
                    line.trim_start().starts_with("pub ") && line.contains("openraft::")
                })
                .map(|(number, _)| format!("{}:{number}", file.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let silent: Vec<String> = ["src", "raft/src", "net/src"]
        .iter()
        .flat_map(|folder| rust_files(&root.join(folder)))
        .filter(|file| {
            !fs::read_to_string(file)
                .expect("a source file can be read")
                .starts_with("//!")
        })
        .map(|file| file.display().to_string())
        .collect();
    assert!(
        silent.is_empty(),
        "no //! at the top of:\n{}",
        silent.join("\n")
    );
}

#[test]
fn every_mutant_can_still_be_put_in() {
    let check = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/mutants"))
        .arg("--check")
        .output()
        .expect("the script runs");
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "say anew where it is:\n{said}");
}

/// Lines outside comments and outside test modules at the end of a file, numbered from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Files of tests alone may use what they test with.
fn is_test(path: &Path) -> bool {
    path.file_stem()
        .is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
        || path.components().any(|part| part.as_os_str() == "tests")
}
