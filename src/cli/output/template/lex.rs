//! Text of a template into pieces: plain text and the tokens of each action.

use super::TemplateError;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// One token inside `{{ }}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.` alone.
    Dot,
    /// `.Name`; `joined` when nothing stands between it and what comes before.
    Field {
        name: String,
        joined: bool,
    },
    /// `$` or `$name`, without the sign.
    Variable(String),
    /// A function or a keyword.
    Word(String),
    Text(String),
    Number(serde_json::Number),
    Pipe,
    Open,
    /// `joined` is not needed here: a field after it says so.
    Close,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

pub(super) fn lex(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(start) = rest.find("{{") {
        let (before, action) = rest.split_at(start);
        let mut action = &action[2..];
        let mut before = if trim_next {
            before.trim_start()
        } else {
            before
        };
        if let Some(trimmed) = action.strip_prefix("- ") {
            action = trimmed;
            before = before.trim_end();
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let (tokens, after, trims) = lex_action(action)?;
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens));
        }
        trim_next = trims;
        rest = after;
    }
    let rest = if trim_next { rest.trim_start() } else { rest };
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// The tokens up to `}}` (none for a comment), the text after it, and whether that loses its
/// leading space.
fn lex_action(action: &str) -> Result<(Option<Vec<Token>>, &str, bool), TemplateError> {
    let unclosed = || TemplateError::new("an action is not closed: want }}");
    if let Some(comment) = action.trim_start().strip_prefix("/*") {
        let end = comment.find("*/").ok_or_else(unclosed)?;
        let after = comment[end + 2..].trim_start();
        return match (after.strip_prefix("-}}"), after.strip_prefix("}}")) {
            (Some(after), _) => Ok((None, after, true)),
            (None, Some(after)) => Ok((None, after, false)),
            (None, None) => Err(unclosed()),
        };
    }
    let mut tokens = Vec::new();
    let mut rest = action;
    let mut joined = false;
    loop {
        if let Some(after) = rest.strip_prefix(" -}}") {
            return Ok((Some(tokens), after, true));
        }
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((Some(tokens), after, false));
        }
        let next = rest.chars().next().ok_or_else(unclosed)?;
        if next.is_whitespace() {
            rest = &rest[next.len_utf8()..];
            joined = false;
            continue;
        }
        let (token, after) = lex_token(next, rest, joined)?;
        tokens.push(token);
        rest = after;
        joined = true;
    }
}

fn lex_token(next: char, rest: &str, joined: bool) -> Result<(Token, &str), TemplateError> {
    let after = &rest[next.len_utf8()..];
    let name_after = |text: &str| {
        text.find(|next: char| !next.is_alphanumeric() && next != '_')
            .unwrap_or(text.len())
    };
    Ok(match next {
        '|' => (Token::Pipe, after),
        '(' => (Token::Open, after),
        ')' => (Token::Close, after),
        ',' => (Token::Comma, after),
        '=' => (Token::Assign, after),
        ':' if after.starts_with('=') => (Token::Declare, &after[1..]),
        '"' => lex_quoted(rest)?,
        '`' => {
            let end = after
                .find('`')
                .ok_or_else(|| TemplateError::new("a raw string is not closed: want `"))?;
            (Token::Text(after[..end].to_owned()), &after[end + 1..])
        }
        '.' => {
            let end = name_after(after);
            if end == 0 {
                (Token::Dot, after)
            } else {
                let name = after[..end].to_owned();
                (Token::Field { name, joined }, &after[end..])
            }
        }
        '$' => {
            let end = name_after(after);
            (Token::Variable(after[..end].to_owned()), &after[end..])
        }
        digit if digit.is_ascii_digit() || digit == '-' || digit == '+' => {
            let end = after
                .find(|next: char| !next.is_ascii_digit() && next != '.')
                .map_or(rest.len(), |end| end + 1);
            let number = rest[..end]
                .trim_start_matches('+')
                .parse()
                .map_err(|_| TemplateError::new(format!("{:?} is no number", &rest[..end])))?;
            (Token::Number(number), &rest[end..])
        }
        letter if letter.is_alphabetic() || letter == '_' => {
            let end = name_after(rest);
            (Token::Word(rest[..end].to_owned()), &rest[end..])
        }
        other => {
            return Err(TemplateError::new(format!(
                "unexpected {other:?} in an action"
            )));
        }
    })
}

fn lex_quoted(rest: &str) -> Result<(Token, &str), TemplateError> {
    let mut escaped = false;
    for (place, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                // Tabs and new lines were unescaped before; JSON wants them written out.
                let quoted = rest[..=place].replace('\t', "\\t").replace('\n', "\\n");
                let text = serde_json::from_str(&quoted)
                    .map_err(|_| TemplateError::new(format!("{quoted} is no string")))?;
                return Ok((Token::Text(text), &rest[place + 1..]));
            }
            _ => {}
        }
    }
    Err(TemplateError::new("a string is not closed: want \""))
}
