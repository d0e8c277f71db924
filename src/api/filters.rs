//! The `filters` of lists: a JSON map from a key to values, in either of the two forms in use.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::ApiError;
use crate::spec::service::Labels;

/// Filters of one request. Values of one key are alternatives, keys must all match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads `{"key": {"value": true}}` or `{"key": ["value"]}`. Nothing, or an empty text, is no
    /// filter; a key that is not `allowed` is refused.
    pub(super) fn parse(text: Option<&str>, allowed: &[&str]) -> Result<Self, ApiError> {
        let text = text.unwrap_or_default().trim();
        if text.is_empty() || text == "null" {
            return Ok(Self::default());
        }
        let wrong = || {
            ApiError::bad_request(format!(
                "invalid filters: got {text}, want a JSON object such as {{\"name\":[\"web\"]}}"
            ))
        };
        let Ok(Value::Object(map)) = serde_json::from_str(text) else {
            return Err(wrong());
        };
        let mut filters = BTreeMap::new();
        for (key, value) in map {
            if !allowed.contains(&key.as_str()) {
                return Err(ApiError::bad_request(format!(
                    "invalid filter '{key}': allowed are {}",
                    allowed.join(", ")
                )));
            }
            filters.insert(key, values(value).ok_or_else(wrong)?);
        }
        Ok(Self(filters))
    }

    /// The values of a key; none when it is absent.
    pub(super) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        !self.values(key).is_empty()
    }

    /// Whether the key is absent or one of its values fits.
    pub(super) fn fits(&self, key: &str, fits: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| fits(value))
    }

    /// Whether the key is absent or one of its values begins `text`.
    pub(super) fn fits_start(&self, key: &str, text: &str) -> bool {
        self.fits(key, |value| text.starts_with(value))
    }

    /// Whether `labels` have every one of the key's values, each `name` or `name=value`.
    pub(super) fn fits_labels(&self, key: &str, labels: &Labels) -> bool {
        self.values(key)
            .iter()
            .all(|wanted| has_label(labels, wanted))
    }

    /// A key whose values must be words of a list.
    pub(super) fn check_words(&self, key: &str, words: &[&str]) -> Result<(), ApiError> {
        match self
            .values(key)
            .iter()
            .find(|value| !words.contains(&value.as_str()))
        {
            Some(value) => Err(ApiError::bad_request(format!(
                "invalid filter '{key}={value}': want one of {}",
                words.join(", ")
            ))),
            None => Ok(()),
        }
    }

    /// A boolean key: `None` when it is absent.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.values(key) {
            [] => Ok(None),
            [value] if matches!(value.as_str(), "1" | "true" | "True") => Ok(Some(true)),
            [value] if matches!(value.as_str(), "0" | "false" | "False") => Ok(Some(false)),
            values => Err(ApiError::bad_request(format!(
                "invalid filter '{key}={}': want true or false",
                values.join(",")
            ))),
        }
    }

    /// One more value of a key.
    pub(super) fn add(&mut self, key: &str, value: &str) {
        self.0
            .entry(key.to_owned())
            .or_default()
            .push(value.to_owned());
    }

    /// As JSON, in the form that every engine reads.
    pub(super) fn to_json(&self) -> String {
        let map: BTreeMap<&str, BTreeMap<&str, bool>> = self
            .0
            .iter()
            .map(|(key, values)| {
                let values = values.iter().map(|value| (value.as_str(), true)).collect();
                (key.as_str(), values)
            })
            .collect();
        serde_json::to_string(&map).unwrap_or_default()
    }
}

/// Whether `labels` have `wanted`, which is `name` or `name=value`.
pub(super) fn has_label(labels: &Labels, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|has| has == value),
        None => labels.contains_key(wanted),
    }
}

fn values(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text]),
        Value::Bool(flag) => Some(vec![flag.to_string()]),
        Value::Object(map) => Some(map.into_iter().map(|(value, _)| value).collect()),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Some(text),
                Value::Bool(flag) => Some(flag.to_string()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
            .collect(),
        Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_filters_read_the_same() {
        let allowed = ["name", "label"];
        let map = Filters::parse(Some(r#"{"name":{"a":true,"b":true}}"#), &allowed).unwrap();
        let list = Filters::parse(Some(r#"{"name":["a","b"]}"#), &allowed).unwrap();
        assert_eq!(map, list);
        assert!(map.fits("name", |name| name == "b"));
        assert!(!map.fits("name", |name| name == "c"));
        assert!(map.fits("label", |_| false));
        assert_eq!(Filters::parse(Some(&map.to_json()), &allowed).unwrap(), map);
    }

    #[test]
    fn nothing_is_no_filter_and_unknown_keys_are_refused() {
        for text in [None, Some(""), Some("{}"), Some("null")] {
            assert_eq!(Filters::parse(text, &[]).unwrap(), Filters::default());
        }
        let error = Filters::parse(Some(r#"{"bad":["x"]}"#), &["id"]).unwrap_err();
        assert!(error.body.message.starts_with("invalid filter 'bad'"));
        assert!(Filters::parse(Some("[1]"), &["id"]).is_err());
        assert!(Filters::parse(Some("{"), &["id"]).is_err());
    }

    #[test]
    fn labels_must_all_be_there() {
        let labels: Labels = [("a".to_owned(), "1".to_owned())].into();
        let fits = |text: &str| {
            Filters::parse(Some(text), &["label"])
                .unwrap()
                .fits_labels("label", &labels)
        };
        assert!(fits(r#"{"label":["a"]}"#));
        assert!(fits(r#"{"label":["a=1"]}"#));
        assert!(!fits(r#"{"label":["a=2"]}"#));
        assert!(!fits(r#"{"label":["a","b"]}"#));
    }
}
