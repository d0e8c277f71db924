//! From what an operator writes (`eth0`, `10.0.0.1:2377`, nothing) to addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Docker's port for the cluster; ours is UDP.
pub(crate) const DEFAULT_PORT: u16 = 2377;

/// An interface and one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

/// Why a text gives no address: what, got, allowed, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("{flag}: {got:?} is neither an address nor an interface of this machine; it has {has}")]
    Unknown {
        flag: &'static str,
        got: String,
        has: String,
    },
    #[error("{flag}: {got:?} has no valid port; want 1 to 65535")]
    Port { flag: &'static str, got: String },
    #[error(
        "{flag} must be given: this machine has {count} addresses that others could dial ({has}), and none was chosen"
    )]
    Ambiguous {
        flag: &'static str,
        count: usize,
        has: String,
    },
    #[error(
        "{flag}: {got} is no address that others could dial; give one of this machine's: {has}"
    )]
    Unspecified {
        flag: &'static str,
        got: String,
        has: String,
    },
    #[error("{flag}: {got} is not an IPv4 address; the data path is IPv4 for now")]
    NotIpv4 { flag: &'static str, got: String },
}

/// All addresses of this machine.
pub(crate) fn interfaces() -> Vec<Interface> {
    let Ok(addresses) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    addresses
        .filter_map(|interface| {
            let storage = interface.address?;
            let address = storage
                .as_sockaddr_in()
                .map(|v4| IpAddr::V4(v4.ip()))
                .or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
            Some(Interface {
                name: interface.interface_name,
                address,
            })
        })
        .collect()
}

/// Where to listen: all addresses unless told otherwise.
pub(crate) fn listen(text: &str, interfaces: &[Interface]) -> Result<SocketAddr, AddressError> {
    if text.is_empty() {
        return Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DEFAULT_PORT));
    }
    parse("--listen-addr", text, DEFAULT_PORT, interfaces)
}

/// What others dial. `listen` gives the port, and the address when it names one.
pub(crate) fn advertise(
    text: &str,
    listen: SocketAddr,
    interfaces: &[Interface],
) -> Result<SocketAddr, AddressError> {
    const FLAG: &str = "--advertise-addr";
    if text.is_empty() && !listen.ip().is_unspecified() {
        return Ok(listen);
    }
    if text.is_empty() {
        let candidates = candidates(interfaces);
        return match candidates.as_slice() {
            [only] => Ok(SocketAddr::new(only.address, listen.port())),
            _ => Err(AddressError::Ambiguous {
                flag: FLAG,
                count: candidates.len(),
                has: list(&candidates),
            }),
        };
    }
    let address = parse(FLAG, text, listen.port(), interfaces)?;
    if address.ip().is_unspecified() {
        let has = list(&candidates(interfaces));
        return Err(AddressError::Unspecified {
            flag: FLAG,
            got: text.to_owned(),
            has,
        });
    }
    Ok(address)
}

/// Where the overlay's traffic goes: as advertised unless told otherwise.
pub(crate) fn data_path(
    text: &str,
    advertise: SocketAddr,
    interfaces: &[Interface],
) -> Result<Ipv4Addr, AddressError> {
    const FLAG: &str = "--data-path-addr";
    let address = if text.is_empty() {
        advertise.ip()
    } else {
        parse(FLAG, text, 0, interfaces)?.ip()
    };
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(AddressError::NotIpv4 {
            flag: FLAG,
            got: address.to_string(),
        }),
    }
}

/// `ADDRESS`, `ADDRESS:PORT`, `INTERFACE` or `INTERFACE:PORT`.
fn parse(
    flag: &'static str,
    text: &str,
    default_port: u16,
    interfaces: &[Interface],
) -> Result<SocketAddr, AddressError> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 && default_port != 0 && flag == "--advertise-addr" {
            Err(AddressError::Port {
                flag,
                got: text.to_owned(),
            })
        } else {
            Ok(address)
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, default_port));
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => {
            let port = port.parse().map_err(|_| AddressError::Port {
                flag,
                got: text.to_owned(),
            })?;
            (name, port)
        }
        None => (text, default_port),
    };
    let named = |interface: &&Interface| interface.name == name && interface.address.is_ipv4();
    interfaces
        .iter()
        .find(named)
        .or_else(|| interfaces.iter().find(|interface| interface.name == name))
        .map(|interface| SocketAddr::new(interface.address, port))
        .ok_or_else(|| AddressError::Unknown {
            flag,
            got: text.to_owned(),
            has: list(interfaces),
        })
}

/// Addresses that others could dial: not loopback, not link-local, not the engine's own bridges.
fn candidates(interfaces: &[Interface]) -> Vec<Interface> {
    interfaces
        .iter()
        .filter(|interface| match interface.address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(_) => false,
        })
        .filter(|interface| {
            !["docker", "br-", "swr", "veth"]
                .iter()
                .any(|own| interface.name.starts_with(own))
        })
        .cloned()
        .collect()
}

fn list(interfaces: &[Interface]) -> String {
    if interfaces.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = interfaces
        .iter()
        .map(|interface| format!("{} on {}", interface.address, interface.name))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Interface> {
        [
            ("lo", "127.0.0.1"),
            ("eth0", "10.0.0.5"),
            ("eth0", "fe80::1"),
            ("docker0", "172.17.0.1"),
        ]
        .map(|(name, address)| Interface {
            name: name.to_owned(),
            address: address.parse().unwrap(),
        })
        .to_vec()
    }

    #[test]
    fn the_only_address_others_could_dial_is_advertised() {
        let listen_on = listen("", &machine()).unwrap();
        assert_eq!(listen_on.to_string(), "0.0.0.0:2377");
        assert_eq!(
            advertise("", listen_on, &machine()).unwrap().to_string(),
            "10.0.0.5:2377"
        );
        assert_eq!(
            advertise("eth0:77", listen_on, &machine())
                .unwrap()
                .to_string(),
            "10.0.0.5:77"
        );
        assert_eq!(
            advertise("10.9.9.9", listen_on, &machine())
                .unwrap()
                .to_string(),
            "10.9.9.9:2377"
        );
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_with_what_could() {
        let listen_on = listen("", &machine()).unwrap();
        let error = advertise("wlan7", listen_on, &machine()).unwrap_err();
        assert!(error.to_string().contains("10.0.0.5 on eth0"), "{error}");
        assert!(advertise("0.0.0.0", listen_on, &machine()).is_err());
        assert!(advertise("eth0:port", listen_on, &machine()).is_err());
        let mut two = machine();
        two.push(Interface {
            name: "eth1".to_owned(),
            address: "10.1.0.5".parse().unwrap(),
        });
        assert!(matches!(
            advertise("", listen_on, &two),
            Err(AddressError::Ambiguous { count: 2, .. })
        ));
    }
}
