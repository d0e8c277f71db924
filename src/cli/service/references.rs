//! What a spec refers to by name and the API wants by id: configs, secrets, networks.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::context::{Context, filters};
use crate::cli::failure::{Exit, Failure};
use crate::spec::parse::FileReference;
use crate::spec::service::NetworkAttachmentConfig;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    #[serde(rename = "ID")]
    id: String,
    spec: NamedSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NamedSpec {
    name: String,
}

/// Configs as `ContainerSpec.Configs` wants them.
pub(super) async fn configs(
    context: &Context,
    references: &[FileReference],
) -> Result<Vec<Value>, Failure> {
    resolve(context, "configs", "Config", references).await
}

/// Secrets as `ContainerSpec.Secrets` wants them.
pub(super) async fn secrets(
    context: &Context,
    references: &[FileReference],
) -> Result<Vec<Value>, Failure> {
    resolve(context, "secrets", "Secret", references).await
}

async fn resolve(
    context: &Context,
    path: &str,
    kind: &str,
    references: &[FileReference],
) -> Result<Vec<Value>, Failure> {
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<(String, String)> = references
        .iter()
        .map(|reference| ("name".to_owned(), reference.source.clone()))
        .collect();
    let filters = filters(&names).unwrap_or_default();
    let known: Vec<Named> = context.get(&[path], &[("filters", &filters)]).await?;
    references
        .iter()
        .map(|reference| {
            let object = known
                .iter()
                // The filter matches beginnings of names, too.
                .find(|object| object.spec.name == reference.source)
                .ok_or_else(|| {
                    Failure::new(
                        Exit::NotFound,
                        format!("{} not found: {}", kind.to_lowercase(), reference.source),
                    )
                })?;
            Ok(file_reference(kind, &object.id, reference))
        })
        .collect()
}

fn file_reference(kind: &str, id: &str, reference: &FileReference) -> Value {
    // Docker mounts configs below the root and secrets below /run/secrets.
    let target = match (kind, reference.target.starts_with('/')) {
        ("Config", false) => format!("/{}", reference.target),
        _ => reference.target.clone(),
    };
    json!({
        "File": {
            "Name": target,
            "UID": reference.uid,
            "GID": reference.gid,
            "Mode": reference.mode
        },
        format!("{kind}ID"): id,
        format!("{kind}Name"): reference.source
    })
}

/// Where a config or secret is mounted, as stored in a spec.
pub(super) fn mounted_at(reference: &Value) -> String {
    reference["File"]["Name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// What a config or secret is called, as stored in a spec.
pub(super) fn name_of(reference: &Value) -> String {
    ["ConfigName", "SecretName"]
        .iter()
        .find_map(|key| reference[*key].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// The ids of networks, so that they can be compared with those in a stored spec.
pub(super) async fn network_ids(
    context: &Context,
    names: &[String],
) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Network {
        id: String,
    }
    let mut ids = Vec::new();
    for name in names {
        let network: Network = context.get(&["networks", name], &[]).await?;
        ids.push(network.id);
    }
    Ok(ids)
}

/// The same attachments with ids for names.
pub(super) async fn with_ids(
    context: &Context,
    networks: &[NetworkAttachmentConfig],
) -> Result<Vec<NetworkAttachmentConfig>, Failure> {
    let names: Vec<String> = networks
        .iter()
        .map(|network| network.target.clone())
        .collect();
    let ids = network_ids(context, &names).await?;
    Ok(networks
        .iter()
        .zip(ids)
        .map(|(network, target)| NetworkAttachmentConfig {
            target,
            ..network.clone()
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse;

    #[test]
    fn references_are_written_as_docker_stores_them() {
        let reference = parse::file_reference("source=site,target=etc/site,mode=0440").unwrap();
        let config = file_reference("Config", "abc", &reference);
        assert_eq!(
            config,
            json!({
                "File": {"Name": "/etc/site", "UID": "0", "GID": "0", "Mode": 0o440},
                "ConfigID": "abc",
                "ConfigName": "site"
            })
        );
        assert_eq!(mounted_at(&config), "/etc/site");
        assert_eq!(name_of(&config), "site");
        let secret = file_reference("Secret", "abc", &reference);
        assert_eq!(secret["File"]["Name"], "etc/site");
        assert_eq!(name_of(&secret), "site");
    }
}
