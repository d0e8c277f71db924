//! What stands between the data path and what was wanted of it.

use thiserror::Error;

use crate::balance::{FirewallError, HoldProblem, NftError, Protocol};
use crate::dataplane::RemoteError;
use crate::dns::ListenProblem;
use crate::in_words;
use crate::overlay::OverlayProblem;

/// One thing that is not as wanted. The rest was done.
#[derive(Debug, Error)]
pub enum Problem {
    #[error(transparent)]
    Overlay(#[from] OverlayProblem),
    #[error(transparent)]
    Rules(#[from] NftError),
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// The port is not published on this host.
    #[error(transparent)]
    Hold(#[from] HoldProblem),
    /// The port is not published on this host.
    #[error("port {port}/{protocol} carries the overlays themselves")]
    Reserved { protocol: Protocol, port: u16 },
    #[error(transparent)]
    Names(#[from] ListenProblem),
    /// Names and published ports are as they were.
    #[error(transparent)]
    Plane(#[from] RemoteError),
}

impl Problem {
    /// The problem with its causes, in one line.
    pub fn explain(&self) -> String {
        in_words(self)
    }
}
