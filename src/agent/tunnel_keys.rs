//! This node's tunnel keys: made here, renewed in time, kept on disk. The secret halves leave the
//! node never.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarmr_net::tunnel::PrivateKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::store::Store;
use crate::clock::Clock;
use crate::spec::{Nanos, Timestamp};
use crate::state::assignment::Assignment;
use crate::state::node::NodeDescription;
use crate::state::tunnel::{TunnelEnd, TunnelKey};

/// How long a key is the newest. Keys of sessions, which encrypt packets, change every two minutes.
const LIFETIME: Nanos = Nanos::from_secs(24 * 3600);
/// How long the former one is good for beside it: for nodes to hear of the new one.
const OVERLAP: Nanos = Nanos::from_secs(3600);
/// Between two looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The keys of one node, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct TunnelKeys(Vec<KeptKey>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptKey {
    key: PrivateKey,
    since: Timestamp,
}

impl TunnelKeys {
    /// What they should be now. `known` are those that the managers know: nothing is renewed and
    /// nothing dropped before they know the newest, for without them no other node does.
    fn at(&self, now: Timestamp, known: &[TunnelKey], fresh: impl FnOnce() -> PrivateKey) -> Self {
        let mut keys = self.0.clone();
        let made = |keys: &mut Vec<KeptKey>| {
            keys.insert(
                0,
                KeptKey {
                    key: fresh(),
                    since: now,
                },
            );
        };
        let Some(newest) = keys.first() else {
            made(&mut keys);
            return Self(keys);
        };
        if !known.contains(&public(&newest.key)) {
            return Self(keys);
        }
        if now >= newest.since + LIFETIME {
            keys.truncate(1);
            made(&mut keys);
        } else if now >= newest.since + OVERLAP {
            keys.truncate(1);
        }
        Self(keys)
    }

    /// The secret halves.
    pub(super) fn secrets(&self) -> Vec<PrivateKey> {
        self.0.iter().map(|kept| kept.key.clone()).collect()
    }

    /// What others may know.
    pub(super) fn end(&self, port: u16) -> TunnelEnd {
        TunnelEnd {
            port,
            keys: self.0.iter().map(|kept| public(&kept.key)).collect(),
        }
    }
}

fn public(key: &PrivateKey) -> TunnelKey {
    let text = key.public().to_string();
    TunnelKey::try_from(text).expect("both are 64 hexadecimal digits")
}

/// Renews the keys in time.
pub(super) struct KeyKeeper {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) port: u16,
    pub(super) assignment: watch::Receiver<Option<Arc<Assignment>>>,
    pub(super) keys: watch::Sender<Arc<TunnelKeys>>,
    /// What this node says of itself: the public halves are a part of it.
    pub(super) machine: watch::Sender<NodeDescription>,
}

impl KeyKeeper {
    /// The keys that were kept; new ones where there are none.
    pub(super) fn first(store: &Store, now: Timestamp) -> TunnelKeys {
        let kept: TunnelKeys = store.read_keys().unwrap_or_default();
        let keys = kept.at(now, &[], PrivateKey::generate);
        if keys != kept {
            store.write_keys(&keys);
        }
        keys
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.assignment.changed() => {}
                _ = look.tick() => {}
            }
            self.renew().await;
        }
    }

    async fn renew(&mut self) {
        let before = self.keys.borrow().clone();
        let known = {
            let assignment = self.assignment.borrow_and_update();
            let tunnel = assignment.as_ref().and_then(|it| it.tunnel.as_ref());
            tunnel.map_or_else(Vec::new, |tunnel| tunnel.keys.clone())
        };
        let keys = before.at(self.clock.now(), &known, PrivateKey::generate);
        if keys == *before {
            return;
        }
        let keys = Arc::new(keys);
        let (store, kept) = (self.store.clone(), keys.clone());
        // On disk before anybody hears of it: a restart must not lose what others use.
        let written = tokio::task::spawn_blocking(move || store.write_keys(&kept)).await;
        if let Err(error) = written {
            tracing::error!(%error, "the tunnel's keys were not written");
        }
        tracing::info!("the tunnel's keys have changed");
        let end = keys.end(self.port);
        self.keys.send_replace(keys);
        self.machine
            .send_modify(|machine| machine.tunnel = Some(end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PrivateKey {
        format!("{number:064x}").parse().unwrap()
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::default() + Nanos::from_secs(hours * 3600)
    }

    fn known(keys: &TunnelKeys) -> Vec<TunnelKey> {
        keys.end(0).keys
    }

    #[test]
    fn keys_are_renewed_and_the_former_one_stays_for_a_while() {
        let first = TunnelKeys::default().at(at(0), &[], || key(1));
        assert_eq!(first.secrets(), [key(1)]);
        let told = known(&first);
        assert_eq!(first.at(at(23), &told, || key(2)), first);
        let second = first.at(at(24), &told, || key(2));
        assert_eq!(second.secrets(), [key(2), key(1)]);
        assert_eq!(second.at(at(24), &known(&second), || key(3)), second);
        let alone = second.at(at(25), &known(&second), || key(3));
        assert_eq!(alone.secrets(), [key(2)]);
        let third = alone.at(at(49), &known(&alone), || key(3));
        assert_eq!(third.secrets(), [key(3), key(2)]);
    }

    #[test]
    fn nothing_changes_before_the_managers_know_the_newest() {
        let first = TunnelKeys::default().at(at(0), &[], || key(1));
        assert_eq!(first.at(at(99), &[], || key(2)), first);
        let told = known(&first);
        let second = first.at(at(24), &told, || key(2));
        assert_eq!(second.at(at(99), &told, || key(3)), second);
    }
}
