//! What can be wrong with start order and init containers.

use std::collections::BTreeSet;

use super::{Findings, is_name_char};
use crate::spec::extension::Extension;
use crate::spec::image;

pub(super) fn check_dependencies(name: &str, extension: &Extension, found: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (place, dependency) in extension.depends_on.iter().enumerate() {
        let at = format!("Swarmr.DependsOn[{place}].Service");
        let service = &dependency.service;
        if service.is_empty() {
            found.add(
                at,
                "nothing".to_owned(),
                "the name of a service",
                "name the service",
            );
        } else if service == name {
            found.add(
                at,
                format!("{service:?}"),
                "another service: none can wait for itself",
                "remove it",
            );
        } else if !seen.insert(service) {
            found.add(
                at,
                format!("{service:?} again"),
                "each service once",
                "leave the stricter condition",
            );
        }
    }
}

pub(super) fn check_init_containers(extension: &Extension, found: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (place, init) in extension.init_containers.iter().enumerate() {
        let at = format!("Swarmr.InitContainers[{place}]");
        if init.name.is_empty() || !init.name.chars().all(is_name_char) {
            found.add(
                format!("{at}.Name"),
                format!("{:?}", init.name),
                "a name of letters, digits, '_', '.' and '-'",
                "choose another name",
            );
        } else if !seen.insert(&init.name) {
            found.add(
                format!("{at}.Name"),
                format!("{:?} again", init.name),
                "each name once",
                "choose another name",
            );
        }
        if let Err(error) = image::check_reference(&init.image) {
            found.add(
                format!("{at}.Image"),
                format!("{:?}", init.image),
                &error.to_string(),
                "name an image such as alpine:3",
            );
        }
    }
}
