//! Pieces of a template into a tree.

use std::iter::Peekable;
use std::slice::Iter;

use super::TemplateError;
use super::functions;
use super::lex::{Piece, Token};
use crate::cli::output::data::Data;

/// One node of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// Prints what it gives, unless it sets a variable.
    Print(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    With {
        value: Pipeline,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    Range {
        /// The variables of the key and of the value.
        key: Option<String>,
        value: Option<String>,
        over: Pipeline,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
}

/// Commands, each given the result of the one before as its last argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// The variable it sets, and whether that makes a new one.
    pub(super) sets: Option<(String, bool)>,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Operand(Operand),
    Call {
        function: String,
        arguments: Vec<Operand>,
    },
}

/// A value and the fields taken of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Data),
    Pipeline(Box<Pipeline>),
    /// A function without arguments, where a value stands.
    Function(String),
}

pub(super) fn parse(pieces: &[Piece]) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = pieces.iter().peekable();
    let (nodes, end) = parse_nodes(&mut pieces)?;
    match end {
        End::OfText => Ok(nodes),
        End::Else(_) => Err(TemplateError::new("{{else}} without an {{if}}")),
        End::Keyword => Err(TemplateError::new("{{end}} without an {{if}} or {{range}}")),
    }
}

/// What ended a list of nodes.
enum End<'a> {
    OfText,
    Keyword,
    /// With the tokens after `else`.
    Else(&'a [Token]),
}

type Pieces<'a> = Peekable<Iter<'a, Piece>>;

fn parse_nodes<'a>(pieces: &mut Pieces<'a>) -> Result<(Vec<Node>, End<'a>), TemplateError> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text.clone()));
                continue;
            }
            Piece::Action(tokens) => tokens.as_slice(),
        };
        match tokens {
            [Token::Word(word)] if word == "end" => return Ok((nodes, End::Keyword)),
            [Token::Word(word), after @ ..] if word == "else" => {
                return Ok((nodes, End::Else(after)));
            }
            [Token::Word(word), after @ ..] if matches!(word.as_str(), "if" | "with" | "range") => {
                nodes.push(parse_block(word, after, pieces)?);
            }
            _ => nodes.push(Node::Print(parse_whole(tokens)?)),
        }
    }
    Ok((nodes, End::OfText))
}

fn parse_block(word: &str, head: &[Token], pieces: &mut Pieces<'_>) -> Result<Node, TemplateError> {
    let (then, end) = parse_nodes(pieces)?;
    let otherwise = match end {
        End::OfText => {
            return Err(TemplateError::new(format!(
                "{{{{{word}}}}} without an {{{{end}}}}"
            )));
        }
        End::Keyword => Vec::new(),
        End::Else([]) => match parse_nodes(pieces)? {
            (nodes, End::Keyword) => nodes,
            _ => return Err(TemplateError::new("{{else}} without an {{end}}")),
        },
        // `{{else if …}}` is an `if` inside the `else` that shares its `{{end}}`.
        End::Else([Token::Word(inner), after @ ..]) if inner == "if" || inner == "with" => {
            vec![parse_block(inner, after, pieces)?]
        }
        End::Else(_) => return Err(TemplateError::new("want {{else}} or {{else if …}}")),
    };
    Ok(match word {
        "if" => Node::If {
            condition: parse_whole(head)?,
            then,
            otherwise,
        },
        "with" => Node::With {
            value: parse_whole(head)?,
            then,
            otherwise,
        },
        _ => {
            let (key, value, over) = match head {
                [
                    Token::Variable(key),
                    Token::Comma,
                    Token::Variable(value),
                    Token::Declare,
                    over @ ..,
                ] => (Some(key.clone()), Some(value.clone()), over),
                [Token::Variable(value), Token::Declare, over @ ..] => {
                    (None, Some(value.clone()), over)
                }
                over => (None, None, over),
            };
            Node::Range {
                key,
                value,
                over: parse_whole(over)?,
                body: then,
                otherwise,
            }
        }
    })
}

fn parse_whole(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let mut tokens = tokens.iter().peekable();
    let pipeline = parse_pipeline(&mut tokens)?;
    match tokens.next() {
        None => Ok(pipeline),
        Some(token) => Err(TemplateError::new(format!("unexpected {token:?}"))),
    }
}

type Tokens<'a> = Peekable<Iter<'a, Token>>;

fn parse_pipeline(tokens: &mut Tokens<'_>) -> Result<Pipeline, TemplateError> {
    let mut sets = None;
    let mut ahead = tokens.clone();
    if let Some(Token::Variable(name)) = ahead.next() {
        match ahead.next() {
            Some(Token::Declare) => sets = Some((name.clone(), true)),
            Some(Token::Assign) => sets = Some((name.clone(), false)),
            _ => {}
        }
        if sets.is_some() {
            *tokens = ahead;
        }
    }
    let mut commands = vec![parse_command(tokens)?];
    while tokens.next_if(|token| **token == Token::Pipe).is_some() {
        commands.push(parse_command(tokens)?);
    }
    Ok(Pipeline { sets, commands })
}

fn parse_command(tokens: &mut Tokens<'_>) -> Result<Command, TemplateError> {
    if let Some(Token::Word(word)) = tokens.peek()
        && literal(word).is_none()
    {
        tokens.next();
        known(word)?;
        let mut arguments = Vec::new();
        while let Some(operand) = parse_operand(tokens)? {
            arguments.push(operand);
        }
        return Ok(Command::Call {
            function: word.clone(),
            arguments,
        });
    }
    parse_operand(tokens)?
        .map(Command::Operand)
        .ok_or_else(|| TemplateError::new("a value is missing"))
}

/// `None` where no operand begins.
fn parse_operand(tokens: &mut Tokens<'_>) -> Result<Option<Operand>, TemplateError> {
    let mut fields = Vec::new();
    let base = match tokens.peek() {
        Some(Token::Dot) => Base::Dot,
        Some(Token::Field { name, .. }) => {
            fields.push(name.clone());
            Base::Dot
        }
        Some(Token::Variable(name)) => Base::Variable(name.clone()),
        Some(Token::Text(text)) => Base::Literal(Data::Text(text.clone())),
        Some(Token::Number(number)) => Base::Literal(Data::Number(number.clone())),
        Some(Token::Word(word)) => match literal(word) {
            Some(value) => Base::Literal(value),
            None => {
                known(word)?;
                Base::Function(word.clone())
            }
        },
        Some(Token::Open) => {
            tokens.next();
            let inner = parse_pipeline(tokens)?;
            if tokens.peek() != Some(&&Token::Close) {
                return Err(TemplateError::new("a parenthesis is not closed: want )"));
            }
            Base::Pipeline(Box::new(inner))
        }
        _ => return Ok(None),
    };
    tokens.next();
    while let Some(Token::Field { name, .. }) =
        tokens.next_if(|token| matches!(token, Token::Field { joined: true, .. }))
    {
        fields.push(name.clone());
    }
    Ok(Some(Operand { base, fields }))
}

fn literal(word: &str) -> Option<Data> {
    match word {
        "true" => Some(Data::Bool(true)),
        "false" => Some(Data::Bool(false)),
        "nil" => Some(Data::Null),
        _ => None,
    }
}

fn known(word: &str) -> Result<(), TemplateError> {
    if functions::NAMES.contains(&word) {
        Ok(())
    } else {
        Err(TemplateError::new(format!(
            "there is no function {word:?}: want one of {}",
            functions::NAMES.join(" ")
        )))
    }
}
