//! Names with values: labels, hosts, limits, networks, mounted files, `SERVICE=REPLICAS`.

use super::{ParseError, fields};
use crate::spec::container::Ulimit;
use crate::spec::service::{NetworkAttachmentConfig, PlacementPreference, SpreadOver};

/// A config or a secret to mount: `name`, or `source=…,target=…,uid=…,gid=…,mode=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReference {
    /// The name of the config or secret.
    pub source: String,
    /// Where it is mounted.
    pub target: String,
    pub uid: String,
    pub gid: String,
    pub mode: u32,
}

/// `key` or `key=value`; a key alone has the empty value.
pub fn key_value(text: &str) -> Result<(String, String), ParseError> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.trim().is_empty() {
        return Err(ParseError::new("label", text, "KEY or KEY=VALUE"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `key=value`, as a driver's option.
pub fn driver_opt(text: &str) -> Result<(String, String), ParseError> {
    text.split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| ParseError::new("driver option", text, "KEY=VALUE"))
}

/// `key=value`, as a kernel parameter.
pub fn sysctl(text: &str) -> Result<(String, String), ParseError> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| ParseError::new("sysctl", text, "NAME=VALUE"))
}

/// `name:address`, given back as a line of `/etc/hosts`: address, space, name.
pub fn host(text: &str) -> Result<String, ParseError> {
    let wrong = || ParseError::new("host", text, "NAME:ADDRESS, such as db:10.0.0.5");
    let (name, address) = text.split_once(':').ok_or_else(wrong)?;
    let address: std::net::IpAddr = address
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map_err(|_| wrong())?;
    if name.is_empty() {
        return Err(wrong());
    }
    Ok(format!("{address} {name}"))
}

/// `name`, or `name=N,alias=A,driver-opt=k=v`.
pub fn network(text: &str) -> Result<NetworkAttachmentConfig, ParseError> {
    let wrong = |allowed: &str| ParseError::new("network", text, allowed);
    if !text.contains('=') {
        if text.is_empty() {
            return Err(wrong("a network's name"));
        }
        return Ok(NetworkAttachmentConfig {
            target: text.to_owned(),
            ..NetworkAttachmentConfig::default()
        });
    }
    let mut network = NetworkAttachmentConfig::default();
    for field in fields(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| wrong("NAME, or name=NAME,alias=ALIAS,driver-opt=KEY=VALUE"))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut network.target),
            "alias" => network.aliases.push(value.to_owned()),
            "driver-opt" => {
                let (key, value) = driver_opt(value)?;
                network.driver_opts.insert(key, value);
            }
            _ => return Err(wrong("the keys name, alias and driver-opt")),
        }
    }
    if network.target.is_empty() {
        return Err(wrong("a name=NAME"));
    }
    Ok(network)
}

/// `spread=node.labels.X` or `spread=engine.labels.X`.
pub fn placement_preference(text: &str) -> Result<PlacementPreference, ParseError> {
    text.split_once('=')
        .filter(|(strategy, descriptor)| {
            strategy.eq_ignore_ascii_case("spread") && !descriptor.is_empty()
        })
        .map(|(_, descriptor)| PlacementPreference {
            spread: Some(SpreadOver {
                spread_descriptor: descriptor.to_owned(),
            }),
        })
        .ok_or_else(|| {
            ParseError::new(
                "placement preference",
                text,
                "spread=node.labels.NAME or spread=engine.labels.NAME",
            )
        })
}

