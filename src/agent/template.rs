//! Docker's placeholders in a service's hostname, environment and mounts: `{{.Task.Slot}}`,
//! `{{.Node.Hostname}}`, `{{index .Service.Labels "tier"}}`.
//!
//! The fields Docker documents, not Go's whole template language: what is none of them is an
//! error that names it, so that a task never starts with a placeholder unreplaced. Pure.

use crate::spec::service::Labels;

/// What placeholders stand for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TemplateFields {
    pub(super) service_id: String,
    pub(super) service_name: String,
    pub(super) service_labels: Labels,
    pub(super) node_id: String,
    pub(super) node_hostname: String,
    pub(super) node_os: String,
    pub(super) node_architecture: String,
    pub(super) task_id: String,
    pub(super) task_name: String,
    pub(super) task_slot: String,
}

/// A placeholder that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("in {text:?}: a placeholder is not closed by \"}}}}\"")]
    Unclosed { text: String },
    #[error(
        "in {text:?}: unknown placeholder {placeholder:?}: want .Service.ID, .Service.Name, \
         .Service.Labels.NAME, .Node.ID, .Node.Hostname, .Node.Platform.OS, \
         .Node.Platform.Architecture, .Task.ID, .Task.Name or .Task.Slot"
    )]
    Unknown { text: String, placeholder: String },
}

/// `text` with every placeholder replaced. A label that the service lacks is empty, as in Docker.
pub(super) fn expand(text: &str, fields: &TemplateFields) -> Result<String, TemplateError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, after)) = after.split_once("}}") else {
            return Err(TemplateError::Unclosed {
                text: text.to_owned(),
            });
        };
        // `{{-` and `-}}` swallow the white space around them.
        let trims_left = inside.starts_with("- ");
        let trims_right = inside.ends_with(" -");
        expanded.push_str(if trims_left {
            before.trim_end()
        } else {
            before
        });
        let placeholder = inside
            .trim_start_matches("- ")
            .trim_end_matches(" -")
            .trim();
        let value = value_of(placeholder, fields).ok_or_else(|| TemplateError::Unknown {
            text: text.to_owned(),
            placeholder: placeholder.to_owned(),
        })?;
        expanded.push_str(value);
        rest = if trims_right {
            after.trim_start()
        } else {
            after
        };
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn value_of<'a>(placeholder: &str, fields: &'a TemplateFields) -> Option<&'a str> {
    Some(match placeholder {
        ".Service.ID" => &fields.service_id,
        ".Service.Name" => &fields.service_name,
        ".Node.ID" => &fields.node_id,
        ".Node.Hostname" => &fields.node_hostname,
        ".Node.Platform.OS" => &fields.node_os,
        ".Node.Platform.Architecture" => &fields.node_architecture,
        ".Task.ID" => &fields.task_id,
        ".Task.Name" => &fields.task_name,
        ".Task.Slot" => &fields.task_slot,
        other => {
            let label = label_name(other)?;
            fields.service_labels.get(label).map_or("", String::as_str)
        }
    })
}

/// The label in `.Service.Labels.NAME` or `index .Service.Labels "NAME"`.
fn label_name(placeholder: &str) -> Option<&str> {
    if let Some(name) = placeholder.strip_prefix(".Service.Labels.") {
        return (!name.contains(char::is_whitespace)).then_some(name);
    }
    let argument = placeholder
        .strip_prefix("index ")?
        .trim_start()
        .strip_prefix(".Service.Labels ")?
        .trim();
    ['"', '`'].into_iter().find_map(|quote| {
        argument
            .strip_prefix(quote)?
            .strip_suffix(quote)
            .filter(|name| !name.contains(quote))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> TemplateFields {
        TemplateFields {
            service_name: "web".to_owned(),
            service_labels: Labels::from([("tier".to_owned(), "front".to_owned())]),
            node_hostname: "h1".to_owned(),
            task_slot: "3".to_owned(),
            ..TemplateFields::default()
        }
    }

    #[test]
    fn placeholders_are_replaced() {
        for (text, want) in [
            ("plain", "plain"),
            ("{{.Service.Name}}-{{.Task.Slot}}", "web-3"),
            ("{{ .Node.Hostname }}!", "h1!"),
            ("a {{- .Task.Slot -}} b", "a3b"),
            ("a{{- .Task.Slot -}}b", "a3b"),
            ("{{.Service.Labels.tier}}", "front"),
            ("{{index .Service.Labels \"tier\"}}", "front"),
            ("{{index .Service.Labels `tier` }}", "front"),
            ("{{.Service.Labels.none}}", ""),
            ("}} {", "}} {"),
        ] {
            let got = expand(text, &fields());
            assert_eq!(got.as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_stands_for_nothing_is_named() {
        let unknown = expand("x{{.Task.Nope}}", &fields()).unwrap_err();
        assert!(unknown.to_string().contains(".Task.Nope"), "{unknown}");
        for text in ["{{.Task.Slot", "{{index .Service.Labels tier}}", "{{}}"] {
            assert!(expand(text, &fields()).is_err(), "{text}");
        }
    }
}
