//! What one spec of a service has that another has not, in a few words.

use super::ServiceSpec;
use super::container::ContainerSpec;

/// What changed from `former` to `spec`, each in a few words; empty when nothing did.
pub fn differences(former: &ServiceSpec, spec: &ServiceSpec) -> Vec<String> {
    let mut found = Vec::new();
    let (old, new) = (&former.task_template, &spec.task_template);
    container(&old.container_spec, &new.container_spec, &mut found);
    let replicas = |spec: &ServiceSpec| spec.replicas();
    if let (Some(old), Some(new)) = (replicas(former), replicas(spec))
        && old != new
    {
        found.push(format!("replicas {old} to {new}"));
    }
    for (name, differs) in [
        ("resources", old.resources != new.resources),
        ("restart policy", old.restart_policy != new.restart_policy),
        ("placement", old.placement != new.placement),
        (
            "networks",
            old.networks != new.networks || former.networks != spec.networks,
        ),
        ("log driver", old.log_driver != new.log_driver),
        ("forced", old.force_update != new.force_update),
        (
            "other task settings",
            old.other != new.other || old.runtime != new.runtime,
        ),
        ("labels", former.labels != spec.labels),
        ("update policy", former.update_config != spec.update_config),
        (
            "rollback policy",
            former.rollback_config != spec.rollback_config,
        ),
        ("ports", former.endpoint_spec != spec.endpoint_spec),
        ("swarmr's own settings", former.swarmr != spec.swarmr),
    ] {
        if differs {
            found.push(name.to_owned());
        }
    }
    found
}

fn container(old: &ContainerSpec, new: &ContainerSpec, found: &mut Vec<String>) {
    if old.image != new.image {
        found.push(format!("image {} to {}", old.image, new.image));
    }
    environment(&old.env, &new.env, found);
    let mut rest = old.clone();
    rest.image.clone_from(&new.image);
    rest.env.clone_from(&new.env);
    for (name, differs) in [
        (
            "command",
            old.command != new.command || old.args != new.args,
        ),
        ("mounts", old.mounts != new.mounts),
        ("health check", old.healthcheck != new.healthcheck),
        ("container labels", old.labels != new.labels),
    ] {
        if differs {
            found.push(name.to_owned());
        }
    }
    rest.command.clone_from(&new.command);
    rest.args.clone_from(&new.args);
    rest.mounts.clone_from(&new.mounts);
    rest.healthcheck.clone_from(&new.healthcheck);
    rest.labels.clone_from(&new.labels);
    if rest != *new {
        found.push("other container settings".to_owned());
    }
}

/// The names only: values may be secret.
fn environment(old: &[String], new: &[String], found: &mut Vec<String>) {
    let name = |entry: &String| entry.split('=').next().unwrap_or(entry).to_owned();
    let mut names: Vec<String> = new
        .iter()
        .filter(|entry| !old.contains(entry))
        .map(name)
        .collect();
    let kept: Vec<String> = new.iter().map(name).collect();
    let gone = old.iter().map(name).filter(|name| !kept.contains(name));
    names.extend(gone.map(|name| format!("-{name}")));
    if !names.is_empty() {
        found.push(format!("env {}", names.join(",")));
    } else if old != new {
        found.push("order of env".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Mode;
    use crate::spec::service::Replicated;

    #[test]
    fn what_differs_is_named_and_secrets_are_not() {
        let mut former = ServiceSpec::default();
        let container = &mut former.task_template.container_spec;
        container.image = "web:1".to_owned();
        container.env = vec!["KEY=secret".to_owned(), "OLD=1".to_owned()];
        let mut spec = former.clone();
        assert_eq!(differences(&former, &spec), Vec::<String>::new());
        let container = &mut spec.task_template.container_spec;
        container.image = "web:2".to_owned();
        container.env = vec!["KEY=better".to_owned()];
        container.user = "nobody".to_owned();
        spec.mode = Mode::Replicated(Replicated { replicas: Some(3) });
        spec.labels.insert("a".to_owned(), "b".to_owned());
        assert_eq!(
            differences(&former, &spec),
            [
                "image web:1 to web:2",
                "env KEY,-OLD",
                "other container settings",
                "replicas 1 to 3",
                "labels"
            ]
        );
    }
}
