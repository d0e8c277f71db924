//! A real container engine: Docker's, over its unix socket.
//!
//! Speaks the newest API version that both sides know, 1.41 (engine 20.10) at least, and asks
//! anew each time the engine comes back: it may have been upgraded. Bodies of requests are
//! rendered by pure functions in `create_body` and `network_body`.

mod calls;
mod create_body;
mod error;
mod network;
mod network_body;
mod observe;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bollard::API_DEFAULT_VERSION;

use super::runtime::RuntimeError;
use error::Call;

/// What bollard's own timer is set to, in seconds: more than any deadline of ours.
const NEVER_S: u64 = 7 * 24 * 3600;
/// The oldest minor version of API 1 that is enough.
const OLDEST_MINOR: usize = 41;

/// A Docker engine on this machine.
#[derive(Debug)]
pub struct Docker {
    /// Without `unix://`.
    socket: String,
    client: ArcSwapOption<Client>,
}

/// A connection and the API version it speaks.
#[derive(Debug)]
struct Client {
    bollard: bollard::Docker,
    /// Minor version of API 1.
    minor: usize,
}

impl Docker {
    /// The engine behind a socket: a path, or `unix://` and a path. Nothing is asked of it yet.
    pub fn new(socket: &str) -> Self {
        Self {
            socket: socket.strip_prefix("unix://").unwrap_or(socket).to_owned(),
            client: ArcSwapOption::empty(),
        }
    }

    /// A client that speaks the engine's version.
    async fn client(&self) -> Result<Arc<Client>, RuntimeError> {
        match self.client.load_full() {
            Some(client) => Ok(client),
            None => self.negotiate().await,
        }
    }

    /// Asks the engine for its version, whatever was agreed before.
    async fn negotiate(&self) -> Result<Arc<Client>, RuntimeError> {
        let failed = |error| error::runtime_error(Call::Other, error);
        let bollard =
            bollard::Docker::connect_with_unix(&self.socket, NEVER_S, API_DEFAULT_VERSION)
                .map_err(failed)?
                .negotiate_version()
                .await
                .map_err(failed)?;
        let version = bollard.client_version();
        if version.major_version == 1 && version.minor_version < OLDEST_MINOR {
            return Err(RuntimeError::Refused(format!(
                "the engine at {} speaks API {}.{}, at least 1.{OLDEST_MINOR} (Docker 20.10) is \
                 needed",
                self.socket, version.major_version, version.minor_version
            )));
        }
        let client = Arc::new(Client {
            bollard,
            minor: version.minor_version,
        });
        self.client.store(Some(client.clone()));
        Ok(client)
    }
}
