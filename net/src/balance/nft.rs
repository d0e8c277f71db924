//! Telling the kernel, in one transaction per change.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::edits::Edits;
use super::element::Edit;
use super::listing::Listing;
use super::places::Places;
use super::render::render;
use super::ruleset::{Change, removal};
use super::subnets::Subnets;
use super::{BalanceWant, Ruleset, TABLE};
use crate::command::{self, CommandError};
use crate::in_words;
use crate::overlay::OverlayWant;

/// What one transaction may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// More edits than these are told in words: a batch must fit in what a socket
/// sends at once.
const EDITS_AT_ONCE: usize = 1000;

/// The packet filter could not be changed or read.
#[derive(Debug, Error)]
pub enum NftError {
    #[error("the packet filter rules were not changed")]
    Command(#[from] CommandError),
    #[error("the kernel did not change the packet filter's elements")]
    Elements(#[source] io::Error),
}

/// What a change of the table came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// An address is no longer a backend of anything.
    pub left: bool,
}

/// Our table in the kernel.
#[derive(Debug, Default)]
pub struct Nft {
    /// What we put there last. `None` before the first time and in doubt.
    put: Option<Put>,
    /// There is no table of ours, not even one of an earlier process.
    removed: bool,
    edits: Edits,
}

/// What is in the kernel.
#[derive(Debug)]
struct Put {
    frame: Ruleset,
    places: Places,
    host_access: bool,
    /// How the kernel printed the chains, once we looked.
    seen: Option<String>,
    /// How often the packet filter had been changed when we knew that all was
    /// as we want it.
    generation: Option<u32>,
}

impl Nft {
    /// Makes the table balance as `balance` says, in one transaction: new
    /// connections see the old rules or the new ones. A backend that is on no
    /// network of `overlay` is left out, so these must be in place.
    pub async fn put(
        &mut self,
        overlay: &OverlayWant,
        balance: &BalanceWant,
    ) -> Result<Outcome, NftError> {
        if overlay.networks.is_empty() && balance.is_empty() {
            return self.rest().await;
        }
        self.removed = false;
        if let Some(before) = self.put.take() {
            match self.change(before, overlay, balance).await {
                Ok((put, outcome)) => {
                    self.put = Some(put);
                    return Ok(outcome);
                }
                // Someone changed the table under us.
                Err(error) => tracing::warn!(%error, "writing the whole table anew"),
            }
        }
        self.put = Some(self.write(overlay, balance).await?);
        Ok(Outcome { left: true })
    }

    /// Balances nothing: then there is no table either.
    async fn rest(&mut self) -> Result<Outcome, NftError> {
        let left = !self.removed;
        if left {
            self.remove().await?;
        }
        Ok(Outcome { left })
    }

    /// Tells the kernel the difference.
    async fn change(
        &mut self,
        mut put: Put,
        overlay: &OverlayWant,
        balance: &BalanceWant,
    ) -> Result<(Put, Outcome), NftError> {
        let change = follow(&mut put.places, overlay, balance);
        let outcome = Outcome { left: change.left };
        put.host_access = balance.host_access;
        let frame = render(overlay, put.host_access, put.places.classes());
        match frame.change_from(&put.frame) {
            Change::None if change.edits.is_empty() => {}
            Change::None if change.edits.len() <= EDITS_AT_ONCE => {
                let applied = self.edits.apply(&change.edits).await;
                let (before, after) = applied.map_err(NftError::Elements)?;
                // Ours is the only change since we knew.
                let alone = put.generation == Some(before) && after == before.wrapping_add(1);
                put.generation = Some(after).filter(|_| alone);
            }
            Change::Anew => {
                put.generation = None;
                put.seen = None;
                run(&replacement(&frame, &put.places)).await?;
            }
            Change::None => {
                put.generation = None;
                run(&spelled(&change.edits)).await?;
            }
            Change::Script(script) => {
                put.generation = None;
                put.seen = None;
                run(&(script + &spelled(&change.edits))).await?;
            }
        }
        put.frame = frame;
        Ok((put, outcome))
    }

    /// Writes the whole table.
    async fn write(
        &mut self,
        overlay: &OverlayWant,
        balance: &BalanceWant,
    ) -> Result<Put, NftError> {
        let mut places = Places::default();
        follow(&mut places, overlay, balance);
        let frame = render(overlay, balance.host_access, places.classes());
        run(&replacement(&frame, &places)).await?;
        Ok(Put {
            frame,
            places,
            host_access: balance.host_access,
            seen: None,
            generation: None,
        })
    }

