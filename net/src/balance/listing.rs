//! What `nft` prints of our table, compared with what should be there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Ruleset;
use super::element::Element;

/// A listing, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// All chains as they were printed.
    pub(super) chains: String,
    blocks: usize,
    rules: usize,
    /// Of each set or map: keys with their values, comments left out.
    elements: BTreeMap<String, BTreeSet<String>>,
}

impl Listing {
    pub(super) fn read(text: &str) -> Self {
        let mut listing = Self::default();
        let mut chain = false;
        let mut set = None;
        let mut elements = String::new();
        for line in text.lines() {
            let words = line.trim();
            let named = |kind: &str| words.strip_prefix(kind)?.strip_suffix(" {");
            if let Some(name) = named("set ").or_else(|| named("map ")) {
                listing.blocks += 1;
                set = Some(name.to_owned());
            } else if named("chain ").is_some() {
                listing.blocks += 1;
                chain = true;
            } else if words == "}" {
                if let Some(name) = set.take() {
                    listing.elements.insert(name, split(&elements));
                    elements.clear();
                }
                chain = false;
            } else if chain && !words.starts_with("type ") {
                listing.rules += 1;
            } else if set.is_some() && (!elements.is_empty() || words.starts_with("elements = {")) {
                elements.push_str(words);
                elements.push(' ');
            }
            if chain {
                listing.chains.push_str(line);
                listing.chains.push('\n');
            }
        }
        listing
    }

    /// Where it has not as many chains, sets and rules as `frame`, or not just
    /// `elements`: what to do about it, in words.
    pub(super) fn differences(&self, frame: &Ruleset, elements: &[Element]) -> Vec<String> {
        let rules: usize = frame.chains.values().map(|chain| chain.rules.len()).sum();
        let blocks = frame.chains.len() + frame.collections.len();
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for element in elements {
            let mut text = element.key();
            if let Some(value) = element.value() {
                text.push_str(" : ");
                text.push_str(&value);
            }
            let set = element.set().to_string();
            wanted.entry(set).or_default().insert(text);
        }
        let mut found = Vec::new();
        for (kind, have, want) in [
            ("chains, sets and maps", self.blocks, blocks),
            ("rules", self.rules, rules),
        ] {
            if have != want {
                found.push(format!("restore the {kind}: {have} instead of {want}"));
            }
        }
        let none = BTreeSet::new();
        for (name, collection) in &frame.collections {
            let have = self.elements.get(name).unwrap_or(&none);
            let want = wanted.get(name).unwrap_or(&none);
            let (lacking, strange) = match collection.elements.len() {
                0 => (want.difference(have).count(), have.difference(want).count()),
                count => (
                    count.saturating_sub(have.len()),
                    have.len().saturating_sub(count),
                ),
            };
            if (lacking, strange) != (0, 0) {
                found.push(format!(
                    "restore {name}: {lacking} elements are missing, {strange} are not ours"
                ));
            }
        }
        found
    }
}

/// `elements = { 10.0.0.9 comment "web", 10.0.0.8 : 10.0.0.1 }`, taken apart.
fn split(elements: &str) -> BTreeSet<String> {
    let inner = elements.trim().trim_start_matches("elements = {");
    let inner = inner.trim_end_matches('}');
    let each = inner.split(',').map(|element| {
        let (key, rest) = element.split_once(" comment \"").unwrap_or((element, ""));
        let value = rest.split_once('"').map_or("", |(_, value)| value);
        format!("{}{value}", key.trim()).trim().to_owned()
    });
    each.filter(|element| !element.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::{Chain, Collection};
    use super::*;

    const PRINTED: &str = "table ip swarmr {\n\
        \tset vip_addresses {\n\t\ttype ipv4_addr\n\
        \t\telements = { 10.0.1.100 comment \"web\",\n\t\t\t     10.0.1.101 }\n\t}\n\n\
        \tchain a {\n\t\taccept\n\t\tdrop\n\t}\n}\n";

    fn frame() -> Ruleset {
        let mut frame = Ruleset::default();
        let rules = ["accept".to_owned(), "drop".to_owned()];
        frame.chains.insert("a".to_owned(), Chain::plain(rules));
        let set = Collection::new("type ipv4_addr");
        frame.collections.insert("vip_addresses".to_owned(), set);
        frame
    }

    fn elements(lasts: &[u8]) -> Vec<Element> {
        let address = |last: &u8| Element::VipAddress(Ipv4Addr::new(10, 0, 1, *last));
        lasts.iter().map(address).collect()
    }

    #[test]
    fn a_listing_with_a_rule_or_an_element_less_is_not_like_it() {
        let listing = Listing::read(PRINTED);
        let differences = |lasts: &[u8]| listing.differences(&frame(), &elements(lasts));
        assert_eq!(differences(&[100, 101]), [""; 0]);
        let missing = |set: &str, lacking: u8, strange: u8| {
            format!("restore {set}: {lacking} elements are missing, {strange} are not ours")
        };
        let set = elements(&[100])[0].set().to_string();
        assert_eq!(differences(&[100]), [missing(&set, 0, 1)]);
        assert_eq!(differences(&[100, 102]), [missing(&set, 1, 1)]);
        let shorter = Listing::read(&PRINTED.replace("\t\tdrop\n", ""));
        let found = shorter.differences(&frame(), &elements(&[100, 101]));
        assert!(found[0].starts_with("restore the rules: "), "{found:?}");
        assert_ne!(shorter.chains, listing.chains);
        let nothing = Listing::read("table ip swarmr {\n}\n");
        assert!(!nothing.differences(&frame(), &elements(&[])).is_empty());
    }

    #[test]
    fn an_elements_value_stands_behind_its_comment() {
        assert_eq!(
            split("elements = { 6 . 80 . 0 comment \"x\" : 10.0.0.1 . 80 } "),
            BTreeSet::from(["6 . 80 . 0 : 10.0.0.1 . 80".to_owned()])
        );
    }
}
