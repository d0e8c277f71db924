//! What `--X-rm` and `--X-add` do to the lists of a spec. Pure. Removing comes first, so that what
//! is removed and added by one command is replaced.

use crate::spec::parse::PortToRemove;
use crate::spec::service::PortConfig;

/// Takes out every item whose key is in `remove`, then puts in each of `add`, which replaces an
/// item of the same key where it stands.
pub(super) fn by_key<T: Clone, K: PartialEq>(
    items: &mut Vec<T>,
    remove: &[K],
    add: &[T],
    key: impl Fn(&T) -> K,
) {
    items.retain(|item| !remove.contains(&key(item)));
    for new in add {
        match items.iter_mut().find(|item| key(item) == key(new)) {
            Some(place) => place.clone_from(new),
            None => items.push(new.clone()),
        }
    }
}

/// The name of `NAME=VALUE`.
pub(super) fn env_name(entry: &str) -> String {
    entry.split('=').next().unwrap_or(entry).to_owned()
}

/// Ports are removed by target, protocol and, where it is named, mode; a new one that publishes
/// the same port replaces the old one.
pub(super) fn ports(ports: &mut Vec<PortConfig>, remove: &[PortToRemove], add: &[PortConfig]) {
    ports.retain(|port| {
        !remove.iter().any(|gone| {
            gone.target_port == port.target_port
                && gone.protocol == port.protocol
                && gone
                    .publish_mode
                    .is_none_or(|mode| mode == port.publish_mode)
        })
    });
    for new in add {
        let same = |port: &PortConfig| {
            port.protocol == new.protocol
                && port.publish_mode == new.publish_mode
                && if new.published_port == 0 {
                    port.published_port == 0 && port.target_port == new.target_port
                } else {
                    port.published_port == new.published_port
                }
        };
        match ports.iter_mut().find(|port| same(port)) {
            Some(place) => place.clone_from(new),
            None => ports.push(new.clone()),
        }
    }
    ports.sort_by_key(|port| port.published_port);
}

/// Adding a capability that was dropped only ends the dropping, and the other way round; adding
/// wins where one command does both.
pub(super) fn capabilities(
    added: &mut Vec<String>,
    dropped: &mut Vec<String>,
    add: &[String],
    drop: &[String],
) {
    if add.iter().any(|name| name == "RESET") {
        added.clear();
    }
    if drop.iter().any(|name| name == "RESET") {
        dropped.clear();
    }
    let put = |name: &String, into: &mut Vec<String>, out_of: &mut Vec<String>| {
        if name == "RESET" {
            return;
        }
        if let Some(place) = out_of.iter().position(|other| other == name) {
            out_of.remove(place);
        } else if !into.contains(name) && !into.iter().any(|other| other == "ALL") {
            into.push(name.clone());
        }
    };
    for name in drop.iter().filter(|name| !add.contains(name)) {
        put(name, dropped, added);
    }
    for name in add {
        put(name, added, dropped);
    }
    for list in [added, dropped] {
        if list.iter().any(|name| name == "ALL") {
            *list = vec!["ALL".to_owned()];
        }
        list.sort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn items_are_removed_then_added_and_keep_their_place() {
        let mut env = texts(&["A=1", "B=2", "C=3"]);
        by_key(
            &mut env,
            &texts(&["A", "Z"]),
            &texts(&["B=9", "A=7", "D"]),
            |entry| env_name(entry),
        );
        assert_eq!(env, ["B=9", "C=3", "A=7", "D"]);
    }

    #[test]
    fn ports_follow_the_table() {
        let of = |words: &[&str]| -> Vec<PortConfig> {
            words
                .iter()
                .flat_map(|word| parse::port(word).unwrap().0)
                .collect()
        };
        // existing, removed, added, outcome
        type Case = (
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
        );
        let table: &[Case] = &[
            (&["8080:80"], &["80"], &[], &[]),
            (&["8080:80"], &["80/udp"], &[], &["8080:80"]),
            (&["8080:80"], &[], &["8080:80"], &["8080:80"]),
            (&["8080:80"], &[], &["8080:81"], &["8080:81"]),
            (&["8080:80"], &[], &["8081:80"], &["8080:80", "8081:80"]),
            (&["8080:80"], &["80"], &["9090:80"], &["9090:80"]),
            (&["80"], &[], &["80"], &["80"]),
            (
                &["published=8080,target=80,mode=host", "9090:80"],
                &["target=80,mode=host"],
                &[],
                &["9090:80"],
            ),
            (&["published=8080,target=80,mode=host"], &["80"], &[], &[]),
            (&["9000:90"], &[], &["8000:80"], &["8000:80", "9000:90"]),
        ];
        for (existing, removed, added, want) in table {
            let mut got = of(existing);
            let removed: Vec<_> = removed
                .iter()
                .map(|word| parse::port_to_remove(word).unwrap())
                .collect();
            ports(&mut got, &removed, &of(added));
            assert_eq!(got, of(want), "{existing:?} -{removed:?} +{added:?}");
        }
    }

    #[test]
    fn capabilities_follow_the_table() {
        // added, dropped, add, drop, added after, dropped after
        let table: &[[&[&str]; 6]] = &[
            [&[], &[], &["A"], &["B"], &["A"], &["B"]],
            [&[], &["A"], &["A"], &[], &[], &[]],
            [&["A"], &[], &[], &["A"], &[], &[]],
            [&[], &[], &["A"], &["A"], &["A"], &[]],
            [&["ALL"], &[], &["A"], &[], &["ALL"], &[]],
            [&["A"], &[], &["ALL"], &[], &["ALL"], &[]],
            [&["A", "B"], &["C"], &["RESET"], &[], &[], &["C"]],
            [&["A"], &["C"], &["D", "RESET"], &[], &["D"], &["C"]],
            [&["A"], &[], &["A"], &[], &["A"], &[]],
        ];
        for [added, dropped, add, drop, want_added, want_dropped] in table {
            let (mut got_added, mut got_dropped) = (texts(added), texts(dropped));
            capabilities(&mut got_added, &mut got_dropped, &texts(add), &texts(drop));
            assert_eq!(got_added, texts(want_added), "{add:?} {drop:?}");
            assert_eq!(got_dropped, texts(want_dropped), "{add:?} {drop:?}");
        }
    }
}
