//! Wants for the hosts of a lab, from one description that all hosts share.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use net::balance::{BalanceWant, Protocol, PublishedWant, VipWant};
use net::datapath::Want;
use net::dns::{DnsNetwork, Table};
use net::overlay::{NetworkWant, OverlayWant, PeerWant, RemoteWant, Subnet};
use net::tunnel::{DEVICE, PrivateKey, TunnelPeer, TunnelWant};

pub(crate) const TUNNEL_PORT: u16 = 2378;

/// One overlay: `10.0.NUMBER.0/24`, gateways at the host's position plus one.
#[derive(Clone)]
pub(crate) struct Overlay {
    pub(crate) number: u8,
    pub(crate) internal: bool,
    pub(crate) encrypted: bool,
    /// Containers' last byte and host.
    pub(crate) containers: Vec<(u8, usize)>,
    pub(crate) vips: Vec<u8>,
    pub(crate) names: Vec<(&'static str, Vec<u8>)>,
}

impl Overlay {
    pub(crate) fn new(number: u8, containers: &[(u8, usize)]) -> Self {
        Self {
            number,
            internal: false,
            encrypted: false,
            containers: containers.to_vec(),
            vips: vec![100],
            names: Vec::new(),
        }
    }

    pub(crate) fn ip(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.number, last)
    }

    pub(crate) fn bridge(&self) -> String {
        format!("dpbr{}", self.number)
    }

    /// Where a host's end of the overlay's tunnels is.
    fn vtep(&self, host: usize) -> Ipv4Addr {
        match self.encrypted {
            true => inner(host),
            false => outer(host),
        }
    }

    fn underlay(&self) -> &'static str {
        match self.encrypted {
            true => DEVICE,
            false => "eth0",
        }
    }

    fn gateway(&self, host: usize) -> Ipv4Addr {
        self.ip(1 + u8::try_from(host).unwrap())
    }

    fn want(&self, host: usize, hosts: usize) -> NetworkWant {
        let peers = (0..hosts).filter(|peer| *peer != host);
        let remote = |(_, at): &&(u8, usize)| *at != host;
        NetworkWant {
            id: format!("net{}", self.number),
            bridge: self.bridge(),
            vni: 4096 + u32::from(self.number),
            port: 4789,
            local_vtep: self.vtep(host),
            underlay: Some(self.underlay().to_owned()),
            mtu: if self.encrypted { 1390 } else { 1450 },
            subnet: Subnet::new(self.ip(0), 24).unwrap(),
            gateway: self.gateway(host),
            peers: peers
                .map(|peer| PeerWant {
                    vtep: self.vtep(peer),
                    gateway: self.gateway(peer),
                })
                .collect(),
            remotes: self
                .containers
                .iter()
                .filter(remote)
                .map(|(last, at)| RemoteWant::new(self.ip(*last), self.vtep(*at)))
                .collect(),
            vips: self.vips.iter().map(|last| self.ip(*last)).collect(),
            internal: self.internal,
        }
    }

    fn table(&self, host: usize) -> DnsNetwork {
        let addresses = |lasts: &Vec<u8>| {
            let addresses = lasts.iter().map(|last| self.ip(*last).into());
            addresses.collect()
        };
        DnsNetwork {
            id: format!("net{}", self.number),
            subnet: Subnet::new(self.ip(0), 24).unwrap(),
            gateway: self.gateway(host),
            internal: self.internal,
            names: self
                .names
                .iter()
                .map(|(name, lasts)| ((*name).to_owned(), addresses(lasts)))
                .collect(),
            pointers: BTreeMap::new(),
            served: BTreeMap::new(),
        }
    }
}

/// A want for `host` of `hosts`, without services.
pub(crate) fn want(overlays: &[Overlay], host: usize, hosts: usize) -> Want {
    Want {
        tunnel: overlays
            .iter()
            .any(|it| it.encrypted)
            .then(|| tunnel(host, hosts)),
        overlay: OverlayWant {
            networks: overlays.iter().map(|it| it.want(host, hosts)).collect(),
        },
        balance: BalanceWant::default(),
        dns: Table {
            networks: overlays.iter().map(|it| it.table(host)).collect(),
            callers: BTreeMap::new(),
        },
    }
}

pub(crate) fn vip(overlay: &Overlay, last: u8, backends: &[u8]) -> VipWant {
    VipWant {
        name: "web".to_owned(),
        address: overlay.ip(last),
        backends: backends.iter().map(|it| overlay.ip(*it)).collect(),
        sticky: false,
    }
}

pub(crate) fn published(protocol: Protocol, port: u16, backends: &[Ipv4Addr]) -> PublishedWant {
    PublishedWant {
        name: "web".to_owned(),
        protocol,
        port,
        target_port: 8080,
        backends: backends.to_vec(),
        sticky: false,
    }
}

/// The encrypting tunnel of `host`, with all of `hosts`.
pub(crate) fn tunnel(host: usize, hosts: usize) -> TunnelWant {
    let peers = (0..hosts).filter(|peer| *peer != host);
    TunnelWant {
        address: inner(host),
        prefix: 16,
        mtu: 1440,
        port: TUNNEL_PORT,
        keys: vec![key(host)],
        peers: peers
            .map(|peer| TunnelPeer {
                address: inner(peer),
                endpoint: SocketAddrV4::new(outer(peer), TUNNEL_PORT),
                keys: vec![key(peer).public()],
            })
            .collect(),
    }
}

pub(crate) fn key(host: usize) -> PrivateKey {
    format!("{:064x}", host + 1).parse().unwrap()
}

fn outer(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, 1 + u8::try_from(host).unwrap())
}

fn inner(host: usize) -> Ipv4Addr {
    let [a, b, c, _] = [240, 83, 0, 0_u8];
    Ipv4Addr::new(a, b, c, 1 + u8::try_from(host).unwrap())
}
