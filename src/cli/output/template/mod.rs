//! The part of Go's template language that `--format` is used with: fields, pipelines, variables,
//! `if`, `range`, `with`, and Docker's functions (`json`, `join`, `upper`, …).

mod eval;
mod functions;
mod lex;
mod parse;

use super::data::Data;

/// A template that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

/// Why a template cannot be read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: {0}")]
pub(crate) struct TemplateError(String);

impl TemplateError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What a field that is not there means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A mistake: the rows of a table have all their fields.
    Refused,
    /// `<no value>`: JSON leaves out what is empty.
    NoValue,
}

impl Template {
    /// Reads a template; `\t` and `\n` written out become a tab and a new line.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        Ok(Self {
            nodes: parse::parse(&lex::lex(&text)?)?,
        })
    }

    pub(crate) fn render(&self, data: &Data, missing: Missing) -> Result<String, TemplateError> {
        eval::render(&self.nodes, data, missing, false)
    }

    /// Over the headings of a table: functions leave them as they are.
    pub(crate) fn render_headings(&self, headings: &Data) -> Result<String, TemplateError> {
        eval::render(&self.nodes, headings, Missing::Refused, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Data {
        serde_json::from_str(
            r#"{"ID":"abc","Name":"web","N":3,"Up":true,"None":null,
                "Labels":{"b":"2","a":"1"},
                "Tags":["x","y","z"],
                "Spec":{"Mode":{"Replicated":{"Replicas":6}}},
                "Ports":[{"P":80},{"P":443}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn templates_render_as_gos_do() {
        let table = [
            ("{{.Name}}", "web"),
            ("{{ .ID }}: {{.Spec.Mode.Replicated.Replicas}}", "abc: 6"),
            (r"{{.ID}}\t{{.Name}}\n", "abc\tweb\n"),
            ("{{json .Labels}}", r#"{"b":"2","a":"1"}"#),
            ("{{json .}}", &data().to_json()),
            ("{{.Labels}}", "map[a:1 b:2]"),
            ("{{.Tags}}", "[x y z]"),
            (r#"{{join .Tags ", "}}"#, "x, y, z"),
            (r#"{{.Name | upper}}"#, "WEB"),
            (r#"{{upper .Name | lower | title}}"#, "Web"),
            (r#"{{index .Tags 1}}{{index .Labels "a"}}"#, "y1"),
            (r#"{{(index .Ports 0).P}}"#, "80"),
            ("{{range .Ports}}{{.P}} {{end}}", "80 443 "),
            (
                "{{range $i, $p := .Ports}}{{$i}}={{$p.P}};{{end}}",
                "0=80;1=443;",
            ),
            ("{{range $k, $v := .Labels}}{{$k}}{{$v}} {{end}}", "a1 b2 "),
            ("{{range .None}}x{{else}}nothing{{end}}", "nothing"),
            ("{{if .Up}}up{{else}}down{{end}}", "up"),
            (
                "{{if .None}}a{{else if eq .N 3}}three{{else}}b{{end}}",
                "three",
            ),
            ("{{with .Spec}}{{.Mode.Replicated.Replicas}}{{end}}", "6"),
            ("{{range .Ports}}{{$.Name}}{{end}}", "webweb"),
            ("{{$x := .Name}}{{$x}}{{$x = \"y\"}}{{$x}}", "weby"),
            ("a {{- .Name -}} b", "awebb"),
            ("{{/* said to nobody */}}x", "x"),
            (
                r#"{{printf "%s-%d %v|%5s|%-5s|%05d|%q" .Name .N .Up "r" "l" 42 "q"}}"#,
                "web-3 true|    r|l    |00042|\"q\"",
            ),
            (r#"{{len .Tags}}{{len .Name}}"#, "33"),
            (r#"{{if and .Up (gt .N 2) (not .None)}}all{{end}}"#, "all"),
            (r#"{{if or .None (ne .Name "web")}}a{{else}}b{{end}}"#, "b"),
            (r#"{{println .Name 1}}"#, "web 1\n"),
            (r#"{{range split "a,b" ","}}[{{.}}]{{end}}"#, "[a][b]"),
            (r#"{{truncate .Name 2}}{{pad "x" 1 2}}|"#, "we x  |"),
            (r#"{{.Missing}}{{.Missing.Deeper}}"#, "<no value><no value>"),
            ("{{`raw`}}{{1.5}}{{true}}", "raw1.5true"),
            (r#"{{eq .Name "a" "web"}}"#, "true"),
        ];
        for (text, want) in table {
            let template = Template::parse(text).unwrap();
            assert_eq!(
                template.render(&data(), Missing::NoValue).unwrap(),
                *want,
                "{text}"
            );
        }
    }

    #[test]
    fn a_row_has_only_its_own_fields() {
        let template = Template::parse("{{.Nmae}}").unwrap();
        let error = template.render(&data(), Missing::Refused).unwrap_err();
        assert_eq!(
            error.to_string(),
            "template parsing error: there is no field .Nmae: \
             want one of .ID .Name .N .Up .None .Labels .Tags .Spec .Ports"
        );
    }

    #[test]
    fn broken_templates_are_refused() {
        for text in [
            "{{.Name",
            "{{}}",
            "{{if .Name}}x",
            "{{end}}",
            "{{else}}",
            "{{range}}{{end}}",
            "{{nosuch .Name}}",
            "{{.Name | }}",
            "{{\"open}}",
            "{{$undeclared}}",
            "{{(.Name}}",
            "{{index .Tags 9}}",
            "{{range .Name}}{{end}}",
        ] {
            let outcome = Template::parse(text).and_then(|it| it.render(&data(), Missing::NoValue));
            assert!(outcome.is_err(), "{text}: {outcome:?}");
        }
    }
}
