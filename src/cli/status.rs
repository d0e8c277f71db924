//! `swarmr status`: one screen.

use std::fmt::Write as _;

use clap::Args;

use super::context::Context;
use super::failure::Failure;
use super::output::data::Data;
use super::output::template::{Missing, Template};
use super::output::{table, text};
use crate::api::client::target;
use crate::api::control::{StatusNode, StatusReport};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Result<(), Failure> {
    let target = target(&["swarmr", "v1", "status"], &[]);
    match args.format.as_deref() {
        None => {
            let report: StatusReport = context.client.get(&target).await?;
            context.print(&screen(&report))
        }
        Some("json") => {
            let report: Data = context.client.get(&target).await?;
            context.print(&format!("{}\n", report.to_pretty_json()))
        }
        Some(template) => {
            let report: Data = context.client.get(&target).await?;
            let text = Template::parse(template)?.render(&report, Missing::NoValue)?;
            context.print(&format!("{text}\n"))
        }
    }
}

fn screen(report: &StatusReport) -> String {
    text(|text| write_screen(text, report))
}

fn write_screen(text: &mut String, report: &StatusReport) -> std::fmt::Result {
    if report.cluster.is_empty() {
        writeln!(
            text,
            "This node is in no cluster. Use \"swarmr init\" to make one, or \"swarmr join\"."
        )?;
        return Ok(());
    }
    writeln!(text, "Cluster:  {}", report.cluster)?;
    writeln!(text, "Node:     {} ({})", report.node, report.role)?;
    // Workers know neither.
    let is_manager = report.role != "worker";
    if is_manager {
        let leader = report.leader.as_deref().unwrap_or("none");
        let quorum = if report.has_quorum {
            ""
        } else {
            "   NO QUORUM: nothing can be changed"
        };
        writeln!(text, "Leader:   {leader}{quorum}")?;
    }
    for (heading, nodes) in [("Managers", &report.managers), ("Workers", &report.workers)] {
        if !nodes.is_empty() {
            write!(text, "\n{heading}\n{}", nodes_table(nodes))?;
        }
    }
    if !report.converging.is_empty() {
        writeln!(text, "\nConverging")?;
        for line in &report.converging {
            writeln!(text, "  {line}")?;
        }
    }
    write_problems(text, report)?;
    let is_well = report.problems.is_empty() && report.converging.is_empty();
    if is_manager && report.has_quorum && is_well {
        writeln!(text, "\nAll is well.")?;
    }
    Ok(())
}

fn nodes_table(nodes: &[StatusNode]) -> String {
    let mut lines = vec!["  HOSTNAME\tADDRESS\tSTATE\tAVAILABILITY\tTASKS".to_owned()];
    lines.extend(nodes.iter().map(|node| {
        format!(
            "  {}\t{}\t{}\t{}\t{}",
            node.hostname, node.addr, node.state, node.availability, node.tasks
        )
    }));
    table::align(&lines)
}

fn write_problems(text: &mut String, report: &StatusReport) -> std::fmt::Result {
    if !report.problems.is_empty() {
        writeln!(text, "\nProblems")?;
        for problem in &report.problems {
            writeln!(text, "  {}", problem.what)?;
            if !problem.next.is_empty() {
                writeln!(text, "    -> {}", problem.next)?;
            }
        }
    }
    for warning in &report.warnings {
        writeln!(text, "\nWarning: {warning}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::control::StatusProblem;

    fn node(hostname: &str, state: &str) -> StatusNode {
        StatusNode {
            id: "x".into(),
            hostname: hostname.into(),
            addr: "10.0.0.1:2377".into(),
            state: state.into(),
            availability: "active".into(),
            tasks: 3,
        }
    }

    #[test]
    fn a_screen_tells_who_leads_who_is_missing_and_what_to_do() {
        let report = StatusReport {
            node: "h1".into(),
            role: "manager".into(),
            cluster: "abc".into(),
            has_quorum: true,
            leader: Some("h2".into()),
            managers: vec![node("h1", "ready"), node("h2", "leader")],
            workers: vec![node("h3", "down")],
            converging: vec!["web: 4/6 running".into()],
            problems: vec![StatusProblem {
                what: "node h3 is down".into(),
                next: "look at it".into(),
            }],
            warnings: vec!["network app is not encrypted".into()],
        };
        let want = "Cluster:  abc\nNode:     h1 (manager)\nLeader:   h2\n\n\
            Managers\n  HOSTNAME   ADDRESS         STATE     AVAILABILITY   TASKS\n  \
            h1         10.0.0.1:2377   ready     active         3\n  \
            h2         10.0.0.1:2377   leader    active         3\n\n\
            Workers\n  HOSTNAME   ADDRESS         STATE     AVAILABILITY   TASKS\n  \
            h3         10.0.0.1:2377   down      active         3\n\n\
            Converging\n  web: 4/6 running\n\n\
            Problems\n  node h3 is down\n    -> look at it\n\n\
            Warning: network app is not encrypted\n";
        assert_eq!(screen(&report), want);
    }

    #[test]
    fn a_lost_quorum_stands_out_and_a_healthy_cluster_is_called_so() {
        let mut report = StatusReport {
            cluster: "abc".into(),
            has_quorum: false,
            ..StatusReport::default()
        };
        assert!(screen(&report).contains("Leader:   none   NO QUORUM"));
        report.has_quorum = true;
        assert!(screen(&report).ends_with("All is well.\n"));
        report.role = "worker".into();
        report.has_quorum = false;
        assert_eq!(screen(&report), "Cluster:  abc\nNode:      (worker)\n");
        assert!(screen(&StatusReport::default()).contains("in no cluster"));
    }
}
