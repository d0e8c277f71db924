//! Telling the kernel, in one transaction per change.

use std::time::Duration;

use thiserror::Error;

use super::ruleset::removal;
use super::{Ruleset, TABLE};
use crate::command::{self, CommandError};

/// What one transaction may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The packet filter could not be changed or read.
#[derive(Debug, Error)]
#[error("the packet filter rules were not changed")]
pub struct NftError(#[from] CommandError);

/// Our table in the kernel.
#[derive(Debug, Default)]
pub struct Nft {
    /// What we put there last. `None` before the first time and in doubt.
    put: Option<Ruleset>,
    /// How the kernel printed it, once we looked.
    seen: Option<String>,
    /// Whether we tried to look since the last change.
    looked: bool,
}

impl Nft {
    /// Makes the table hold `want` in one transaction: new connections see the
    /// old rules or the new ones, never a mixture. Returns whether there was
    /// anything to do.
    pub async fn put(&mut self, want: &Ruleset) -> Result<bool, NftError> {
        if let Some(before) = self.put.take() {
            let Some(change) = want.change_from(&before) else {
                self.put = Some(before);
                return Ok(false);
            };
            match run(&change).await {
                Ok(_) => {
                    self.settle(want);
                    return Ok(true);
                }
                // Someone changed the table under us.
                Err(NftError(error)) => tracing::warn!(%error, "writing the whole table anew"),
            }
        }
        run(&want.replacement()).await?;
        self.settle(want);
        Ok(true)
    }

    /// Looks whether the kernel still holds what was put there, and puts it
    /// there again if not. Returns whether it had to.
    pub async fn repair(&mut self) -> Result<bool, NftError> {
        let Some(want) = self.put.clone() else {
            return Ok(false);
        };
        let seen = list().await.ok();
        match &self.seen {
            Some(before) if seen.as_ref() == Some(before) => return Ok(false),
            Some(_) => {}
            // First look since a change: no text to compare with, but the
            // parts can be counted.
            None => {
                let whole = seen.as_ref().is_some_and(|text| is_whole(text, &want));
                if whole {
                    self.seen = seen;
                    return Ok(false);
                }
            }
        }
        tracing::warn!("the packet filter rules were changed by someone else; restoring them");
        self.put = None;
        self.put(&want).await?;
        self.look().await;
        Ok(true)
    }

    /// Takes note of how the kernel prints what was put there: for idle times,
    /// once after each change. May be dropped before it is done.
    pub async fn look(&mut self) {
        self.seen = list().await.ok();
        self.looked = true;
    }

    /// Whether [`look`](Self::look) has anything to see.
    pub fn is_unseen(&self) -> bool {
        self.put.is_some() && !self.looked
    }

    /// Removes the table.
    pub async fn remove(&mut self) -> Result<(), NftError> {
        self.put = None;
        self.seen = None;
        run(&removal()).await?;
        Ok(())
    }

    fn settle(&mut self, want: &Ruleset) {
        self.put = Some(want.clone());
        self.seen = None;
        self.looked = false;
    }
}

async fn run(script: &str) -> Result<String, NftError> {
    Ok(command::run("nft", &["-f", "-"], script, DEADLINE).await?)
}

async fn list() -> Result<String, NftError> {
    let arguments = ["-nn", "list", "table", "ip", TABLE];
    Ok(command::run("nft", &arguments, "", DEADLINE).await?)
}

/// Whether a listing has as many chains, sets and rules as it should.
fn is_whole(listing: &str, want: &Ruleset) -> bool {
    let mut lines: usize = 0;
    let mut blocks: usize = 0;
    let mut in_chain = false;
    for line in listing.lines().map(str::trim) {
        let opens = line.ends_with('{')
            && ["chain ", "set ", "map "]
                .iter()
                .any(|it| line.starts_with(it));
        if opens {
            blocks += 1;
            in_chain = line.starts_with("chain ");
        } else if line == "}" {
            in_chain = false;
        } else if in_chain && !line.starts_with("type ") {
            lines += 1;
        }
    }
    let rules: usize = want.chains.values().map(|chain| chain.rules.len()).sum();
    blocks == want.chains.len() + want.collections.len() && lines == rules
}

#[cfg(test)]
mod tests {
    use super::super::Chain;
    use super::*;

    fn want() -> Ruleset {
        let mut want = Ruleset::default();
        let rules = ["accept".to_owned(), "drop".to_owned()];
        want.chains.insert("a".to_owned(), Chain::plain(rules));
        want
    }

    #[test]
    fn a_listing_with_a_rule_less_is_not_whole() {
        let whole = "table ip swarmr {\n\tchain a {\n\t\taccept\n\t\tdrop\n\t}\n}\n";
        assert!(is_whole(whole, &want()));
        assert!(!is_whole(&whole.replace("\t\tdrop\n", ""), &want()));
        assert!(!is_whole("table ip swarmr {\n}\n", &want()));
    }
}
