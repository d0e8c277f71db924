//! Reading the kernel's tables into [`Have`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVxlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::diff::TUNNEL_PREFIX;
use super::kernel::{Kernel, NetlinkError};
use super::{BridgeHave, Have, Mac, TunnelHave};

/// What the kernel may take for all tables.
const DEADLINE: Duration = Duration::from_secs(10);

/// The kernel's tables as they came.
struct Tables {
    links: Vec<LinkMessage>,
    addresses: Vec<AddressMessage>,
    neighbours: Vec<NeighbourMessage>,
    forwards: Vec<NeighbourMessage>,
}

/// Reads what concerns `bridges` and our tunnels, and remembers the indexes of
/// all devices.
pub(super) async fn observe(
    kernel: &mut Kernel,
    bridges: &BTreeSet<String>,
) -> Result<Have, NetlinkError> {
    let tables = tokio::time::timeout(DEADLINE, read(kernel)).await;
    let tables = tables.map_err(|_| NetlinkError::TimedOut)??;
    kernel.indexes = tables
        .links
        .iter()
        .filter_map(|link| Some((name_of(link)?.to_owned(), link.header.index)))
        .collect();
    Ok(collect(&tables, bridges))
}

async fn read(kernel: &Kernel) -> Result<Tables, NetlinkError> {
    let handle = &kernel.handle;
    let neighbours = |family| {
        handle
            .neighbours()
            .get()
            .set_address_family(family)
            .execute()
            .try_collect()
    };
    Ok(Tables {
        links: handle.link().get().execute().try_collect().await?,
        addresses: handle.address().get().execute().try_collect().await?,
        neighbours: neighbours(AddressFamily::Inet).await?,
        forwards: neighbours(AddressFamily::Bridge).await?,
    })
}

