//! Which TCP ports something in a container listens on, as the kernel tells it of a process.

use std::collections::BTreeSet;
use std::io;

/// The state of a listening socket in the kernel's table.
const LISTEN: &str = "0A";

/// What is listened on in the network of process `pid`, on addresses other than the loopback's.
/// `None` where it cannot be seen: the process has gone, or is none of this machine.
pub(super) async fn listened_ports(pid: i64) -> Option<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        match tokio::fs::read_to_string(format!("/proc/{pid}/net/{table}")).await {
            Ok(text) => ports.extend(parse(&text)),
            // A kernel without IPv6.
            Err(error) if table == "tcp6" && error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    Some(ports)
}

/// Lines as of proc(5): `sl local_address rem_address st …`, addresses as `HEX:PORT`.
fn parse(table: &str) -> impl Iterator<Item = u16> + '_ {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let state = words.nth(1)?;
        let listens = state == LISTEN && !is_loopback(address);
        listens.then(|| u16::from_str_radix(port, 16).ok())?
    })
}

/// Words of 32 bits in the machine's order, which for all that engines run on is little-endian.
fn is_loopback(address: &str) -> bool {
    match address.len() {
        8 => address.ends_with("7F"),
        _ => address == "00000000000000000000000001000000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31 1
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 32 1
   2: 0B01000A:01BB 0500000A:C350 01 00000000:00000000 00:00000000 00000000     0        0 33 1
   3: garbage
";
    const TABLE_6: &str = "\
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:2382 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000
";

    #[test]
    fn only_what_others_can_connect_to_counts() {
        assert_eq!(parse(TABLE).collect::<Vec<_>>(), [80]);
        assert_eq!(parse(TABLE_6).collect::<Vec<_>>(), [9090]);
        assert_eq!(parse("").count(), 0);
    }

    #[tokio::test]
    async fn this_process_is_seen_to_listen_and_one_that_is_gone_is_not_seen() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = i64::from(std::process::id());
        assert!(listened_ports(own).await.unwrap().contains(&port));
        assert_eq!(listened_ports(i64::MAX).await, None);
    }
}