    /// Where the kernel does not hold what was put there: what to do about it,
    /// in words.
    pub async fn compare(&mut self) -> Vec<String> {
        let Some(put) = &mut self.put else {
            return Vec::new();
        };
        let now = self.edits.generation().await.ok();
        if now.is_some() && put.generation == now {
            return Vec::new();
        }
        let text = match list().await {
            Ok(text) => text,
            Err(error) => {
                let why = in_words(&error);
                return vec![format!("write the table {TABLE} anew: {why}")];
            }
        };
        let listing = Listing::read(&text);
        let mut found = listing.differences(&put.frame, &put.places.elements());
        let is_other = |seen: &String| *seen != listing.chains;
        if found.is_empty() && put.seen.as_ref().is_some_and(is_other) {
            found.push("restore the rules: they read otherwise than when they were put".to_owned());
        }
        if found.is_empty() {
            put.seen = Some(listing.chains);
            put.generation = now;
        }
        found
    }

    /// Puts what was put there again if the kernel no longer holds it.
    pub async fn repair(&mut self) -> Result<(), NftError> {
        let is_whole = self.compare().await.is_empty();
        let Some(put) = self.put.as_mut().filter(|_| !is_whole) else {
            return Ok(());
        };
        run(&replacement(&put.frame, &put.places)).await?;
        put.seen = None;
        put.generation = None;
        self.look().await;
        Ok(())
    }

    /// Takes note of how the kernel prints the rules that were put there: for
    /// idle times, once after each change of them. May be dropped before it is
    /// done.
    pub async fn look(&mut self) {
        let Some(put) = &mut self.put else {
            return;
        };
        let before = self.edits.generation().await.ok();
        let listing = list().await.ok().map(|text| Listing::read(&text));
        let elements = put.places.elements();
        let whole = listing
            .as_ref()
            .is_some_and(|listing| listing.differences(&put.frame, &elements).is_empty());
        put.generation = before.filter(|_| whole);
        // If it is not whole, the next comparison will see to it.
        put.seen = Some(listing.map(|listing| listing.chains).unwrap_or_default());
    }

    /// Whether [`look`](Self::look) has anything to see.
    pub fn is_unseen(&self) -> bool {
        self.put.as_ref().is_some_and(|put| put.seen.is_none())
    }

    /// Removes the table.
    pub async fn remove(&mut self) -> Result<(), NftError> {
        self.put = None;
        run(&removal()).await?;
        self.removed = true;
        Ok(())
    }
}

fn follow(
    places: &mut Places,
    overlay: &OverlayWant,
    balance: &BalanceWant,
) -> super::places::Change {
    let networks = &overlay.networks;
    let shown = networks.iter().flat_map(|it| it.vips.iter().copied());
    places.follow(Subnets::of(networks), shown.collect(), balance)
}

fn replacement(frame: &Ruleset, places: &Places) -> String {
    let edits: Vec<Edit> = places.elements().into_iter().map(Edit::Add).collect();
    frame.replacement() + &spelled(&edits)
}

/// Edits in the words of `nft`: what goes before what comes, set by set.
fn spelled(edits: &[Edit]) -> String {
    use std::collections::BTreeMap;
    let mut gone: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut come: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for edit in edits {
        let element = edit.element();
        let mut text = element.key();
        if let Edit::Delete(_) = edit {
            gone.entry(element.set()).or_default().push(text);
            continue;
        }
        if let Some(comment) = element.comment() {
            text.push_str(&format!(" comment \"{comment}\""));
        }
        if let Some(value) = element.value() {
            text.push_str(&format!(" : {value}"));
        }
        come.entry(element.set()).or_default().push(text);
    }
    let mut script = String::new();
    for (verb, sets) in [("delete", gone), ("add", come)] {
        for (set, elements) in sets {
            let listed = elements.join(", ");
            script.push_str(&format!("{verb} element ip {TABLE} {set} {{ {listed} }}\n"));
        }
    }
    script
}

async fn run(script: &str) -> Result<String, NftError> {
    Ok(command::run("nft", &["-f", "-"], script, DEADLINE).await?)
}

async fn list() -> Result<String, NftError> {
    let arguments = ["-nn", "list", "table", "ip", TABLE];
    Ok(command::run("nft", &arguments, "", DEADLINE).await?)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::element::{Class, Element};
    use super::*;

    #[test]
    fn edits_are_spelled_set_by_set() {
        let address = Ipv4Addr::new(10, 0, 1, 100);
        let service = |places| Element::Service {
            class: Class {
                sticky: false,
                places,
            },
            address,
            comment: "web".to_owned(),
        };
        let backend = |last| Element::Backend {
            service: address,
            place: 0,
            address: Ipv4Addr::new(10, 0, 1, last),
        };
        let edits = [
            Edit::Delete(service(2)),
            Edit::Add(service(1)),
            Edit::Delete(backend(11)),
            Edit::Add(backend(12)),
        ];
        assert_eq!(
            spelled(&edits),
            "delete element ip swarmr services_2 { 10.0.1.100 }\n\
             delete element ip swarmr backends { 10.0.1.100 . 0 }\n\
             add element ip swarmr services_1 { 10.0.1.100 comment \"web\" }\n\
             add element ip swarmr backends { 10.0.1.100 . 0 : 10.0.1.12 }\n"
        );
    }
}
