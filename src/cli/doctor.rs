//! `swarmr network doctor`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::failure::Failure;
use super::output::{natural, table, text};
use crate::api::client::target;
use crate::api::wire::doctor::NodeReport;

/// For every node to answer, and to mend.
const DEADLINE: Duration = Duration::from_secs(90);

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Only say what is not as wanted
    #[arg(long)]
    dry_run: bool,
    /// json
    #[arg(long, value_name = "FORMAT", value_parser = ["json"])]
    format: Option<String>,
}

pub(crate) async fn run(context: &Context, args: DoctorArgs) -> Result<(), Failure> {
    let mend = if args.dry_run { "false" } else { "true" };
    let path = target(&["swarmr", "v1", "network", "doctor"], &[("mend", mend)]);
    let client = context.client.with_deadline(DEADLINE);
    let answer = client.post_empty(&path).await?;
    let mut nodes: Vec<NodeReport> = serde_json::from_slice(&answer)
        .map_err(|error| Failure::error(format!("the answer was not understood: {error}")))?;
    nodes.sort_by(|left, right| natural::compare(name(left), name(right)));
    match args.format {
        Some(_) => context.print(&format!("{}\n", String::from_utf8_lossy(&answer).trim()))?,
        None => context.print(&screen(&nodes))?,
    }
    verdict(&nodes)
}

/// A failure while something is not as wanted, or not known.
fn verdict(nodes: &[NodeReport]) -> Result<(), Failure> {
    let remaining: usize = nodes.iter().map(|it| it.examination.remaining.len()).sum();
    let unknown = nodes
        .iter()
        .filter(|it| !it.error.is_empty() || !it.examination.problems.is_empty())
        .count();
    if remaining == 0 && unknown == 0 {
        return Ok(());
    }
    let failure = Failure::error(format!(
        "{remaining} things are not as wanted; {unknown} of {} nodes were not examined whole",
        nodes.len()
    ));
    Err(failure.next("run swarmr network doctor without --dry-run, or look at swarmr status"))
}

fn screen(nodes: &[NodeReport]) -> String {
    text(|text| {
        text.push_str(&table::align(&rows(nodes)));
        let mended = nodes.iter().flat_map(|node| {
            let mended = node.examination.mended.iter();
            mended.map(move |it| (node, it))
        });
        for (number, (node, mended)) in mended.enumerate() {
            if number == 0 {
                writeln!(text, "\nMended lately without being asked")?;
            }
            let (at, drift) = (mended.at, &mended.drift);
            writeln!(
                text,
                "  {at}  {}  {}: {}",
                name(node),
                drift.part,
                drift.what
            )?;
        }
        Ok(())
    })
}

fn rows(nodes: &[NodeReport]) -> Vec<String> {
    let mut rows = vec!["NODE\tPART\tSTATE\tTO BE DONE".to_owned()];
    for node in nodes {
        let (before, examination) = (rows.len(), &node.examination);
        let new = examination.remaining.iter();
        let new = new.filter(|drift| !examination.found.contains(drift));
        for drift in examination.found.iter().chain(new) {
            let state = match examination.remaining.contains(drift) {
                true => "drifted",
                false => "mended",
            };
            let (part, what) = (&drift.part, &drift.what);
            rows.push(format!("{}\t{part}\t{state}\t{what}", name(node)));
        }
        let unknown = examination.problems.iter().chain(Some(&node.error));
        for problem in unknown.filter(|problem| !problem.is_empty()) {
            rows.push(format!("{}\t-\tunknown\t{problem}", name(node)));
        }
        if before == rows.len() {
            rows.push(format!("{}\t-\tas wanted\t", name(node)));
        }
    }
    rows
}

fn name(node: &NodeReport) -> &str {
    match node.hostname.as_str() {
        "" => &node.node,
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes() -> Vec<NodeReport> {
        let add = json!({"Part": "overlay", "What": "add 10.0.1.2/32 to b"});
        let put = json!({"Part": "firewall", "What": "put back"});
        serde_json::from_value(json!([
            {"Node": "a", "Hostname": "one", "Found": [add, put], "Remaining": [put]},
            {"Node": "b", "Hostname": "two"},
            {"Node": "c", "Error": "the node is down"},
        ]))
        .unwrap()
    }

    #[test]
    fn every_node_has_a_line_and_every_drift_its_state() {
        assert_eq!(
            rows(&nodes())[1..],
            [
                "one\toverlay\tmended\tadd 10.0.1.2/32 to b",
                "one\tfirewall\tdrifted\tput back",
                "two\t-\tas wanted\t",
                "c\t-\tunknown\tthe node is down",
            ]
        );
    }

    #[test]
    fn what_is_left_or_unknown_is_a_failure() {
        assert!(verdict(&nodes()).is_err());
        assert!(verdict(&nodes()[..1]).is_err());
        assert!(verdict(&nodes()[1..2]).is_ok());
        assert!(verdict(&nodes()[2..]).is_err());
    }

    #[test]
    fn what_was_mended_before_is_told_with_its_time() {
        let mut nodes = nodes();
        nodes[1].examination = serde_json::from_value(json!({"Mended": [
            {"At": "2026-11-24T10:00:00Z", "Part": "rules", "What": "restore backends"}
        ]}))
        .unwrap();
        let said = screen(&nodes);
        let line = said.lines().last().unwrap();
        assert!(line.starts_with("  2026-11-24T10:00:00"), "{line}");
        assert!(line.ends_with("two  rules: restore backends"), "{line}");
        let columns: Vec<&str> = said.lines().nth(3).unwrap().split_whitespace().collect();
        assert_eq!(columns, ["two", "-", "as", "wanted"]);
    }
}
