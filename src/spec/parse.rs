//! What users write on a command line, read into spec types. Called by the CLI.
//!
//! Every refusal names what was asked for, what was got and what is allowed. Layer: pure.

mod affinity;
mod device;
mod generic;
mod mount;
mod pairs;
mod port;
mod quantity;

pub use affinity::affinity;
pub use device::{device, device_kind, gpus, is_permissions};
pub use generic::{generic_resource, node_resource};
pub use mount::mount;
pub use pairs::{
    FileReference, capability, driver_opt, file_reference, host, key_value, network,
    placement_preference, scale, sysctl, ulimit,
};
pub use port::{PortToRemove, Ports, port, port_to_remove};
pub use quantity::{bytes, cpus, duration, ratio};

/// Why a text was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {got:?} is not valid: want {allowed}")]
pub struct ParseError {
    pub what: &'static str,
    pub got: String,
    pub allowed: String,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, got: &str, allowed: impl Into<String>) -> Self {
        Self {
            what,
            got: got.to_owned(),
            allowed: allowed.into(),
        }
    }
}

/// Splits at commas as Go's CSV reader does: a field in double quotes may hold commas, and a
/// doubled quote inside it is one quote. This is how `--mount` and the other `key=value,…`
/// options are written.
pub fn fields(text: &str) -> Result<Vec<String>, ParseError> {
    let mut all = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(other) => field.push(other),
                    None => {
                        return Err(ParseError::new("option", text, "a closing double quote"));
                    }
                }
            }
        } else {
            while let Some(other) = chars.next_if(|next| *next != ',') {
                field.push(other);
            }
        }
        all.push(field);
        match chars.next() {
            None => return Ok(all),
            Some(',') => {}
            Some(_) => {
                return Err(ParseError::new(
                    "option",
                    text,
                    "a comma after a closing double quote",
                ));
            }
        }
    }
}

/// Splits a command into words as a POSIX shell would, without expanding anything.
pub fn words(text: &str) -> Result<Vec<String>, ParseError> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    let open = || ParseError::new("command", text, "every quote to be closed");
    while let Some(next) = chars.next() {
        match next {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(open)? {
                        '\'' => break,
                        other => word.push(other),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(open)? {
                        '"' => break,
                        '\\' => match chars.next().ok_or_else(open)? {
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            '\n' => {}
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            space if space.is_whitespace() => all.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    all.extend(word);
    Ok(all)
}

/// Go's reading of a truth value: `1 t true` and `0 f false`, in any of Go's cases.
pub fn truth(what: &'static str, text: &str) -> Result<bool, ParseError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ParseError::new(what, text, "true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_as_csv() {
        assert_eq!(fields("a=1,b=2").unwrap(), ["a=1", "b=2"]);
        assert_eq!(
            fields(r#"type=volume,"volume-opt=o=addr=1,2",x="#).unwrap(),
            ["type=volume", "volume-opt=o=addr=1,2", "x="]
        );
        assert_eq!(fields(r#""a ""b""",c"#).unwrap(), [r#"a "b""#, "c"]);
        assert!(fields(r#""open"#).is_err());
        assert!(fields(r#""a"b"#).is_err());
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("a  b\tc", &["a", "b", "c"]),
            (
                r#"sh -c "echo 'x' \"y\"""#,
                &["sh", "-c", r#"echo 'x' "y""#],
            ),
            (r"one\ word 'two words'", &["one word", "two words"]),
            ("''", &[""]),
            (r#"a"b"'c'"#, &["abc"]),
        ];
        for (text, want) in table {
            assert_eq!(&words(text).unwrap(), want, "{text}");
        }
        assert!(words("'open").is_err());
        assert!(words("\"open").is_err());
    }

    #[test]
    fn truth_is_what_go_calls_truth() {
        assert_eq!(truth("readonly", "True"), Ok(true));
        assert_eq!(truth("readonly", "0"), Ok(false));
        let error = truth("readonly", "yes").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"readonly "yes" is not valid: want true or false"#
        );
    }
}
