//! What is not wrong yet, for the status report.

use super::control::{Consensus, StatusReport};
use super::status::name;
use crate::spec::Availability;
use crate::spec::extension::Connections;
use crate::state::{Service, State};

/// Adds all of it to `report`.
pub(super) fn add(state: &State, consensus: &Consensus, report: &mut StatusReport) {
    for service in state.services() {
        warn_of_weights(state, service, report);
    }
    warn_of_nodes(state, consensus, report);
    warn_of_full_networks(state, report);
}

fn warn_of_nodes(state: &State, consensus: &Consensus, report: &mut StatusReport) {
    if consensus.voters.len() == 2 {
        report
            .warnings
            .push("two managers tolerate the loss of none: add a third, or demote one".to_owned());
    }
    let idle = state
        .nodes()
        .filter(|node| node.spec.availability != Availability::Active)
        .count();
    if idle > 0 && idle == state.nodes().count() {
        report
            .warnings
            .push("no node takes tasks: all are paused or drained".to_owned());
    }
}

fn warn_of_full_networks(state: &State, report: &mut StatusReport) {
    let full = state.networks().filter(|network| network.is_nearly_full());
    report.warnings.extend(full.map(|network| {
        format!(
            "network {} has {} of {} addresses left in {}: move services to another network, or to \
             one with a larger --subnet",
            network.name(),
            network.free(),
            network.usable(),
            network.subnet
        )
    }));
}

fn warn_of_weights(state: &State, service: &Service, report: &mut StatusReport) {
    let Some(connections) = service.spec.connections() else {
        return;
    };
    for node in state.nodes() {
        if let Some(said) = connections.no_weight(&node.spec.labels) {
            report.warnings.push(format!(
                "service {} gives node {} the weight 1: its label {}={said} is no number from 1 to {}",
                service.name(),
                name(node),
                connections.weight_label,
                Connections::HEAVIEST
            ));
        }
    }
}
