//! The PORTS column: `*:8080->80/tcp`, with neighbours folded into ranges.

use super::word;
use crate::spec::service::{PortConfig, PublishMode};

/// The ports of one publish mode.
pub(crate) fn published(ports: &[PortConfig], mode: PublishMode) -> String {
    let mut ports: Vec<&PortConfig> = ports
        .iter()
        .filter(|port| port.publish_mode == mode)
        .collect();
    ports.sort_by_key(|port| (port.protocol, port.published_port, port.target_port));
    ports.dedup();
    let mut runs: Vec<(PortConfig, u16)> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((first, length))
                if first.protocol == port.protocol
                    && first.published_port.checked_add(*length) == Some(port.published_port)
                    && first.target_port.checked_add(*length) == Some(port.target_port) =>
            {
                *length += 1;
            }
            _ => runs.push((port.clone(), 1)),
        }
    }
    let written: Vec<String> = runs
        .iter()
        .map(|(first, length)| {
            format!(
                "*:{}->{}/{}",
                range(first.published_port, *length),
                range(first.target_port, *length),
                word(&first.protocol)
            )
        })
        .collect();
    written.join(", ")
}

fn range(first: u16, length: u16) -> String {
    if length == 1 {
        first.to_string()
    } else {
        format!("{first}-{}", first + (length - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ports_are_one_range() {
        let ports: Vec<PortConfig> = ["8001:81", "53:53/udp", "8000:80", "8002:82", "9000:80"]
            .iter()
            .flat_map(|text| crate::spec::parse::port(text).unwrap().0)
            .collect();
        assert_eq!(
            published(&ports, PublishMode::Ingress),
            "*:8000-8002->80-82/tcp, *:9000->80/tcp, *:53->53/udp"
        );
        assert_eq!(published(&ports, PublishMode::Host), "");
    }
}
