//! An nftables table as plain data, and the text that makes the kernel hold it.
//! Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The name of our table, in the `ip` family.
pub(super) const TABLE: &str = "swarmr";

/// The whole table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ruleset {
    pub(super) collections: BTreeMap<String, Collection>,
    pub(super) chains: BTreeMap<String, Chain>,
}

/// How one table becomes another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Script(String),
    /// It must be replaced as a whole.
    Anew,
}

/// A set, or a map where elements have values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Collection {
    /// As it is declared: `type ipv4_addr`, or `type mark : ipv4_addr` for a map.
    pub(super) kind: String,
    /// Element and, in a map, its value.
    pub(super) elements: BTreeMap<String, Option<String>>,
}

/// A chain of rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// As after `type`, for chains the kernel itself calls.
    pub(super) hook: Option<String>,
    pub(super) rules: Vec<String>,
}

impl Collection {
    /// An empty set or map of `kind`.
    pub(super) fn new(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            elements: BTreeMap::new(),
        }
    }

    /// Adds an element without a value.
    pub(super) fn insert(&mut self, element: impl ToString) {
        self.elements.insert(element.to_string(), None);
    }

    /// Adds an element with its value.
    pub(super) fn map(&mut self, element: impl ToString, value: impl ToString) {
        let value = Some(value.to_string());
        self.elements.insert(element.to_string(), value);
    }

    fn keyword(&self) -> &'static str {
        match self.kind.contains(" : ") {
            true => "map",
            false => "set",
        }
    }
}

impl Chain {
    /// A chain that other chains jump to.
    pub(super) fn plain(rules: impl IntoIterator<Item = String>) -> Self {
        Self {
            hook: None,
            rules: rules.into_iter().collect(),
        }
    }

    /// A chain that the kernel calls at `hook`.
    pub(super) fn hooked(hook: &str, rules: impl IntoIterator<Item = String>) -> Self {
        Self {
            hook: Some(hook.to_owned()),
            rules: rules.into_iter().collect(),
        }
    }
}

impl Ruleset {
    /// Replaces whatever table of our name there is, in one transaction.
    pub(super) fn replacement(&self) -> String {
        let mut script = removal();
        let _ = writeln!(script, "add table ip {TABLE}");
        // Chains before elements that lead to them, sets before rules that ask
        // them.
        for (name, collection) in &self.collections {
            declare_collection(&mut script, name, collection);
        }
        for (name, chain) in &self.chains {
            declare_chain(&mut script, name, chain);
        }
        for (name, chain) in &self.chains {
            add_rules(&mut script, name, &chain.rules);
        }
        for (name, collection) in &self.collections {
            change_elements(&mut script, "add", name, &collection.elements);
        }
        script
    }

    /// What turns `old` into this. A chain that differs is emptied and filled
    /// in one transaction, so part of its rules is never seen.
    pub(super) fn change_from(&self, old: &Self) -> Change {
        if self == old {
            return Change::None;
        }
        if self.is_shaped_otherwise(old) {
            return Change::Anew;
        }
        let mut script = String::new();
        self.declare_new(old, &mut script);
        for (name, chain) in &self.chains {
            let before = old.chains.get(name);
            if before == Some(chain) {
                continue;
            }
            if before.is_some() {
                let _ = writeln!(script, "flush chain ip {TABLE} {name}");
            }
            add_rules(&mut script, name, &chain.rules);
        }
        let nothing = Collection::default();
        for (name, collection) in &self.collections {
            let before = old.collections.get(name).unwrap_or(&nothing);
            let gone = without(&before.elements, &collection.elements);
            let come = without(&collection.elements, &before.elements);
            change_elements(&mut script, "delete", name, &gone);
            change_elements(&mut script, "add", name, &come);
        }
        self.remove_old(old, &mut script);
        Change::Script(script)
    }

    /// Whether something differs that cannot be changed in place.
    fn is_shaped_otherwise(&self, old: &Self) -> bool {
        let chains = self.chains.iter().any(|(name, chain)| {
            let before = old.chains.get(name);
            before.is_some_and(|before| before.hook != chain.hook)
        });
        let collections = self.collections.iter().any(|(name, collection)| {
            let before = old.collections.get(name);
            before.is_some_and(|before| before.kind != collection.kind)
        });
        chains || collections
    }

    fn declare_new(&self, old: &Self, script: &mut String) {
        for (name, collection) in &self.collections {
            if !old.collections.contains_key(name) {
                declare_collection(script, name, collection);
            }
        }
        for (name, chain) in &self.chains {
            if !old.chains.contains_key(name) {
                declare_chain(script, name, chain);
            }
        }
    }

    fn remove_old(&self, old: &Self, script: &mut String) {
        let chains = old.chains.keys();
        let chains: Vec<_> = chains
            .filter(|name| !self.chains.contains_key(*name))
            .collect();
        // Emptied first: they may lead to each other.
        for name in &chains {
            let _ = writeln!(script, "flush chain ip {TABLE} {name}");
        }
        for name in &chains {
            let _ = writeln!(script, "delete chain ip {TABLE} {name}");
        }
        for (name, collection) in &old.collections {
            if !self.collections.contains_key(name) {
                let keyword = collection.keyword();
                let _ = writeln!(script, "delete {keyword} ip {TABLE} {name}");
            }
        }
    }
}

