//! `--publish`: both of Docker's forms.

use super::{ParseError, fields};
use crate::spec::service::{PortConfig, Protocol, PublishMode};

/// The ports that one `--publish` asks for: one, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub Vec<PortConfig>);

/// Which published ports one `--publish-rm` takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortToRemove {
    pub target_port: u16,
    /// `None` for either.
    pub publish_mode: Option<PublishMode>,
    pub protocol: Protocol,
}

const ALLOWED: &str = "[PUBLISHED:]TARGET[/tcp|udp|sctp], such as 8080:80, or \
    published=8080,target=80,protocol=tcp,mode=ingress|host";

/// `8080:80`, `80/udp`, `8000-8002:80-82`, or `published=8080,target=80,mode=host`.
pub fn port(text: &str) -> Result<Ports, ParseError> {
    if text.contains('=') {
        long(text).map(|(port, _)| Ports(vec![port]))
    } else {
        short(text).map(Ports)
    }
}

/// `80`, `80/udp`, or a whole `--publish` of which only the target, the protocol and a mode that
/// is written out count.
pub fn port_to_remove(text: &str) -> Result<PortToRemove, ParseError> {
    let (port, publish_mode) = if text.contains('=') {
        long(text)?
    } else {
        let mut ports = short(text)?;
        match (ports.pop(), ports.is_empty()) {
            (Some(port), true) => (port, None),
            _ => {
                return Err(ParseError::new(
                    "port",
                    text,
                    "one target port, not a range",
                ));
            }
        }
    };
    Ok(PortToRemove {
        target_port: port.target_port,
        publish_mode,
        protocol: port.protocol,
    })
}

fn long(text: &str) -> Result<(PortConfig, Option<PublishMode>), ParseError> {
    let wrong = |allowed: &str| ParseError::new("port", text, allowed);
    let mut port = PortConfig::default();
    let mut mode = None;
    for field in fields(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| wrong(ALLOWED))?;
        let number = || {
            value
                .parse::<u16>()
                .map_err(|_| wrong("a port from 0 to 65535 (a range needs the short form)"))
        };
        match key.to_ascii_lowercase().as_str() {
            "target" => port.target_port = number()?,
            "published" => port.published_port = number()?,
            "protocol" => port.protocol = protocol(value).ok_or_else(|| wrong(ALLOWED))?,
            "mode" => {
                mode = Some(match value {
                    "ingress" => PublishMode::Ingress,
                    "host" => PublishMode::Host,
                    _ => return Err(wrong("mode=ingress or mode=host")),
                });
            }
            _ => return Err(wrong("the keys target, published, protocol and mode")),
        }
    }
    if port.target_port == 0 {
        return Err(wrong("a target port from 1 to 65535"));
    }
    port.publish_mode = mode.unwrap_or_default();
    Ok((port, mode))
}

fn short(text: &str) -> Result<Vec<PortConfig>, ParseError> {
    let wrong = |allowed: &str| ParseError::new("port", text, allowed);
    let (ports, protocol_name) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol(protocol_name).ok_or_else(|| wrong(ALLOWED))?;
    let (published, target) = match ports.rsplit_once(':') {
        None => (None, ports),
        Some((published, target)) => (Some(published), target),
    };
    if published.is_some_and(|published| published.contains(':')) {
        return Err(wrong(
            "no host address: a service publishes on every address of its nodes",
        ));
    }
    let targets = range(target).ok_or_else(|| wrong(ALLOWED))?;
    if targets.contains(&0) {
        return Err(wrong("a target port from 1 to 65535"));
    }
    let published = match published {
        None | Some("") => vec![0; targets.len()],
        Some(published) => range(published).ok_or_else(|| wrong(ALLOWED))?,
    };
    if published.len() != targets.len() {
        return Err(wrong(
            "ranges of the same length on both sides of the colon",
        ));
    }
    Ok(published
        .into_iter()
        .zip(targets)
        .map(|(published_port, target_port)| PortConfig {
            protocol,
            target_port,
            published_port,
            ..PortConfig::default()
        })
        .collect())
}

fn range(text: &str) -> Option<Vec<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    (first <= last).then(|| (first..=last).collect())
}

fn protocol(text: &str) -> Option<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        port(text)
            .unwrap()
            .0
            .iter()
            .map(|port| {
                format!(
                    "{}:{}/{:?}/{:?}",
                    port.published_port, port.target_port, port.protocol, port.publish_mode
                )
            })
            .collect()
    }

    #[test]
    fn both_forms_of_publish_are_understood() {
        let table: &[(&str, &[&str])] = &[
            ("80", &["0:80/Tcp/Ingress"]),
            ("8080:80", &["8080:80/Tcp/Ingress"]),
            ("53:53/udp", &["53:53/Udp/Ingress"]),
            ("53:53/UDP", &["53:53/Udp/Ingress"]),
            (
                "8000-8001:80-81",
                &["8000:80/Tcp/Ingress", "8001:81/Tcp/Ingress"],
            ),
            ("published=8080,target=80", &["8080:80/Tcp/Ingress"]),
            (
                "mode=host,protocol=sctp,target=80,published=1",
                &["1:80/Sctp/Host"],
            ),
            ("target=80", &["0:80/Tcp/Ingress"]),
        ];
        for (text, want) in table {
            assert_eq!(&written(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            "http",
            "80:",
            "8080:0",
            "1:65536",
            "127.0.0.1:80:80",
            "8000-8002:80",
            "82-80",
            "80/icmp",
            "published=80",
            "target=80-81",
            "target=80,mode=both",
            "target=80,color=red",
            "target=80,udp",
        ] {
            assert!(port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_to_remove_is_named_by_its_target() {
        assert_eq!(
            port_to_remove("80/udp").unwrap(),
            PortToRemove {
                target_port: 80,
                publish_mode: None,
                protocol: Protocol::Udp
            }
        );
        assert_eq!(
            port_to_remove("target=80,mode=host").unwrap().publish_mode,
            Some(PublishMode::Host)
        );
        assert_eq!(port_to_remove("8080:80").unwrap().target_port, 80);
        assert!(port_to_remove("80-82").is_err());
    }
}
