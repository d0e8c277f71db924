//! What templates may call: Go's own functions and Docker's.

use super::TemplateError;
use crate::cli::output::data::Data;

pub(super) const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "split", "title", "truncate", "upper",
];

pub(super) fn call(function: &str, arguments: &[Data]) -> Result<Data, TemplateError> {
    let wrong = |want: &str| {
        TemplateError::new(format!(
            "{function} was given {} arguments: want {want}",
            arguments.len()
        ))
    };
    Ok(match (function, arguments) {
        ("json", [value]) => value.to_json().into(),
        ("upper", [text]) => text.to_string().to_uppercase().into(),
        ("lower", [text]) => text.to_string().to_lowercase().into(),
        ("title", [text]) => title(&text.to_string()).into(),
        ("join", [Data::List(items), separator]) => {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            items.join(&separator.to_string()).into()
        }
        ("join", [Data::Null, _]) => "".into(),
        ("split", [text, separator]) => Data::List(
            text.to_string()
                .split(&separator.to_string())
                .map(Data::from)
                .collect(),
        ),
        ("truncate", [text, length]) => text
            .to_string()
            .chars()
            .take(count(length)?)
            .collect::<String>()
            .into(),
        ("pad", [text, before, after]) => format!(
            "{}{text}{}",
            " ".repeat(count(before)?),
            " ".repeat(count(after)?)
        )
        .into(),
        ("len", [value]) => (match value {
            Data::Text(text) => text.len(),
            Data::List(items) => items.len(),
            Data::Map(entries) => entries.len(),
            Data::Null => 0,
            other => return Err(TemplateError::new(format!("len of {other}"))),
        } as u64)
            .into(),
        ("index", [value, keys @ ..]) => index(value, keys)?,
        ("print", values) => {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            texts.concat().into()
        }
        ("println", values) => {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            format!("{}\n", texts.join(" ")).into()
        }
        ("printf", [Data::Text(format), values @ ..]) => printf(format, values)?.into(),
        ("not", [value]) => (!value.is_true()).into(),
        // `and` gives the first that is false, `or` the first that is true, else the last.
        ("and" | "or", [.., last]) => arguments
            .iter()
            .find(|value| value.is_true() == (function == "or"))
            .unwrap_or(last)
            .clone(),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            others.iter().any(|other| same(first, other)).into()
        }
        ("ne", [left, right]) => (!same(left, right)).into(),
        ("lt", [left, right]) => compare(left, right)?.is_lt().into(),
        ("le", [left, right]) => compare(left, right)?.is_le().into(),
        ("gt", [left, right]) => compare(left, right)?.is_gt().into(),
        ("ge", [left, right]) => compare(left, right)?.is_ge().into(),
        ("join", _) => return Err(wrong("a list and a separator")),
        ("split" | "truncate" | "ne" | "lt" | "le" | "gt" | "ge", _) => return Err(wrong("two")),
        ("pad", _) => return Err(wrong("three")),
        ("printf", _) => return Err(wrong("a format and values")),
        _ => return Err(wrong("at least one")),
    })
}

/// What a function that changes texts makes of a heading: nothing.
pub(super) fn heading(function: &str, arguments: &[Data]) -> Option<Data> {
    let changes = matches!(
        function,
        "json" | "upper" | "lower" | "title" | "join" | "split" | "truncate" | "pad" | "index"
    );
    arguments.first().filter(|_| changes).cloned()
}

fn title(text: &str) -> String {
    let mut starts = true;
    text.chars()
        .flat_map(|next| {
            let upper = starts;
            starts = !next.is_alphanumeric();
            if upper {
                next.to_uppercase().collect::<Vec<_>>()
            } else {
                vec![next]
            }
        })
        .collect()
}

fn count(value: &Data) -> Result<usize, TemplateError> {
    match value {
        Data::Number(number) => number
            .as_u64()
            .and_then(|count| usize::try_from(count).ok()),
        _ => None,
    }
    .ok_or_else(|| TemplateError::new(format!("{value} is no count")))
}

fn index(value: &Data, keys: &[Data]) -> Result<Data, TemplateError> {
    let mut value = value.clone();
    for key in keys {
        value = match (&value, key) {
            (Data::List(items), key) => {
                let place = count(key)?;
                items.get(place).cloned().ok_or_else(|| {
                    TemplateError::new(format!(
                        "index {place} is past the end of a list of {}",
                        items.len()
                    ))
                })?
            }
            (map @ Data::Map(_), Data::Text(key)) => map.get(key).cloned().unwrap_or_default(),
            (Data::Null, _) => Data::Null,
            (other, _) => {
                return Err(TemplateError::new(format!("{other} cannot be indexed")));
            }
        };
    }
    Ok(value)
}

fn same(left: &Data, right: &Data) -> bool {
    match (left, right) {
        (Data::Number(left), Data::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

fn compare(left: &Data, right: &Data) -> Result<std::cmp::Ordering, TemplateError> {
    match (left, right) {
        (Data::Number(left), Data::Number(right)) => left
            .as_f64()
            .zip(right.as_f64())
            .and_then(|(left, right)| left.partial_cmp(&right)),
        (Data::Text(left), Data::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
    .ok_or_else(|| TemplateError::new(format!("{left} and {right} cannot be compared")))
}

/// `%s %d %v %q %t %x %%` with a width and the flags `-` and `0`.
fn printf(format: &str, values: &[Data]) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        out.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let end = rest
            .find(|next: char| next.is_alphabetic() || next == '%')
            .ok_or_else(|| TemplateError::new(format!("{format:?} ends in a %")))?;
        let (flags, verb) = (&rest[..end], rest[end..].chars().next().unwrap_or('%'));
        rest = &rest[end + verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values
            .next()
            .ok_or_else(|| TemplateError::new(format!("{format:?} wants more values")))?;
        let text = match verb {
            's' | 'd' | 'v' | 't' | 'f' | 'g' => value.to_string(),
            'q' => Data::Text(value.to_string()).to_json(),
            'x' => match value {
                Data::Number(number) => format!("{:x}", number.as_i64().unwrap_or_default()),
                other => other
                    .to_string()
                    .bytes()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            },
            other => {
                return Err(TemplateError::new(format!(
                    "%{other} is not known: want %s %d %v %q %t %x"
                )));
            }
        };
        out.push_str(&padded(&text, flags));
    }
    out.push_str(rest);
    Ok(out)
}

fn padded(text: &str, flags: &str) -> String {
    let left = flags.contains('-');
    let digits = flags.trim_start_matches(['-', '+', ' ']);
    let zeros = digits.starts_with('0') && !left;
    let width: usize = digits
        .split('.')
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    if left {
        format!("{text}{}", " ".repeat(missing))
    } else {
        format!("{}{text}", if zeros { "0" } else { " " }.repeat(missing))
    }
}
