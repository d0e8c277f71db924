//! `swarmr service explain`, `swarmr service plan` and `--dry-run`.

use std::fmt::Write as _;

use clap::Args;

use crate::api::client::target;
use crate::api::wire::planning::{Explanation, Rehearsal, Step};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::spec::ServiceSpec;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Ids or names
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn explain(context: &Context, args: &ExplainArgs) -> Result<(), Failure> {
    for service in &args.services {
        let path = ["swarmr", "v1", "services", service, "explain"];
        let explanation: Explanation = context.get(&path, &[]).await?;
        context.print(&if args.json {
            as_json(&explanation)?
        } else {
            explained(&explanation)
        })?;
    }
    Ok(())
}

/// What `service create` would do, printed.
pub(super) async fn rehearse_create(context: &Context, spec: &ServiceSpec) -> Result<(), Failure> {
    let target = target(&["swarmr", "v1", "services", "plan"], &[]);
    let rehearsal: Rehearsal = context.client.post(&target, spec).await?;
    context.print(&rehearsed(&rehearsal))
}

/// What an update of a service would do, printed.
pub(super) async fn rehearse_update(
    context: &Context,
    service: &str,
    spec: &ServiceSpec,
    query: &[(&str, &str)],
) -> Result<(), Failure> {
    let target = target(&["swarmr", "v1", "services", service, "plan"], query);
    let rehearsal: Rehearsal = context.client.post(&target, spec).await?;
    context.print(&rehearsed(&rehearsal))
}

fn as_json(explanation: &Explanation) -> Result<String, Failure> {
    serde_json::to_string_pretty(explanation)
        .map(|text| format!("{text}\n"))
        .map_err(|error| Failure::error(error.to_string()))
}

fn explained(explanation: &Explanation) -> String {
    let name = &explanation.service;
    let mut text = String::new();
    if explanation.waiting.is_empty() && explanation.rollout.is_empty() {
        return format!("{name} waits for nothing\n");
    }
    for wait in &explanation.rollout {
        let _ = writeln!(text, "{name}: the rollout: {wait}");
    }
    for waiting in &explanation.waiting {
        let _ = writeln!(
            text,
            "{} ({}): {}",
            waiting.tasks.join(", "),
            waiting.image,
            waiting.reason
        );
        let widest = waiting.nodes.iter().map(|it| it.node.len()).max();
        for verdict in &waiting.nodes {
            let reasons: Vec<&str> = verdict
                .obstacles
                .iter()
                .map(|obstacle| obstacle.reason.as_str())
                .collect();
            let reasons = if reasons.is_empty() {
                "takes the task".to_owned()
            } else {
                reasons.join("; ")
            };
            let _ = writeln!(
                text,
                "  {:<width$}  {reasons}",
                verdict.node,
                width = widest.unwrap_or(0)
            );
        }
        if waiting.remedies.is_empty() && !waiting.nodes.is_empty() {
            text.push_str("  no small change was found that would let one run\n");
        }
        for remedy in &waiting.remedies {
            let _ = writeln!(text, "  to let one run: {remedy}");
        }
    }
    text
}

fn rehearsed(rehearsal: &Rehearsal) -> String {
    let mut text = String::new();
    for step in &rehearsal.steps {
        let seconds = step.after.0 / 1_000_000_000;
        let _ = writeln!(text, "+{seconds:<5} {}", told(step));
    }
    if rehearsal.steps.is_empty() {
        text.push_str("nothing would be started or stopped\n");
    }
    if rehearsal.cut_short {
        text.push_str("and so on: the rest is left out\n");
    }
    for waiting in &rehearsal.waiting {
        let _ = writeln!(
            text,
            "in the end {} waits: {}",
            waiting.task, waiting.reason
        );
    }
    text
}

fn told(step: &Step) -> String {
    let Step {
        action,
        task,
        image,
        node,
        message,
        ..
    } = step;
    match action.as_str() {
        "rollout" => message.clone(),
        "wait" => format!("{task:<8} wait   {message}"),
        "make" => format!("{task:<8} make   {image}"),
        action => format!("{task:<8} {action:<6} {image} on {node}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::planning::{NodeVerdict, Obstacle, StillWaiting, WaitingTasks};
    use crate::spec::Nanos;

    #[test]
    fn an_explanation_names_each_node_and_what_helps() {
        let obstacle = |reason: &str| Obstacle {
            filter: "x".to_owned(),
            reason: reason.to_owned(),
        };
        let verdict = |node: &str, obstacles| NodeVerdict {
            id: "x".to_owned(),
            node: node.to_owned(),
            obstacles,
        };
        let explanation = Explanation {
            service: "web".to_owned(),
            waiting: vec![WaitingTasks {
                tasks: vec!["web.1".to_owned(), "web.2".to_owned()],
                image: "web:1".to_owned(),
                reason: "no suitable node (…)".to_owned(),
                nodes: vec![
                    verdict("n1", vec![obstacle("one"), obstacle("two")]),
                    verdict("node2", Vec::new()),
                ],
                remedies: vec!["do it".to_owned()],
            }],
            rollout: vec!["waiting for 1 task to run".to_owned()],
        };
        assert_eq!(
            explained(&explanation),
            "web: the rollout: waiting for 1 task to run\n\
             web.1, web.2 (web:1): no suitable node (…)\n  \
             n1     one; two\n  \
             node2  takes the task\n  \
             to let one run: do it\n"
        );
        let nothing = Explanation {
            service: "web".to_owned(),
            ..Explanation::default()
        };
        assert_eq!(explained(&nothing), "web waits for nothing\n");
    }

    #[test]
    fn a_rehearsal_is_told_step_by_step() {
        let step = |seconds, action: &str, node: &str, message: &str| Step {
            after: Nanos::from_secs(seconds),
            action: action.to_owned(),
            task: "web.1".to_owned(),
            image: "web:2".to_owned(),
            node: node.to_owned(),
            message: message.to_owned(),
        };
        let rehearsal = Rehearsal {
            steps: vec![
                step(0, "make", "", ""),
                step(0, "place", "n1", ""),
                step(12, "rollout", "", "update completed"),
            ],
            cut_short: false,
            waiting: vec![StillWaiting {
                task: "web.2".to_owned(),
                reason: "no suitable node".to_owned(),
            }],
        };
        assert_eq!(
            rehearsed(&rehearsal),
            "+0     web.1    make   web:2\n\
             +0     web.1    place  web:2 on n1\n\
             +12    update completed\n\
             in the end web.2 waits: no suitable node\n"
        );
        let nothing = rehearsed(&Rehearsal::default());
        assert_eq!(nothing, "nothing would be started or stopped\n");
    }
}
