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

    /// Whether as many chains, sets and rules are there as in `frame`, and all
    /// of `elements`.
    pub(super) fn is_like(&self, frame: &Ruleset, elements: &[Element]) -> bool {
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
        let none = BTreeSet::new();
        let sets = frame.collections.iter().all(|(name, collection)| {
            let have = self.elements.get(name).unwrap_or(&none);
            match collection.elements.len() {
                0 => have == wanted.get(name).unwrap_or(&none),
                count => have.len() == count,
            }
        });
        self.rules == rules && self.blocks == blocks && sets
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
        assert!(listing.is_like(&frame(), &elements(&[100, 101])));
        assert!(!listing.is_like(&frame(), &elements(&[100])));
        assert!(!listing.is_like(&frame(), &elements(&[100, 102])));
        let shorter = Listing::read(&PRINTED.replace("\t\tdrop\n", ""));
        assert!(!shorter.is_like(&frame(), &elements(&[100, 101])));
        assert_ne!(shorter.chains, listing.chains);
        let nothing = Listing::read("table ip swarmr {\n}\n");
        assert!(!nothing.is_like(&frame(), &elements(&[])));
    }

    #[test]
    fn an_elements_value_stands_behind_its_comment() {
        assert_eq!(
            split("elements = { 6 . 80 . 0 comment \"x\" : 10.0.0.1 . 80 } "),
            BTreeSet::from(["6 . 80 . 0 : 10.0.0.1 . 80".to_owned()])
        );
    }
}
