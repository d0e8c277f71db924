//! What `inspect` prints: the objects as the daemon sent them, or a template over each.

use super::data::Data;
use super::template::{Missing, Template, TemplateError};

/// All objects as one JSON array, or the template's text for each on a line of its own.
pub(crate) fn objects(objects: &[Data], format: Option<&str>) -> Result<String, TemplateError> {
    let format = match format {
        None | Some("") => {
            let all = Data::List(objects.to_vec());
            return Ok(format!("{}\n", all.to_pretty_json()));
        }
        Some("json") => "{{json .}}",
        Some(format) => format,
    };
    let template = Template::parse(format)?;
    let mut text = String::new();
    for object in objects {
        text.push_str(&template.render(object, Missing::NoValue)?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_an_array_or_lines() {
        let all: Vec<Data> = serde_json::from_str(r#"[{"ID":"b"},{"ID":"a"}]"#).unwrap();
        assert_eq!(
            objects(&all, None).unwrap(),
            "[\n    {\n        \"ID\": \"b\"\n    },\n    {\n        \"ID\": \"a\"\n    }\n]\n"
        );
        assert_eq!(objects(&all, Some("{{.ID}}")).unwrap(), "b\na\n");
        assert_eq!(
            objects(&all, Some("json")).unwrap(),
            "{\"ID\":\"b\"}\n{\"ID\":\"a\"}\n"
        );
        assert_eq!(objects(&[], None).unwrap(), "[]\n");
    }
}
