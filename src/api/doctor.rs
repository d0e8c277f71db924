//! `/swarmr/v1/network/doctor`: every node compares its networks with what is wanted of it.

use futures::StreamExt;

use super::control::Standing;
use super::server::{Api, Asked};
use super::status::name;
use super::wire::doctor::NodeReport;
use super::{Answer, reply};
use crate::spec::{NodeId, Role};
use crate::state::Node;
use crate::state::node::NodeState;

/// Nodes that are asked at once.
const AT_ONCE: usize = 32;

/// Who is to be asked.
struct Patient {
    node: NodeId,
    hostname: String,
    addr: String,
    is_down: bool,
}

/// A manager asks every node, a worker itself.
pub(super) async fn examine(api: &Api, asked: &Asked) -> Answer {
    let mend = asked.query.strict_flag("mend")?;
    let patients = match api.control.standing() {
        Standing::Member {
            node,
            role: Role::Worker,
            addr,
            ..
        } => vec![Patient {
            node,
            hostname: String::new(),
            addr,
            is_down: false,
        }],
        _ => api
            .read()
            .await?
            .nodes()
            .map(|node| patient(node))
            .collect(),
    };
    let reports = futures::stream::iter(patients)
        .map(|patient| report(api, patient, mend))
        .buffered(AT_ONCE)
        .collect::<Vec<_>>();
    reply::ok(&reports.await)
}

fn patient(node: &Node) -> Patient {
    Patient {
        node: node.id,
        hostname: name(node).to_owned(),
        addr: node.addr.clone(),
        is_down: node.status.state == NodeState::Down,
    }
}

async fn report(api: &Api, patient: Patient, mend: bool) -> NodeReport {
    let examined = match patient.is_down {
        true => Err("the node is down".to_owned()),
        false => api.control.examine(patient.node, &patient.addr, mend).await,
    };
    let (examination, error) = match examined {
        Ok(examination) => (examination, String::new()),
        Err(error) => (Default::default(), error),
    };
    NodeReport {
        node: patient.node.to_string(),
        hostname: patient.hostname,
        examination,
        error,
    }
}
