//! The tree of dependencies keeps to `deny.toml`: licences and banned crates.
//!
//! `cargo deny` reads the same file and knows more; this needs nothing but
//! cargo, so it runs wherever the tests do.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let allowed = strings_of("licenses", "allow");
    assert!(allowed.len() > 3, "deny.toml allows only {allowed:?}");
    let packages = packages();
    let refused: Vec<_> = packages
        .iter()
        .filter(|package| !Expression::new(&package.licence).holds(&|one| allowed.contains(one)))
        .map(|package| format!("{}: {}", package.name, package.licence))
        .collect();
    assert!(
        packages.len() > 50,
        "only {} packages were found",
        packages.len()
    );
    assert!(refused.is_empty(), "not allowed by deny.toml: {refused:#?}");
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let banned = strings_of("bans", "deny");
    assert!(banned.contains("ring"), "deny.toml bans only {banned:?}");
    let found: Vec<_> = packages()
        .into_iter()
        .map(|package| package.name)
        .filter(|name| banned.contains(name) && !is_wrapped(name))
        .collect();
    assert!(found.is_empty(), "banned by deny.toml: {found:#?}");
}

/// Whether only crates that `deny.toml` lets use a banned one do so.
fn is_wrapped(name: &str) -> bool {
    let users = tree(&["--invert", name, "--depth=1", "--format={p}"]);
    let users: BTreeSet<_> = users
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    let wrappers = wrappers_of(name);
    !users.is_empty() && users.is_subset(&wrappers)
}

#[test]
fn ring_is_wrapped_and_others_are_not() {
    assert!(is_wrapped("ring"));
    assert!(!is_wrapped("serde"), "no wrapper of it is named");
    assert_eq!(
        wrappers_of("ring"),
        BTreeSet::from(["boringtun".to_owned()])
    );
}

#[test]
fn a_choice_of_licences_needs_one_and_a_sum_needs_all() {
    let allowed = |one: &str| one == "MIT" || one == "ISC" || one == "A WITH B";
    let holds = |text| Expression::new(text).holds(&allowed);
    assert!(holds("MIT") && holds("GPL-3.0 OR MIT") && holds("GPL-3.0/MIT"));
    assert!(holds("MIT AND (GPL-3.0 OR ISC)") && holds("A WITH B OR GPL-3.0"));
    assert!(!holds("MIT AND GPL-3.0") && !holds("(MIT OR ISC) AND GPL-3.0") && !holds(""));
    assert!(
        holds("GPL-3.0 AND GPL-2.0 OR MIT"),
        "AND binds closer than OR"
    );
}

/// A package that is compiled for this kind of machine.
struct Package {
    name: String,
    licence: String,
}

/// All packages but our own.
fn packages() -> Vec<Package> {
    let text = tree(&["--no-dedupe", "--format={p}|{l}"]);
    let lines: BTreeSet<_> = text.lines().filter(|line| !line.contains("(/")).collect();
    lines
        .into_iter()
        .filter_map(|line| {
            let (package, licence) = line.split_once('|')?;
            let name = package.split(' ').next()?.to_owned();
            Some(Package {
                name,
                licence: licence.to_owned(),
            })
        })
        .collect()
}

/// What `cargo tree` says of everything that is compiled for this kind of
/// machine. Not `cargo metadata`: it also lists what only other platforms'
/// features bring in.
fn tree(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--workspace", "--prefix=none"])
        .arg("--edges=normal,build,dev")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs, for it built this test");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The crates that may use `name` although it is banned.
fn wrappers_of(name: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    let text = std::fs::read_to_string(&path).expect("deny.toml is there");
    let entry = format!("{{ crate = \"{name}\", wrappers = [");
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(&entry));
    let words = line.unwrap_or_default().split('"').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// The strings of the list `key` in the table `table` of `deny.toml`, which
/// holds each of them on a line of its own.
fn strings_of(table: &str, key: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    let text = std::fs::read_to_string(&path).expect("deny.toml is there");
    text.lines()
        .skip_while(|line| *line != format!("[{table}]"))
        .skip(1)
        .skip_while(|line| *line != format!("{key} = ["))
        .take_while(|line| *line != "]")
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

/// A licence expression, read from left to right; the older `/` is an OR.
struct Expression {
    words: Vec<String>,
}

impl Expression {
    fn new(text: &str) -> Self {
        let text = text
            .replace('/', " OR ")
            .replace('(', " ( ")
            .replace(')', " ) ");
        Self {
            words: text.split_whitespace().rev().map(str::to_owned).collect(),
        }
    }

    /// Whether the allowed licences satisfy it.
    fn holds(mut self, allowed: &dyn Fn(&str) -> bool) -> bool {
        let holds = self.either(allowed);
        holds && self.words.is_empty()
    }

    fn either(&mut self, allowed: &dyn Fn(&str) -> bool) -> bool {
        let mut holds = self.all(allowed);
        while self.take("OR") {
            // Both sides are read to their end, whatever the first one said.
            holds |= self.all(allowed);
        }
        holds
    }

    fn all(&mut self, allowed: &dyn Fn(&str) -> bool) -> bool {
        let mut holds = self.one(allowed);
        while self.take("AND") {
            holds &= self.one(allowed);
        }
        holds
    }

    fn one(&mut self, allowed: &dyn Fn(&str) -> bool) -> bool {
        if self.take("(") {
            let holds = self.either(allowed);
            return self.take(")") && holds;
        }
        let mut licence = self.words.pop().unwrap_or_default();
        if self.take("WITH") {
            licence = format!("{licence} WITH {}", self.words.pop().unwrap_or_default());
        }
        allowed(&licence)
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.words.last().is_some_and(|last| last == word);
        if there {
            self.words.pop();
        }
        there
    }
}
