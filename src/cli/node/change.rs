//! `swarmr node update`, `promote`, `demote`.

use clap::Args;

use crate::api::client::{ClientError, target};
use crate::api::wire::Node;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::values;
use crate::spec::{Availability, Nanos, NodeSpec, Role, parse};

/// A node's version moves with its state, so that a change may have to be made anew.
const ATTEMPTS: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Id, name, or "self"
    node: String,
    /// Whether the node takes tasks
    #[arg(long, value_parser = values::availability())]
    availability: Option<Availability>,
    /// Whether the node takes part in deciding
    #[arg(long, value_parser = values::role())]
    role: Option<Role>,
    /// Add or change a label
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    label_add: Vec<(String, String)>,
    /// Remove a label
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// With --availability drain: stop everything at once
    #[arg(short, long)]
    force: bool,
}

impl UpdateArgs {
    fn apply(&self, spec: &mut NodeSpec) -> Result<(), Failure> {
        for key in &self.label_rm {
            if spec.labels.remove(key).is_none() {
                return Err(Failure::new(
                    Exit::NotFound,
                    format!("node {} has no label {key:?}", self.node),
                ));
            }
        }
        spec.labels.extend(self.label_add.iter().cloned());
        if let Some(availability) = self.availability {
            spec.availability = availability;
        }
        if let Some(role) = self.role {
            spec.role = role;
        }
        Ok(())
    }
}

pub(super) async fn update(context: &Context, args: UpdateArgs) -> Result<(), Failure> {
    let drains = args.availability == Some(Availability::Drain);
    if args.force && !drains {
        return Err(Failure::new(
            Exit::Usage,
            "--force goes with --availability drain only",
        ));
    }
    let query: &[(&str, &str)] = if args.force { &[("force", "1")] } else { &[] };
    edit(context, &args.node, query, |spec| args.apply(spec)).await?;
    context.print(&format!("{}\n", args.node))
}

pub(super) async fn promote(context: &Context, nodes: &[String]) -> Result<(), Failure> {
    set_role(context, nodes, Role::Manager, |node, changed| {
        if changed {
            format!("Node {node} promoted to a manager in the swarm.\n")
        } else {
            format!("Node {node} is already a manager.\n")
        }
    })
    .await
}

pub(super) async fn demote(context: &Context, nodes: &[String]) -> Result<(), Failure> {
    set_role(context, nodes, Role::Worker, |node, changed| {
        if changed {
            format!("Manager {node} demoted in the swarm.\n")
        } else {
            format!("Node {node} is already a worker.\n")
        }
    })
    .await
}

async fn set_role(
    context: &Context,
    nodes: &[String],
    role: Role,
    told: fn(&str, bool) -> String,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for node in nodes {
        let changed = edit(context, node, &[], |spec| {
            spec.role = role;
            Ok(())
        })
        .await;
        match changed {
            Ok(changed) => context.print(&told(node, changed))?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::join(failures)
}

/// `limit` is for how long tasks may take to leave a node that is drained.
pub(super) async fn set_availability(
    context: &Context,
    node: &str,
    availability: Availability,
    limit: Option<Nanos>,
) -> Result<(), Failure> {
    let limit = limit.map(|limit| format!("{}ns", limit.0));
    let query: Vec<(&str, &str)> = limit
        .iter()
        .map(|limit| ("drainTimeout", limit.as_str()))
        .collect();
    edit(context, node, &query, |spec| {
        spec.availability = availability;
        Ok(())
    })
    .await
    .map(|_| ())
}

/// Reads a node's spec, changes it, writes it back; again where somebody else was quicker. Tells
/// whether anything was to be changed. `query` says more than the spec can.
async fn edit(
    context: &Context,
    name: &str,
    query: &[(&str, &str)],
    change: impl Fn(&mut NodeSpec) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let name = context.node_name(name).await?;
    let mut attempt = 1;
    loop {
        let node: Node = context.get(&["nodes", &name], &[]).await?;
        let mut spec = node.spec.clone();
        change(&mut spec)?;
        if spec == node.spec && query.is_empty() {
            return Ok(false);
        }
        let id = node.id.to_string();
        let version = node.meta.version.index.to_string();
        let mut whole = vec![("version", version.as_str())];
        whole.extend(query);
        let target = target(&["nodes", &id, "update"], &whole);
        match context.client.post_bytes(&target, &spec).await {
            Ok(_) => return Ok(true),
            Err(error) if is_stale(&error) && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether somebody else's write came between reading and writing.
pub(crate) fn is_stale(error: &ClientError) -> bool {
    use crate::api::wire::ErrorCode;
    matches!(
        error,
        ClientError::Refused {
            code: Some(ErrorCode::Stale),
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_changes_what_was_given_and_nothing_else() {
        let mut args = UpdateArgs {
            node: "h1".into(),
            availability: Some(Availability::Drain),
            role: None,
            label_add: vec![("zone".into(), "b".into())],
            label_rm: vec!["old".into()],
            force: false,
        };
        let mut spec = NodeSpec {
            labels: [("old", "1"), ("zone", "a"), ("kept", "x")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            role: Role::Manager,
            ..NodeSpec::default()
        };
        args.apply(&mut spec).unwrap();
        assert_eq!(spec.availability, Availability::Drain);
        assert_eq!(spec.role, Role::Manager);
        let labels: Vec<String> = spec
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(labels, ["kept=x", "zone=b"]);
        args.label_rm = vec!["missing".into()];
        let failure = args.apply(&mut spec).unwrap_err();
        assert_eq!(failure.message, "node h1 has no label \"missing\"");
        assert_eq!(failure.exit, Exit::NotFound);
    }
}
