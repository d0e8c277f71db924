//! Walks the tree of a template over data.

use super::functions;
use super::parse::{Base, Command, Node, Operand, Pipeline};
use super::{Missing, TemplateError};
use crate::cli::output::data::Data;

pub(super) fn render(
    nodes: &[Node],
    data: &Data,
    missing: Missing,
    headings: bool,
) -> Result<String, TemplateError> {
    let mut walk = Walk {
        headings,
        out: String::new(),
        // `$` is the whole.
        variables: vec![(String::new(), data.clone())],
        missing,
    };
    walk.nodes(nodes, data)?;
    Ok(walk.out)
}

struct Walk {
    out: String,
    variables: Vec<(String, Data)>,
    missing: Missing,
    /// Whether the data are headings, which functions leave as they are.
    headings: bool,
}

impl Walk {
    fn nodes(&mut self, nodes: &[Node], dot: &Data) -> Result<(), TemplateError> {
        for node in nodes {
            self.node(node, dot)?;
        }
        Ok(())
    }

    /// Variables made inside end with the block.
    fn block(&mut self, nodes: &[Node], dot: &Data) -> Result<(), TemplateError> {
        let depth = self.variables.len();
        self.nodes(nodes, dot)?;
        self.variables.truncate(depth);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Data) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.sets.is_none() {
                    self.out.push_str(&value.to_string());
                }
            }
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let depth = self.variables.len();
                let truth = self.pipeline(condition, dot)?.is_true();
                self.block(if truth { then } else { otherwise }, dot)?;
                self.variables.truncate(depth);
            }
            Node::With {
                value,
                then,
                otherwise,
            } => {
                let depth = self.variables.len();
                let value = self.pipeline(value, dot)?;
                if value.is_true() {
                    self.block(then, &value)?;
                } else {
                    self.block(otherwise, dot)?;
                }
                self.variables.truncate(depth);
            }
            Node::Range {
                key,
                value,
                over,
                body,
                otherwise,
            } => {
                let items = items(self.pipeline(over, dot)?)?;
                if items.is_empty() {
                    self.block(otherwise, dot)?;
                }
                for (place, item) in items {
                    let depth = self.variables.len();
                    self.variables.extend(key.clone().map(|key| (key, place)));
                    let named = value.clone().map(|value| (value, item.clone()));
                    self.variables.extend(named);
                    self.nodes(body, &item)?;
                    self.variables.truncate(depth);
                }
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Data) -> Result<Data, TemplateError> {
        let mut result: Option<Data> = None;
        for command in &pipeline.commands {
            result = Some(match command {
                Command::Operand(operand) => {
                    if result.is_some() {
                        return Err(TemplateError::new("only a function may follow |"));
                    }
                    self.operand(operand, dot)?
                }
                Command::Call {
                    function,
                    arguments,
                } => {
                    let mut values = Vec::new();
                    for argument in arguments {
                        values.push(self.operand(argument, dot)?);
                    }
                    values.extend(result);
                    match functions::heading(function, &values) {
                        Some(heading) if self.headings => heading,
                        _ => functions::call(function, &values)?,
                    }
                }
            });
        }
        let result = result.unwrap_or_default();
        match &pipeline.sets {
            Some((name, true)) => self.variables.push((name.clone(), result.clone())),
            Some((name, false)) => *self.variable(name)? = result.clone(),
            None => {}
        }
        Ok(result)
    }

    fn operand(&mut self, operand: &Operand, dot: &Data) -> Result<Data, TemplateError> {
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => self.variable(name)?.clone(),
            Base::Literal(literal) => literal.clone(),
            Base::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            Base::Function(function) => functions::call(function, &[])?,
        };
        for field in &operand.fields {
            value = self.field(&value, field)?;
        }
        Ok(value)
    }

    fn field(&self, value: &Data, field: &str) -> Result<Data, TemplateError> {
        match (value.get(field), self.missing) {
            (Some(found), _) => Ok(found.clone()),
            (None, Missing::NoValue) => Ok(Data::Null),
            (None, Missing::Refused) => Err(TemplateError::new(match value {
                Data::Map(entries) => {
                    let known: Vec<String> =
                        entries.iter().map(|(key, _)| format!(".{key}")).collect();
                    format!(
                        "there is no field .{field}: want one of {}",
                        known.join(" ")
                    )
                }
                other => format!("there is no field .{field} in {other}"),
            })),
        }
    }

    fn variable(&mut self, name: &str) -> Result<&mut Data, TemplateError> {
        self.variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
            .ok_or_else(|| TemplateError::new(format!("there is no variable ${name}")))
    }
}

/// The keys and values that `range` goes over: a map's in the order of its keys, as Go does.
fn items(over: Data) -> Result<Vec<(Data, Data)>, TemplateError> {
    Ok(match over {
        Data::Null => Vec::new(),
        Data::List(items) => (0_u64..).map(Data::from).zip(items).collect(),
        Data::Map(mut entries) => {
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            entries
                .into_iter()
                .map(|(key, value)| (Data::Text(key), value))
                .collect()
        }
        other => {
            return Err(TemplateError::new(format!("range cannot go over {other}")));
        }
    })
}
