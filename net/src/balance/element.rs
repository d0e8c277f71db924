//! What the balancer changes while it runs: elements of a few sets and maps,
//! in the words of `nft` and in the bytes that the kernel keeps. Pure.

use std::fmt;
use std::net::Ipv4Addr;

use super::Protocol;

/// How a number of places is chosen from. Services are sorted into sets by it,
/// since a rule says its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Class {
    /// The same client comes to the same place.
    pub(super) sticky: bool,
    pub(super) places: u32,
}

/// A set or map of the table whose elements change one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    /// Every service address.
    VipAddresses,
    /// Service addresses of one class.
    Services(Class),
    /// From a service address and a place to a container.
    Backends,
    /// Every published port.
    Held,
    /// Published ports of one class.
    Ports(Class),
    /// From a published port and a place to a container and its port.
    PortBackends,
    /// Containers that may be chosen for their own call.
    OwnCalls,
}

/// One element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    VipAddress(Ipv4Addr),
    Service {
        class: Class,
        address: Ipv4Addr,
        comment: String,
    },
    Backend {
        service: Ipv4Addr,
        place: u32,
        address: Ipv4Addr,
    },
    Held(Protocol, u16),
    Port {
        class: Class,
        protocol: Protocol,
        port: u16,
        comment: String,
    },
    PortBackend {
        protocol: Protocol,
        port: u16,
        place: u32,
        address: Ipv4Addr,
        target: u16,
    },
    OwnCall(Ipv4Addr),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    Delete(Element),
    Add(Element),
}

impl Set {
    /// As after the set's name where it is declared.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::VipAddresses | Self::Services(_) => "type ipv4_addr",
            Self::Backends => "typeof ip daddr . numgen inc mod 2 : ip daddr",
            Self::Held | Self::Ports(_) => "type inet_proto . inet_service",
            Self::PortBackends => {
                "typeof meta l4proto . th dport . numgen inc mod 2 : ip daddr . th dport"
            }
            Self::OwnCalls => "type ipv4_addr . ipv4_addr",
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VipAddresses => f.write_str("vip_addresses"),
            Self::Services(class) => write!(f, "services_{class}"),
            Self::Backends => f.write_str("backends"),
            Self::Held => f.write_str("held"),
            Self::Ports(class) => write!(f, "ports_{class}"),
            Self::PortBackends => f.write_str("port_backends"),
            Self::OwnCalls => f.write_str("self"),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sticky = if self.sticky { "sticky_" } else { "" };
        write!(f, "{sticky}{}", self.places)
    }
}

impl Element {
    pub(super) fn set(&self) -> Set {
        match self {
            Self::VipAddress(_) => Set::VipAddresses,
            Self::Service { class, .. } => Set::Services(*class),
            Self::Backend { .. } => Set::Backends,
            Self::Held(..) => Set::Held,
            Self::Port { class, .. } => Set::Ports(*class),
            Self::PortBackend { .. } => Set::PortBackends,
            Self::OwnCall(_) => Set::OwnCalls,
        }
    }

    /// As `nft -nn` writes it.
    pub(super) fn key(&self) -> String {
        match self {
            Self::VipAddress(address) | Self::Service { address, .. } => address.to_string(),
            Self::Backend { service, place, .. } => format!("{service} . {place}"),
            Self::Held(protocol, port) | Self::Port { protocol, port, .. } => {
                format!("{} . {port}", protocol.number())
            }
            Self::PortBackend {
                protocol,
                port,
                place,
                ..
            } => format!("{} . {port} . {place}", protocol.number()),
            Self::OwnCall(address) => format!("{address} . {address}"),
        }
    }

    /// The same for what a key leads to, in a map.
    pub(super) fn value(&self) -> Option<String> {
        match self {
            Self::Backend { address, .. } => Some(address.to_string()),
            Self::PortBackend {
                address, target, ..
            } => Some(format!("{address} . {target}")),
            _ => None,
        }
    }

    /// Shown beside the element.
    pub(super) fn comment(&self) -> Option<&str> {
        let (Self::Service { comment, .. } | Self::Port { comment, .. }) = self else {
            return None;
        };
        (!comment.is_empty()).then_some(comment)
    }

    /// The key as the kernel keeps it: each part begins at a multiple of four.
    pub(super) fn key_bytes(&self) -> Vec<u8> {
        let port = |protocol: &Protocol, port: &u16| {
            let [high, low] = port.to_be_bytes();
            vec![protocol.number(), 0, 0, 0, high, low, 0, 0]
        };
        match self {
            Self::VipAddress(address) | Self::Service { address, .. } => address.octets().to_vec(),
            Self::Backend { service, place, .. } => {
                // The kernel counts in its own byte order.
                [service.octets(), place.to_ne_bytes()].concat()
            }
            Self::Held(protocol, number) => port(protocol, number),
            Self::Port {
                protocol,
                port: number,
                ..
            } => port(protocol, number),
            Self::PortBackend {
                protocol,
                port: number,
                place,
                ..
            } => {
                let mut bytes = port(protocol, number);
                bytes.extend(place.to_ne_bytes());
                bytes
            }
            Self::OwnCall(address) => [address.octets(), address.octets()].concat(),
        }
    }

    /// What the key leads to, in the same form.
    pub(super) fn value_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Backend { address, .. } => Some(address.octets().to_vec()),
            Self::PortBackend {
                address, target, ..
            } => {
                let [high, low] = target.to_be_bytes();
                let mut bytes = address.octets().to_vec();
                bytes.extend([high, low, 0, 0]);
                Some(bytes)
            }
            _ => None,
        }
    }
}

impl Edit {
    pub(super) fn element(&self) -> &Element {
        match self {
            Self::Delete(element) | Self::Add(element) => element,
        }
    }
}