fn collect(tables: &Tables, wanted: &BTreeSet<String>) -> Have {
    let names: BTreeMap<u32, &str> = tables
        .links
        .iter()
        .filter_map(|link| Some((link.header.index, name_of(link)?)))
        .collect();
    let mut have = Have::default();
    let mut concerned = wanted.clone();
    for link in &tables.links {
        if let Some((name, tunnel)) = read_tunnel(link, &names) {
            concerned.extend(tunnel.bridge.clone());
            have.tunnels.insert(name.to_owned(), tunnel);
        }
    }
    for link in &tables.links {
        if let Some(name) = name_of(link).filter(|name| concerned.contains(*name)) {
            have.bridges.insert(name.to_owned(), read_bridge(link));
        }
    }
    read_ports(tables, &names, &mut have);
    read_addresses(tables, &names, &mut have);
    read_neighbours(tables, &names, &mut have);
    read_forwards(tables, &names, &mut have);
    have
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|it| match it {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn controller_of(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|it| match it {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

fn mtu_of(link: &LinkMessage) -> u32 {
    let mtu = link.attributes.iter().find_map(|it| match it {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    mtu.unwrap_or(0)
}

fn infos_of(link: &LinkMessage) -> &[LinkInfo] {
    let infos = link.attributes.iter().find_map(|it| match it {
        LinkAttribute::LinkInfo(infos) => Some(infos.as_slice()),
        _ => None,
    });
    infos.unwrap_or(&[])
}

fn port_of(link: &LinkMessage) -> &[InfoBridgePort] {
    let port = infos_of(link).iter().find_map(|it| match it {
        LinkInfo::PortData(InfoPortData::BridgePort(port)) => Some(port.as_slice()),
        _ => None,
    });
    port.unwrap_or(&[])
}

fn read_bridge(link: &LinkMessage) -> BridgeHave {
    let mac = link.attributes.iter().find_map(|it| match it {
        LinkAttribute::Address(bytes) => mac_from(bytes),
        _ => None,
    });
    BridgeHave {
        mac: mac.unwrap_or(Mac::UNKNOWN),
        mtu: mtu_of(link),
        up: link.header.flags.contains(LinkFlags::Up),
        addresses: BTreeSet::new(),
        ports: BTreeMap::new(),
        neighbours: BTreeMap::new(),
    }
}

fn read_tunnel<'a>(
    link: &'a LinkMessage,
    names: &BTreeMap<u32, &str>,
) -> Option<(&'a str, TunnelHave)> {
    let name = name_of(link).filter(|name| name.starts_with(TUNNEL_PREFIX))?;
    let infos = infos_of(link);
    if !infos.contains(&LinkInfo::Kind(InfoKind::Vxlan)) {
        return None;
    }
    let bridge = controller_of(link).and_then(|index| names.get(&index));
    let mut tunnel = TunnelHave {
        vni: 0,
        port: 0,
        local_vtep: None,
        mtu: mtu_of(link),
        up: link.header.flags.contains(LinkFlags::Up),
        learning: true,
        bridge: bridge.map(|name| (*name).to_owned()),
        suppresses: port_of(link).contains(&InfoBridgePort::NeighSupress(true)),
        floods: BTreeSet::new(),
        forwards: BTreeMap::new(),
        entries: BTreeSet::new(),
    };
    let data = infos.iter().find_map(|it| match it {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data.as_slice()),
        _ => None,
    });
    for attribute in data.unwrap_or(&[]) {
        match attribute {
            InfoVxlan::Id(vni) => tunnel.vni = *vni,
            InfoVxlan::Port(port) => tunnel.port = *port,
            InfoVxlan::Local(address) => tunnel.local_vtep = Some(*address),
            InfoVxlan::Learning(on) => tunnel.learning = *on,
            _ => {}
        }
    }
    Some((name, tunnel))
}

fn read_ports(tables: &Tables, names: &BTreeMap<u32, &str>, have: &mut Have) {
    for link in &tables.links {
        let bridge = controller_of(link).and_then(|index| names.get(&index));
        let (Some(bridge), Some(port)) = (bridge, name_of(link)) else {
            continue;
        };
        if have.tunnels.contains_key(port) {
            continue;
        }
        if let Some(bridge) = have.bridges.get_mut(*bridge) {
            let hairpin = port_of(link).contains(&InfoBridgePort::HairpinMode(true));
            bridge.ports.insert(port.to_owned(), hairpin);
        }
    }
}

fn read_addresses(tables: &Tables, names: &BTreeMap<u32, &str>, have: &mut Have) {
    for message in &tables.addresses {
        let Some(bridge) = bridge_at(message.header.index, names, have) else {
            continue;
        };
        for attribute in &message.attributes {
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
                let prefix = message.header.prefix_len;
                bridge.addresses.insert((*address, prefix));
            }
        }
    }
}

fn read_neighbours(tables: &Tables, names: &BTreeMap<u32, &str>, have: &mut Have) {
    for message in &tables.neighbours {
        if message.header.state != NeighbourState::Permanent {
            continue;
        }
        let (Some(ip), Some(mac)) = (destination_of(message), mac_in(message)) else {
            continue;
        };
        if let Some(bridge) = bridge_at(message.header.ifindex, names, have) {
            bridge.neighbours.insert(ip, mac);
        }
    }
}

fn read_forwards(tables: &Tables, names: &BTreeMap<u32, &str>, have: &mut Have) {
    for message in &tables.forwards {
        let tunnel = names.get(&message.header.ifindex);
        let tunnel = tunnel.and_then(|name| have.tunnels.get_mut(*name));
        let (Some(tunnel), Some(mac)) = (tunnel, mac_in(message)) else {
            continue;
        };
        if message.header.flags.contains(NeighbourFlags::Own) {
            match destination_of(message) {
                Some(vtep) if mac == Mac::UNKNOWN => {
                    tunnel.floods.insert(vtep);
                }
                Some(vtep) => {
                    tunnel.forwards.insert(mac, vtep);
                }
                None => {}
            }
        } else if message.header.state == NeighbourState::Noarp {
            tunnel.entries.insert(mac);
        }
    }
}

fn bridge_at<'a>(
    index: u32,
    names: &BTreeMap<u32, &str>,
    have: &'a mut Have,
) -> Option<&'a mut BridgeHave> {
    names
        .get(&index)
        .and_then(|name| have.bridges.get_mut(*name))
}

fn destination_of(message: &NeighbourMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|it| match it {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(*ip),
        // The kernel puts a bare IPv4 address into entries of the bridge family.
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            let bytes: [u8; 4] = bytes.as_slice().try_into().ok()?;
            Some(Ipv4Addr::from(bytes))
        }
        _ => None,
    })
}

fn mac_in(message: &NeighbourMessage) -> Option<Mac> {
    message.attributes.iter().find_map(|it| match it {
        NeighbourAttribute::LinkLayerAddress(bytes) => mac_from(bytes),
        _ => None,
    })
}

fn mac_from(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}
