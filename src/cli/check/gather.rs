//! Reads the machine. Nothing here decides anything, and nothing is changed.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Expected;
use super::facts::{Engine, Facts, Module, Port, Route};
use crate::api::client::{Client, ClientError};
use crate::cli::context::Context;
use crate::cli::options::MachineFlags;
use crate::spec::network::{Subnet, TUNNEL_PORT};

const ENGINE_DEADLINE: Duration = Duration::from_secs(10);
const DEFAULT_PORT: u16 = 2377;
const DEFAULT_DATA_PATH_PORT: u16 = 4789;

/// Everything the checks look at. Ports are left out when a daemon runs, for it holds them.
pub(super) async fn facts(
    context: &Context,
    machine: &MachineFlags,
    expected: &Expected,
    daemon_runs: bool,
) -> Facts {
    let engine_socket = machine.engine_socket();
    let real = engine_socket.is_some();
    let mut ports = Vec::new();
    if !daemon_runs {
        ports.push(listen_port(&expected.listen_addr));
        if real {
            ports.push(data_path_port(expected.data_path_port));
            ports.push(tunnel_port());
        }
    }
    Facts {
        is_root: !real || nix::unistd::geteuid().is_root(),
        modules: if real { modules() } else { Vec::new() },
        ip_forward: if real {
            read("/proc/sys/net/ipv4/ip_forward").map(|text| text.trim() != "0")
        } else {
            None
        },
        nft: if real {
            nft_version()
        } else {
            Some(String::new())
        },
        engine: match engine_socket {
            None => Engine::NotWanted,
            Some(socket) => engine(context, socket).await,
        },
        ports,
        routes: if real { routes(None) } else { Vec::new() },
        clock_secs: context.now().0 / 1_000_000_000,
        memory_bytes: memory_bytes(),
        has_cgroups: !real
            || Path::new("/sys/fs/cgroup")
                .read_dir()
                .is_ok_and(|mut dir| dir.next().is_some()),
        engine_is_swarmr: engine_socket == Some(context.client.socket()),
    }
}

/// The routes that process `pid` (this one, if `None`) sees, without the default route.
pub(super) fn routes(pid: Option<i32>) -> Vec<Route> {
    let path = pid.map_or_else(
        || "/proc/self/net/route".to_owned(),
        |pid| format!("/proc/{pid}/net/route"),
    );
    read(&path)
        .map(|table| parse_routes(&table))
        .unwrap_or_default()
}

fn parse_routes(table: &str) -> Vec<Route> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let address = |column: usize| {
                u32::from_str_radix(columns.get(column)?, 16)
                    .ok()
                    // The kernel prints them in the byte order of the network, read as its own.
                    .map(|value| Ipv4Addr::from(value.to_ne_bytes()))
            };
            let (destination, mask) = (address(1)?, address(7)?);
            let prefix = u8::try_from(u32::from(mask).count_ones()).ok()?;
            if prefix == 0 {
                return None;
            }
            Some(Route {
                subnet: Subnet::new(destination, prefix)?,
                device: (*columns.first()?).to_owned(),
            })
        })
        .collect()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn modules() -> Vec<(&'static str, Module)> {
    let dependencies = read("/proc/sys/kernel/osrelease").and_then(|release| {
        let dir = format!("/lib/modules/{}", release.trim());
        let dep = read(&format!("{dir}/modules.dep"))?;
        Some(dep + &read(&format!("{dir}/modules.builtin")).unwrap_or_default())
    });
    ["vxlan", "br_netfilter"]
        .into_iter()
        .map(|name| (name, module(name, dependencies.as_deref())))
        .collect()
}

fn module(name: &str, dependencies: Option<&str>) -> Module {
    let sysctl = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if Path::new("/sys/module").join(name).exists()
        || (name == "br_netfilter" && Path::new(sysctl).exists())
    {
        return Module::Loaded;
    }
    match dependencies {
        None => Module::Unknown,
        Some(list) if list.contains(&format!("/{name}.ko")) => Module::Loadable,
        Some(_) => Module::Missing,
    }
}

fn nft_version() -> Option<String> {
    let output = Command::new("nft")
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn engine(context: &Context, socket: &Path) -> Engine {
    let client = Client::new(socket, context.client.request_id()).with_deadline(ENGINE_DEADLINE);
    let socket = socket.to_owned();
    match client.get("/info").await {
        Ok(info) => Engine::Answers(info),
        Err(ClientError::NotRunning { .. }) => Engine::Absent { socket },
        Err(ClientError::NoPermission { .. }) => Engine::NoPermission { socket },
        Err(error) => Engine::Silent {
            socket,
            error: error.to_string(),
        },
    }
}

fn listen_port(listen_addr: &str) -> Port {
    let (host, port) = match listen_addr.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().unwrap_or(DEFAULT_PORT)),
        None => (listen_addr, DEFAULT_PORT),
    };
    // An interface's name is left to the daemon: any address will do to find the port taken.
    let host: Ipv4Addr = host.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
    Port {
        number: port,
        purpose: "all control traffic",
        refused: bind(host, port),
    }
}

fn tunnel_port() -> Port {
    Port {
        number: TUNNEL_PORT,
        purpose: "encrypted networks",
        refused: bind(Ipv4Addr::UNSPECIFIED, TUNNEL_PORT),
    }
}

fn data_path_port(port: u16) -> Port {
    let number = if port == 0 {
        DEFAULT_DATA_PATH_PORT
    } else {
        port
    };
    Port {
        number,
        purpose: "overlay networks",
        // VXLAN devices share a port with each other, so one that is there is no obstacle.
        refused: bind(Ipv4Addr::UNSPECIFIED, number).filter(|_| !has_vxlan_device()),
    }
}

fn bind(host: Ipv4Addr, port: u16) -> Option<String> {
    UdpSocket::bind((host, port))
        .err()
        .map(|error| error.to_string())
}

fn has_vxlan_device() -> bool {
    let Ok(devices) = Path::new("/sys/class/net").read_dir() else {
        return false;
    };
    devices.filter_map(Result::ok).any(|device| {
        fs::read_to_string(device.path().join("uevent"))
            .is_ok_and(|uevent| uevent.contains("DEVTYPE=vxlan"))
    })
}

fn memory_bytes() -> Option<u64> {
    let line = read("/proc/meminfo")?;
    let kilobytes: u64 = line
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_route_table_is_understood() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routes = parse_routes(table);
        assert_eq!(
            routes,
            [Route {
                subnet: "192.0.2.0/24".parse().unwrap(),
                device: "eth0".to_owned()
            }]
        );
    }

    #[test]
    fn a_port_in_use_is_found_taken() {
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = holder.local_addr().unwrap().port();
        let taken = listen_port(&format!("127.0.0.1:{number}"));
        assert_eq!(taken.number, number);
        assert!(taken.refused.is_some());
    }
}