/// `name=soft[:hard]`; -1 is no limit.
pub fn ulimit(text: &str) -> Result<Ulimit, ParseError> {
    let wrong = || ParseError::new("ulimit", text, "NAME=SOFT[:HARD], such as nofile=1024:2048");
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard): (i64, i64) = (
        soft.parse().map_err(|_| wrong())?,
        hard.parse().map_err(|_| wrong())?,
    );
    if name.is_empty() || (hard != -1 && (soft == -1 || soft > hard)) {
        return Err(ParseError::new(
            "ulimit",
            text,
            "NAME=SOFT[:HARD] with SOFT not above HARD",
        ));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// A capability's name as Docker stores it: upper case, with `CAP_` before it, `ALL` as it is.
pub fn capability(text: &str) -> Result<String, ParseError> {
    let upper = text.trim().to_ascii_uppercase();
    let well_formed = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match upper.as_str() {
        "ALL" | "RESET" => Ok(upper),
        name if !well_formed(name) => Err(ParseError::new(
            "capability",
            text,
            "a capability's name, such as NET_ADMIN, or ALL",
        )),
        name if name.starts_with("CAP_") => Ok(upper),
        name => Ok(format!("CAP_{name}")),
    }
}

/// `SERVICE=REPLICAS`.
pub fn scale(text: &str) -> Result<(String, u64), ParseError> {
    text.split_once('=')
        .filter(|(service, _)| !service.is_empty())
        .and_then(|(service, replicas)| Some((service.to_owned(), replicas.parse().ok()?)))
        .ok_or_else(|| ParseError::new("scale", text, "SERVICE=REPLICAS, such as web=3"))
}

/// `name`, or `source=…,target=…,uid=…,gid=…,mode=…`. The mode is octal; the target of a config is
/// `/<name>`, of a secret `<name>` below `/run/secrets`, both filled in by the caller's `prefix`.
pub fn file_reference(text: &str) -> Result<FileReference, ParseError> {
    let wrong = |allowed: &str| ParseError::new("reference", text, allowed);
    let mut reference = FileReference {
        source: String::new(),
        target: String::new(),
        uid: "0".to_owned(),
        gid: "0".to_owned(),
        mode: 0o444,
    };
    if !text.contains('=') {
        text.clone_into(&mut reference.source);
    } else {
        for field in fields(text)? {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| wrong("NAME, or source=NAME,target=PATH,uid=N,gid=N,mode=0444"))?;
            match key.to_ascii_lowercase().as_str() {
                "source" | "src" => value.clone_into(&mut reference.source),
                "target" => value.clone_into(&mut reference.target),
                "uid" => value.clone_into(&mut reference.uid),
                "gid" => value.clone_into(&mut reference.gid),
                "mode" => {
                    reference.mode = u32::from_str_radix(value, 8)
                        .map_err(|_| wrong("a mode in octal digits, such as 0440"))?;
                }
                _ => return Err(wrong("the keys source, target, uid, gid and mode")),
            }
        }
    }
    if reference.source.is_empty() {
        return Err(wrong("a source"));
    }
    if reference.target.is_empty() {
        reference.target.clone_from(&reference.source);
    }
    Ok(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        assert_eq!(key_value("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(key_value("a").unwrap(), ("a".into(), String::new()));
        assert!(key_value("=b").is_err());
        assert!(sysctl("net.core.somaxconn").is_err());
        assert_eq!(scale("web=3"), Ok(("web".into(), 3)));
        for text in ["web", "web=", "web=-1", "web=x", "=3"] {
            assert!(scale(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_become_lines_of_the_hosts_file() {
        assert_eq!(host("db:10.0.0.5").unwrap(), "10.0.0.5 db");
        assert_eq!(host("db:::1").unwrap(), "::1 db");
        assert_eq!(host("db:[::1]").unwrap(), "::1 db");
        for text in ["db", ":10.0.0.5", "db:five"] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_may_carry_aliases_and_options() {
        assert_eq!(network("app").unwrap().target, "app");
        let long = network("name=app,alias=a,alias=b,driver-opt=x=y").unwrap();
        assert_eq!(
            (long.target.as_str(), long.aliases),
            ("app", vec!["a".into(), "b".into()])
        );
        assert_eq!(long.driver_opts["x"], "y");
        for text in ["", "alias=a", "name=app,color=red", "name=app,driver-opt=x"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_resources_and_capabilities_are_checked() {
        let limit = ulimit("nofile=1024:2048").unwrap();
        assert_eq!((limit.soft, limit.hard), (1024, 2048));
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        for text in ["nofile", "nofile=2:1", "nofile=x", "=1", "nofile=-1:5"] {
            assert!(ulimit(text).is_err(), "{text}");
        }
        assert_eq!(capability("net_admin").unwrap(), "CAP_NET_ADMIN");
        assert_eq!(capability("CAP_CHOWN").unwrap(), "CAP_CHOWN");
        assert_eq!(capability("all").unwrap(), "ALL");
        assert!(capability("net admin").is_err());
        assert!(placement_preference("spread=node.labels.zone").is_ok());
        for text in ["binpack=node.labels.zone", "spread=", "spread"] {
            assert!(placement_preference(text).is_err(), "{text}");
        }
    }

    #[test]
    fn file_references_have_dockers_defaults() {
        let short = file_reference("site").unwrap();
        assert_eq!((short.target.as_str(), short.mode), ("site", 0o444));
        let long = file_reference("source=site,target=/etc/site,uid=5,gid=6,mode=0440").unwrap();
        assert_eq!(
            (long.uid.as_str(), long.gid.as_str(), long.mode),
            ("5", "6", 0o440)
        );
        for text in ["", "target=/x", "source=a,mode=9", "source=a,owner=b"] {
            assert!(file_reference(text).is_err(), "{text}");
        }
    }
}
