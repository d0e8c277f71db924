//! `swarmr node ls`.

use crate::api::wire::Node;
use crate::cli::context::{Context, ListArgs, filters};
use crate::cli::failure::Failure;
use crate::cli::output::data::Data;
use crate::cli::output::format::{self, Columns};
use crate::cli::output::{capitalised, natural, word};

const COLUMNS: Columns = Columns {
    default: "{{.ID}} {{if .Self}}*{{else}} {{end}}\t{{.Hostname}}\t{{.Status}}\t\
        {{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "ID"),
        ("Self", ""),
        ("Hostname", "HOSTNAME"),
        ("Status", "STATUS"),
        ("Availability", "AVAILABILITY"),
        ("ManagerStatus", "MANAGER STATUS"),
        ("TLSStatus", "TLS STATUS"),
        ("EngineVersion", "ENGINE VERSION"),
    ],
};

pub(super) async fn run(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let filters = filters(&args.filters);
    let query: Vec<(&str, &str)> = filters
        .as_deref()
        .map(|filters| ("filters", filters))
        .into_iter()
        .collect();
    let nodes: Vec<Node> = context.get(&["nodes"], &query).await?;
    // Ids alone need no second question.
    let (here, trust_root) = if args.quiet && args.format.is_none() {
        (String::new(), None)
    } else {
        let info = context.swarm_info().await?;
        let root = info.cluster.map(|cluster| cluster.tls_info.trust_root);
        (info.node_id, root)
    };
    let rows = rows(nodes, &here, trust_root.as_deref());
    context.print(&format::list(COLUMNS, &rows, args.wanted())?)
}

fn rows(mut nodes: Vec<Node>, here: &str, trust_root: Option<&str>) -> Vec<Data> {
    nodes.sort_by(|left, right| {
        natural::compare(&left.description.hostname, &right.description.hostname)
            .then_with(|| left.id.cmp(&right.id))
    });
    nodes
        .iter()
        .map(|node| row(node, here, trust_root))
        .collect()
}

fn row(node: &Node, here: &str, trust_root: Option<&str>) -> Data {
    let manager_status = match &node.manager_status {
        None => String::new(),
        Some(status) if status.leader => "Leader".to_owned(),
        Some(status) => capitalised(&word(&status.reachability)),
    };
    let own_root = node.description.tls_info.trust_root.as_str();
    let tls_status = match trust_root {
        Some(root) if !own_root.is_empty() && own_root == root => "Ready",
        Some(_) if !own_root.is_empty() => "Needs Rotation",
        _ => "Unknown",
    };
    let id = node.id.to_string();
    format::row([
        ("Self", (id == here).into()),
        ("ID", id.into()),
        ("Hostname", node.description.hostname.clone().into()),
        ("Status", capitalised(&word(&node.status.state)).into()),
        (
            "Availability",
            capitalised(&word(&node.spec.availability)).into(),
        ),
        ("ManagerStatus", manager_status.into()),
        ("TLSStatus", tls_status.into()),
        (
            "EngineVersion",
            node.description.engine.engine_version.clone().into(),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::format::Wanted;

    fn node(id: &str, host: &str, state: &str, manager: serde_json::Value) -> Node {
        let mut node = json!({
            "ID": id,
            "Version": {"Index": 1},
            "CreatedAt": "2026-11-23T02:29:23Z",
            "UpdatedAt": "2026-11-23T02:29:23Z",
            "Spec": {"Labels": {}, "Role": "manager", "Availability": "active"},
            "Description": {
                "Hostname": host,
                "Engine": {"EngineVersion": "20.10.24"},
                "TLSInfo": {"TrustRoot": "PEM"}
            },
            "Status": {"State": state, "Addr": "10.0.0.1"}
        });
        if !manager.is_null() {
            node["ManagerStatus"] = manager;
        }
        serde_json::from_value(node).unwrap()
    }

    fn cluster() -> Vec<Node> {
        vec![
            node("d84zq49y3q1bkq6fne00uydd8", "h10", "down", json!(null)),
            node(
                "a84zq49y3q1bkq6fne00uydd8",
                "h1",
                "ready",
                json!({"Leader": true, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}),
            ),
            node(
                "b84zq49y3q1bkq6fne00uydd8",
                "h2",
                "ready",
                json!({"Reachability": "unreachable", "Addr": "10.0.0.2:2377"}),
            ),
        ]
    }

    #[test]
    fn nodes_are_listed_as_docker_lists_them() {
        let rows = rows(cluster(), "a84zq49y3q1bkq6fne00uydd8", Some("PEM"));
        let text = format::list(COLUMNS, &rows, Wanted::default()).unwrap();
        let want = [
            "ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION",
            "a84zq49y3q1bkq6fne00uydd8 *   h1         Ready     Active         Leader           20.10.24",
            "b84zq49y3q1bkq6fne00uydd8     h2         Ready     Active         Unreachable      20.10.24",
            "d84zq49y3q1bkq6fne00uydd8     h10        Down      Active                          20.10.24",
        ];
        assert_eq!(text, want.join("\n") + "\n");
        let quiet = Wanted {
            quiet: true,
            format: None,
        };
        assert!(
            format::list(COLUMNS, &rows, quiet)
                .unwrap()
                .starts_with("a84zq")
        );
    }

    #[test]
    fn the_state_of_certificates_is_compared_with_the_cluster() {
        let told = |root| {
            let rows = rows(cluster(), "", root);
            let wanted = Wanted {
                format: Some("{{.TLSStatus}}"),
                quiet: false,
            };
            format::list(COLUMNS, &rows[..1], wanted).unwrap()
        };
        assert_eq!(told(Some("PEM")), "Ready\n");
        assert_eq!(told(Some("OTHER")), "Needs Rotation\n");
        assert_eq!(told(None), "Unknown\n");
    }
}
