//! The grammar of image references: `[HOST[:PORT]/]PATH[:TAG][@ALGORITHM:HEX]`.

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("ContainerSpec: image reference must be provided")]
    Empty,
    #[error("repository name must be lowercase")]
    UpperCase,
    #[error("the name {0:?} has a part that is not letters and digits joined by '.', '_' or '-'")]
    Name(String),
    #[error("the tag {0:?} is not 1 to 128 letters, digits, '_', '.' and '-'")]
    Tag(String),
    #[error("the digest {0:?} is not ALGORITHM:HEX with at least 32 hex digits")]
    Digest(String),
    #[error("the name is longer than 255 characters")]
    TooLong,
}

const MAX_NAME_LENGTH: usize = 255;
const MAX_TAG_LENGTH: usize = 128;
const MIN_DIGEST_LENGTH: usize = 32;

/// Whether `text` can name an image. An id of 64 hex digits can, too.
pub fn check_reference(text: &str) -> Result<(), ReferenceError> {
    if text.is_empty() {
        return Err(ReferenceError::Empty);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    // A colon after the last slash begins the tag; before it, a port.
    let path_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[path_start..].find(':') {
        Some(colon) => (
            &rest[..path_start + colon],
            Some(&rest[path_start + colon + 1..]),
        ),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    check_name(name)
}

fn check_name(name: &str) -> Result<(), ReferenceError> {
    if name.len() > MAX_NAME_LENGTH {
        return Err(ReferenceError::TooLong);
    }
    let path = match name.split_once('/') {
        Some((host, path)) if is_host(host) => {
            check_host(host)?;
            path
        }
        _ => name,
    };
    if path.chars().any(|char| char.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase);
    }
    if path.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err(ReferenceError::Name(name.to_owned()))
    }
}

/// The first part of a name is a host when it could not be anything else.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
}

fn check_host(host: &str) -> Result<(), ReferenceError> {
    let wrong = || ReferenceError::Name(host.to_owned());
    let (domain, port) = match host.rsplit_once(':') {
        Some((domain, port)) if !port.ends_with(']') => (domain, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(wrong());
    }
    let address = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let fits = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => domain.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|char| char.is_ascii_alphanumeric() || char == '-')
        }),
    };
    if fits { Ok(()) } else { Err(wrong()) }
}

/// Runs of lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let edges = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    edges
        && bytes.split(alphanumeric).all(|joint| {
            matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-')
        })
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let fits = tag.len() <= MAX_TAG_LENGTH
        && tag.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && tag
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-'));
    if fits {
        Ok(())
    } else {
        Err(ReferenceError::Tag(tag.to_owned()))
    }
}

fn check_digest(digest: &str) -> Result<(), ReferenceError> {
    let fits = digest.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|first: char| first.is_ascii_alphabetic())
            && algorithm
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '.' | '_' | '-'))
            && hex.len() >= MIN_DIGEST_LENGTH
            && hex.chars().all(|char| char.is_ascii_hexdigit())
    });
    if fits {
        Ok(())
    } else {
        Err(ReferenceError::Digest(digest.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_that_name_images_pass() {
        for text in [
            "nginx",
            "nginx:1.27",
            "library/nginx",
            "registry.example/team/app:v1",
            "localhost/app",
            "localhost:5000/app:latest",
            "10.0.0.1:5000/a/b/c",
            "[::1]:5000/a",
            "a__b/c---d/e.f_g",
            "app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "app:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(check_reference(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn references_that_name_nothing_are_refused() {
        for text in [
            "",
            "Nginx",
            "nginx:",
            "nginx:-a",
            "nginx@sha256:12",
            "nginx@sha256",
            "a//b",
            "/nginx",
            "nginx/",
            "a..b",
            "a___b",
            "-a",
            "a b",
            "registry.example:port/app",
            "not a valid image",
        ] {
            assert!(check_reference(text).is_err(), "{text}");
        }
    }
}
