//! Where a node is dialled: an address, or a name to be resolved each time.

use std::fmt;
use std::net::SocketAddr;

/// `host:port`, where the host is an IPv4 address, an IPv6 address in brackets,
/// or a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address(String);

impl Address {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// All addresses that it stands for; names are looked up by the system.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = self.0.parse() {
            return Ok(vec![address]);
        }
        let found: Vec<SocketAddr> = tokio::net::lookup_host(&self.0)
            .await
            .map_err(|error| format!("the name cannot be resolved: {error}"))?
            .collect();
        if found.is_empty() {
            return Err("the name has no address".to_owned());
        }
        Ok(found)
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
