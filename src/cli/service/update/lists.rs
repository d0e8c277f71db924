//! Flags of `service update` that add to a service's lists and remove from them.

use clap::Args;

use super::Resolved;
use super::container::ContainerLists;
use crate::cli::service::flags::{placement, reservations};
use crate::cli::service::merge;
use crate::spec::ServiceSpec;
use crate::spec::generic::GenericResource;
use crate::spec::parse::{self, PortToRemove, Ports};
use crate::spec::service::{Labels, NetworkAttachmentConfig, PlacementPreference};

#[derive(Debug, Default, Args)]
pub(super) struct Lists {
    /// Add or change a label of the service
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    label_add: Vec<(String, String)>,
    /// Remove a label of the service
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Add or change a label of its containers
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    container_label_add: Vec<(String, String)>,
    /// Remove a label of its containers
    #[arg(long, value_name = "KEY")]
    container_label_rm: Vec<String>,
    /// Add a constraint
    #[arg(long, value_name = "CONSTRAINT")]
    constraint_add: Vec<String>,
    /// Remove a constraint
    #[arg(long, value_name = "CONSTRAINT")]
    constraint_rm: Vec<String>,
    /// Add a preference
    #[arg(long, value_name = "spread=LABEL", value_parser = parse::placement_preference)]
    placement_pref_add: Vec<PlacementPreference>,
    /// Remove a preference
    #[arg(long, value_name = "spread=LABEL", value_parser = parse::placement_preference)]
    placement_pref_rm: Vec<PlacementPreference>,
    /// Add or change a reservation
    #[arg(long, value_name = "KIND=COUNT|NAME", value_parser = parse::generic_resource)]
    generic_resource_add: Vec<GenericResource>,
    /// Remove a reservation
    #[arg(long, value_name = "KIND")]
    generic_resource_rm: Vec<String>,
    /// Attach to a network
    #[arg(long, value_name = "NETWORK", value_parser = parse::network)]
    pub(super) network_add: Vec<NetworkAttachmentConfig>,
    /// Detach from a network
    #[arg(long, value_name = "NETWORK")]
    pub(super) network_rm: Vec<String>,
    /// Publish a port
    #[arg(long, value_name = "PORT", value_parser = parse::port)]
    publish_add: Vec<Ports>,
    /// Do not publish a port any more, by its target
    #[arg(long, value_name = "TARGET[/PROTOCOL]", value_parser = parse::port_to_remove)]
    publish_rm: Vec<PortToRemove>,
    #[command(flatten)]
    pub(super) container: ContainerLists,
}

impl Lists {
    pub(super) fn apply(&self, spec: &mut ServiceSpec, resolved: &Resolved) {
        let relabel = |labels: &mut Labels, remove: &[String], add: &[(String, String)]| {
            labels.retain(|key, _| !remove.contains(key));
            labels.extend(add.iter().cloned());
        };
        relabel(&mut spec.labels, &self.label_rm, &self.label_add);
        relabel(
            &mut spec.task_template.container_spec.labels,
            &self.container_label_rm,
            &self.container_label_add,
        );
        if !self.constraint_add.is_empty() || !self.constraint_rm.is_empty() {
            merge::by_key(
                &mut placement(spec).constraints,
                &self.constraint_rm,
                &self.constraint_add,
                Clone::clone,
            );
        }
        if !self.placement_pref_add.is_empty() || !self.placement_pref_rm.is_empty() {
            let preferences = &mut placement(spec).preferences;
            preferences.retain(|preference| !self.placement_pref_rm.contains(preference));
            preferences.extend(self.placement_pref_add.iter().cloned());
        }
        if !self.generic_resource_add.is_empty() || !self.generic_resource_rm.is_empty() {
            merge::by_key(
                &mut reservations(spec).generic_resources,
                &self.generic_resource_rm,
                &self.generic_resource_add,
                |resource| resource.kind().to_owned(),
            );
        }
        if !resolved.networks.is_empty() || !resolved.networks_to_remove.is_empty() {
            // Where an old client put them, they move to where they belong.
            if spec.task_template.networks.is_empty() {
                spec.task_template.networks = std::mem::take(&mut spec.networks);
            }
            merge::by_key(
                &mut spec.task_template.networks,
                &resolved.networks_to_remove,
                &resolved.networks,
                |network| network.target.clone(),
            );
        }
        if !self.publish_add.is_empty() || !self.publish_rm.is_empty() {
            let add: Vec<_> = self
                .publish_add
                .iter()
                .flat_map(|ports| ports.0.clone())
                .collect();
            let endpoint = spec.endpoint_spec.get_or_insert_default();
            merge::ports(&mut endpoint.ports, &self.publish_rm, &add);
        }
    }
}
