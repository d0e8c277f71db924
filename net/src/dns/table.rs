//! What the resolver knows: plain data, replaced as a whole.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::overlay::Subnet;

/// Every name of every overlay on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub networks: Vec<DnsNetwork>,
    /// Address of each container of this host (one entry for each of its
    /// addresses) and the ids of all networks that the container is on. A
    /// container that is not listed yet is taken to be on the network that its
    /// address lies in.
    pub callers: BTreeMap<Ipv4Addr, Vec<String>>,
}

/// The names on one overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsNetwork {
    pub id: String,
    pub subnet: Subnet,
    /// Where this network's containers reach the resolver.
    pub gateway: Ipv4Addr,
    /// Containers that are on internal networks only get no outside names.
    pub internal: bool,
    /// Name, in any case, and the addresses it stands for. A name without
    /// addresses is known and answered as empty.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// The name that an address is shown by.
    pub pointers: BTreeMap<IpAddr, String>,
    /// Names such as `_8080._tcp.web` and where that is served (SRV, RFC 2782).
    #[serde(default)]
    pub served: BTreeMap<String, Vec<Served>>,
}

/// One place where a service is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// A name with an address.
    pub target: String,
    pub port: u16,
}