/// Removes our table whether or not it exists.
pub(super) fn removal() -> String {
    format!("add table ip {TABLE}\ndelete table ip {TABLE}\n")
}

fn without(
    elements: &BTreeMap<String, Option<String>>,
    others: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, Option<String>> {
    let differing = elements
        .iter()
        .filter(|(element, value)| others.get(*element) != Some(value));
    differing
        .map(|(element, value)| (element.clone(), value.clone()))
        .collect()
}

fn declare_collection(script: &mut String, name: &str, collection: &Collection) {
    let keyword = collection.keyword();
    let kind = &collection.kind;
    let _ = writeln!(script, "add {keyword} ip {TABLE} {name} {{ {kind}; }}");
}

fn declare_chain(script: &mut String, name: &str, chain: &Chain) {
    let hook = match &chain.hook {
        Some(hook) => format!(" {{ type {hook}; policy accept; }}"),
        None => String::new(),
    };
    let _ = writeln!(script, "add chain ip {TABLE} {name}{hook}");
}

fn add_rules(script: &mut String, chain: &str, rules: &[String]) {
    for rule in rules {
        let _ = writeln!(script, "add rule ip {TABLE} {chain} {rule}");
    }
}

fn change_elements(
    script: &mut String,
    verb: &str,
    name: &str,
    elements: &BTreeMap<String, Option<String>>,
) {
    if elements.is_empty() {
        return;
    }
    let listed: Vec<String> = elements
        .iter()
        .map(|(element, value)| match value {
            Some(value) if verb == "add" => format!("{element} : {value}"),
            _ => element.clone(),
        })
        .collect();
    let listed = listed.join(", ");
    let _ = writeln!(script, "{verb} element ip {TABLE} {name} {{ {listed} }}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Ruleset {
        let mut ruleset = Ruleset::default();
        let mut vips = Collection::new("type ipv4_addr : verdict");
        vips.map("10.0.1.100", "goto vip_a");
        ruleset.collections.insert("vips".to_owned(), vips);
        let go = "ip daddr vmap @vips".to_owned();
        let base = Chain::hooked("nat hook prerouting priority -101", [go]);
        ruleset.chains.insert("prerouting".to_owned(), base);
        let pick = Chain::plain(["dnat to 10.0.1.11".to_owned()]);
        ruleset.chains.insert("vip_a".to_owned(), pick);
        ruleset
    }

    #[test]
    fn a_replacement_removes_and_builds_in_one_script() {
        assert_eq!(
            small().replacement(),
            "add table ip swarmr\n\
             delete table ip swarmr\n\
             add table ip swarmr\n\
             add map ip swarmr vips { type ipv4_addr : verdict; }\n\
             add chain ip swarmr prerouting { type nat hook prerouting priority -101; policy accept; }\n\
             add chain ip swarmr vip_a\n\
             add rule ip swarmr prerouting ip daddr vmap @vips\n\
             add rule ip swarmr vip_a dnat to 10.0.1.11\n\
             add element ip swarmr vips { 10.0.1.100 : goto vip_a }\n"
        );
    }

    #[test]
    fn equal_rulesets_need_no_change() {
        assert_eq!(small().change_from(&small()), Change::None);
    }

    #[test]
    fn a_changed_chain_is_replaced_alone() {
        let mut new = small();
        new.chains.get_mut("vip_a").unwrap().rules = vec!["dnat to 10.0.1.12".to_owned()];
        assert_eq!(
            new.change_from(&small()),
            Change::Script(
                "flush chain ip swarmr vip_a\nadd rule ip swarmr vip_a dnat to 10.0.1.12\n"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_chain_goes_after_the_element_that_led_to_it() {
        let mut new = small();
        new.chains.remove("vip_a");
        new.collections.get_mut("vips").unwrap().elements.clear();
        assert_eq!(
            new.change_from(&small()),
            Change::Script(
                "delete element ip swarmr vips { 10.0.1.100 }\n\
             flush chain ip swarmr vip_a\n\
             delete chain ip swarmr vip_a\n"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_chain_comes_before_the_element_that_leads_to_it() {
        let mut old = small();
        old.chains.remove("vip_a");
        old.collections.get_mut("vips").unwrap().elements.clear();
        assert_eq!(
            small().change_from(&old),
            Change::Script(
                "add chain ip swarmr vip_a\n\
             add rule ip swarmr vip_a dnat to 10.0.1.11\n\
             add element ip swarmr vips { 10.0.1.100 : goto vip_a }\n"
                    .to_owned()
            )
        );
    }

    #[test]
    fn another_hook_needs_a_replacement() {
        let mut new = small();
        let base = new.chains.get_mut("prerouting").unwrap();
        base.hook = Some("nat hook prerouting priority -102".to_owned());
        assert_eq!(new.change_from(&small()), Change::Anew);
    }
}
