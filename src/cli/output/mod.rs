//! How commands show what they got: tables, JSON, templates, ages, sizes.

pub(crate) mod age;
pub(crate) mod data;
pub(crate) mod format;
pub(crate) mod inspect;
pub(crate) mod natural;
pub(crate) mod ports;
pub(crate) mod table;
pub(crate) mod template;

use std::fmt;

use serde::Serialize;

/// A text written piece by piece.
pub(crate) fn text(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    match write(&mut text) {
        // Writing to a string cannot fail.
        Ok(()) | Err(fmt::Error) => text,
    }
}

/// The first twelve characters of an id, as tables show it.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The name that a unit variant has in JSON: `running`, `rollback_started`.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// With its first letter in upper case.
pub(crate) fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// An image without the digest that a registry pinned, if it has a tag to be known by.
pub(crate) fn familiar_image(image: &str) -> &str {
    let Some((name, _)) = image.split_once("@sha256:") else {
        return image;
    };
    let after_path = name.rsplit('/').next().unwrap_or(name);
    if after_path.contains(':') {
        name
    } else {
        image
    }
}

/// Bytes as Docker writes limits: `512MiB`, `1.5GiB`.
pub(crate) fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    // Four significant digits, without zeros at the end.
    let whole_digits = (value.abs().max(1.0).log10().floor() as usize) + 1;
    let mut text = format!("{value:.*}", 4_usize.saturating_sub(whole_digits));
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lose_their_digest_but_keep_their_tag() {
        assert_eq!(familiar_image("nginx:1@sha256:abc"), "nginx:1");
        assert_eq!(familiar_image("nginx@sha256:abc"), "nginx@sha256:abc");
        assert_eq!(
            familiar_image("host:5000/nginx@sha256:a"),
            "host:5000/nginx@sha256:a"
        );
        assert_eq!(familiar_image("nginx"), "nginx");
    }

    #[test]
    fn sizes_have_four_digits() {
        assert_eq!(size(0), "0B");
        assert_eq!(size(512 << 20), "512MiB");
        assert_eq!(size(3 << 29), "1.5GiB");
        assert_eq!(size(25_276_510_208), "23.54GiB");
    }

    #[test]
    fn words_and_short_ids() {
        assert_eq!(word(&crate::spec::FailureAction::Rollback), "rollback");
        assert_eq!(capitalised("ready"), "Ready");
        assert_eq!(short_id("5z311640rt0bf3ahg7k6zec2d"), "5z311640rt0b");
        assert_eq!(short_id("ab"), "ab");
    }
}
