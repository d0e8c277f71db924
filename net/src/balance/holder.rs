//! Which process listens on a port: for the message that says so.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Protocol;

/// A process that has a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// The command's short name, such as `apache2`.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// The process that has `port` in this network namespace, as far as it can be
/// seen.
pub(super) fn holder_of(protocol: Protocol, port: u16) -> Option<Holder> {
    let inodes: Vec<u64> = ["", "6"]
        .iter()
        .filter_map(|family| {
            // Of this thread: namespaces are a thread's, not a process's.
            let path = format!("/proc/thread-self/net/{protocol}{family}");
            fs::read_to_string(path).ok()
        })
        .flat_map(|table| sockets_at(&table, protocol, port))
        .collect();
    inodes.into_iter().find_map(owner_of)
}

/// Inodes of the sockets in a `/proc/net` table that have `port`.
fn sockets_at(table: &str, protocol: Protocol, port: u16) -> Vec<u64> {
    // The kernel's numbers for a listening TCP and an unconnected UDP socket.
    let state = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
        // The kernel's table of these is another one, without inodes.
        Protocol::Sctp => return Vec::new(),
    };
    let suffix = format!(":{port:04X}");
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let at_port = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == state;
            at_port.then(|| fields.get(9)?.parse().ok()).flatten()
        })
        .collect()
}

fn owner_of(inode: u64) -> Option<Holder> {
    let target = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let owns = has_open(&entry.path().join("fd"), &target);
        owns.then(|| Holder {
            pid,
            name: fs::read_to_string(entry.path().join("comm"))
                .map_or_else(|_| "a process".to_owned(), |name| name.trim().to_owned()),
        })
    })
}

fn has_open(descriptors: &Path, target: &str) -> bool {
    fs::read_dir(descriptors).is_ok_and(|entries| {
        let mut links = entries.flatten().map(|entry| fs::read_link(entry.path()));
        links.any(|link| link.is_ok_and(|link| link.as_os_str() == target))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_listening_socket_is_traced_to_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = holder_of(Protocol::Tcp, port).unwrap();
        assert_eq!(holder.pid, std::process::id());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let holder = holder_of(Protocol::Udp, port).unwrap();
        assert_eq!(holder.pid, std::process::id());
    }

    #[test]
    fn only_listeners_at_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1\n\
            1: 0100007F:0050 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 102 1\n\
            2: 00000000:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 103 1\n";
        assert_eq!(sockets_at(table, Protocol::Tcp, 80), [101]);
    }
}
