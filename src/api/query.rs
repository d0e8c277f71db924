//! What stands in a request's path and query: versions, flags, percent-encoding.

use std::fmt;

use super::error::ApiError;

/// A version of Docker's Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl ApiVersion {
    /// What this server speaks.
    pub(super) const OURS: Self = Self::new(1, 53);
    /// The same as text, for a header.
    pub(super) const OURS_TEXT: &str = "1.53";
    /// The oldest that it accepts.
    pub(super) const OLDEST: Self = Self::new(1, 24);
    /// The oldest that an engine is asked in: newer engines refuse older ones.
    pub(super) const ENGINE_FLOOR: Self = Self::new(1, 41);

    pub(super) const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads `1.41`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self::new(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Splits `/v1.41/services` into the version, at most our own, and `/services`. A path without a
/// version is of ours.
pub(super) fn split_version(path: &str) -> Result<(ApiVersion, &str), ApiError> {
    let Some((version, rest)) = path
        .strip_prefix("/v")
        .map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())))
        .and_then(|(version, rest)| Some((ApiVersion::parse(version)?, rest)))
    else {
        return Ok((ApiVersion::OURS, path));
    };
    if version < ApiVersion::OLDEST {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
            ApiVersion::OLDEST
        )));
    }
    if version > ApiVersion::OURS {
        tracing::debug!(%version, ours = %ApiVersion::OURS, "client asks in a newer version");
    }
    let rest = if rest.is_empty() { "/" } else { rest };
    Ok((version.min(ApiVersion::OURS), rest))
}

/// The pairs of a query string, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Self {
        let pairs = text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name, true), decode(value, true))
            })
            .collect();
        Self(pairs)
    }

    /// The first value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// A flag of the kind that is on unless it says no (`force`, `follow`, …).
    pub(super) fn loose_flag(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().trim().to_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A flag of the kind that must be a boolean (`status`, `insertDefaults`, `rotate…`).
    pub(super) fn strict_flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("" | "0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!(
                "invalid value for {name}: got {other:?}, want true or false"
            ))),
        }
    }

    /// The `version` that an update must name.
    pub(super) fn version(&self, kind: &str) -> Result<u64, ApiError> {
        let text = self.get("version").unwrap_or_default();
        text.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "invalid {kind} version '{text}': want the Version.Index that you read, as version=N"
            ))
        })
    }
}

/// The parts of a path, decoded; empty parts are left out.
pub(super) fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(|part| decode(part, false))
        .collect()
}

/// Undoes percent-encoding; in a query, `+` is a space. What is encoded wrongly stays as it is.
fn decode(text: &str, in_query: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        let escaped = (byte == b'%')
            .then(|| bytes.get(place + 1..place + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(value) => {
                decoded.push(value);
                place += 3;
            }
            None => {
                decoded.push(if byte == b'+' && in_query { b' ' } else { byte });
                place += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes one part of a query or path, so that [`decode`] gives it back.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_clamped_to_ours_and_refused_below_the_oldest() {
        let split = |path| split_version(path).map(|(version, rest)| (version.minor, rest));
        assert_eq!(split("/v1.41/services"), Ok((41, "/services")));
        assert_eq!(split("/v1.24/_ping"), Ok((24, "/_ping")));
        assert_eq!(split("/v1.99/info"), Ok((53, "/info")));
        assert_eq!(split("/v9.0/info"), Ok((53, "/info")));
        assert_eq!(split("/info"), Ok((53, "/info")));
        assert_eq!(split("/volumes/v1.20"), Ok((53, "/volumes/v1.20")));
        assert_eq!(split("/v1.41"), Ok((41, "/")));
        assert_eq!(ApiVersion::OURS.to_string(), ApiVersion::OURS_TEXT);
        assert!(split("/v1.23/info").is_err());
        assert!(split("/v0.9/info").is_err());
    }

    #[test]
    fn flags_read_as_docker_reads_them() {
        let query = Query::parse(Some("force=True&a=1&b=no&c=none&d=&e=x&f=False"));
        for (name, on) in [
            ("force", true),
            ("a", true),
            ("b", false),
            ("c", false),
            ("d", false),
            ("e", true),
            ("f", false),
            ("absent", false),
        ] {
            assert_eq!(query.loose_flag(name), on, "{name}");
        }
        assert_eq!(query.strict_flag("force"), Ok(true));
        assert_eq!(query.strict_flag("f"), Ok(false));
        assert_eq!(query.strict_flag("absent"), Ok(false));
        assert!(query.strict_flag("e").is_err());
    }

    #[test]
    fn encoded_text_reads_back() {
        let text = "{\"name\":[\"a b/ü+%\"]}";
        let query = Query::parse(Some(&format!("x=1&filters={}", encode(text))));
        assert_eq!(query.get("filters"), Some(text));
        assert_eq!(Query::parse(Some("a=b+c%2")).get("a"), Some("b c%2"));
        assert_eq!(segments("//services/a%2Fb//"), ["services", "a/b"]);
    }
}
