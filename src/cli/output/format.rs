//! `--format` of lists: `table`, `table TEMPLATE`, `json`, `TEMPLATE`.

use super::data::Data;
use super::table;
use super::template::{Missing, Template, TemplateError};

/// A kind of list: which columns it has and which of them it shows by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// What `table` alone means, with tabs between the cells.
    pub(crate) default: &'static str,
    /// What `-q` means.
    pub(crate) quiet: &'static str,
    /// The heading of each field.
    pub(crate) headings: &'static [(&'static str, &'static str)],
}

/// How a list is to be printed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// As given; `None` for the default.
    pub(crate) format: Option<&'a str>,
    pub(crate) quiet: bool,
}

/// Rows, each a map of fields, into text.
pub(crate) fn list(
    columns: Columns,
    rows: &[Data],
    wanted: Wanted<'_>,
) -> Result<String, TemplateError> {
    let format = wanted.format.unwrap_or("table").trim();
    if let Some(template) = format.strip_prefix("table") {
        let template = template.trim();
        return match (template.is_empty(), wanted.quiet) {
            (true, true) => lines(columns.quiet, rows),
            (true, false) => aligned(columns, columns.default, rows),
            (false, _) => aligned(columns, template, rows),
        };
    }
    match format {
        "json" => lines("{{json .}}", rows),
        template => lines(template, rows),
    }
}

fn lines(template: &str, rows: &[Data]) -> Result<String, TemplateError> {
    let template = Template::parse(template)?;
    let mut text = String::new();
    for row in rows {
        text.push_str(&template.render(row, Missing::Refused)?);
        text.push('\n');
    }
    Ok(text)
}

fn aligned(columns: Columns, template: &str, rows: &[Data]) -> Result<String, TemplateError> {
    let template = Template::parse(template)?;
    let headings = columns
        .headings
        .iter()
        .map(|(field, heading)| ((*field).to_owned(), Data::from(*heading)))
        .collect();
    let mut all = vec![template.render_headings(&Data::Map(headings))?];
    for row in rows {
        all.push(template.render(row, Missing::Refused)?);
    }
    Ok(table::align(&all))
}

/// A row out of fields, in alphabetical order, as Docker's `--format json` has them.
pub(crate) fn row<const N: usize>(fields: [(&str, Data); N]) -> Data {
    let mut fields: Vec<(String, Data)> = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    fields.sort_by(|(left, _), (right, _)| left.cmp(right));
    Data::Map(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns {
        default: "{{.ID}}\t{{.Name}}",
        quiet: "{{.ID}}",
        headings: &[("ID", "ID"), ("Name", "NAME"), ("Labels", "LABELS")],
    };

    fn shown(format: Option<&str>, quiet: bool) -> String {
        let rows = [("1", "web"), ("2", "db")].map(|(id, name)| {
            row([
                ("Name", name.into()),
                ("ID", id.into()),
                ("Labels", "".into()),
            ])
        });
        list(COLUMNS, &rows, Wanted { format, quiet }).unwrap()
    }

    #[test]
    fn every_format_is_understood() {
        assert_eq!(
            shown(None, false),
            "ID        NAME\n1         web\n2         db\n"
        );
        assert_eq!(shown(Some("table"), true), "1\n2\n");
        assert_eq!(
            shown(Some(r"table {{.Name}}\t{{json .ID}}"), false),
            "NAME      ID\nweb       \"1\"\ndb        \"2\"\n"
        );
        assert_eq!(
            shown(Some("json"), false),
            "{\"ID\":\"1\",\"Labels\":\"\",\"Name\":\"web\"}\n{\"ID\":\"2\",\"Labels\":\"\",\"Name\":\"db\"}\n"
        );
        assert_eq!(shown(Some("{{.Name}}!"), true), "web!\ndb!\n");
    }
}
