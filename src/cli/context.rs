//! What every command is given: the client, the clock, and where to write.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use super::failure::{Exit, Failure};
use super::output::data::Data;
use super::output::format::Wanted;
use crate::api::client::{Client, target};
use crate::api::wire::SwarmInfo;
use crate::spec::Timestamp;

/// What every command is given.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
}

impl Context {
    pub(crate) fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Data, to standard output.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| match error.kind() {
                // Whoever read has had enough.
                std::io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, ""),
                _ => Failure::error(format!("standard output: {error}")),
            })
    }

    /// Talk, to standard error; nobody need listen.
    pub(crate) fn say(&self, text: &str) {
        drop(writeln!(std::io::stderr(), "{text}"));
    }

    /// `GET /path…?query` decoded.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        Ok(self.client.get(&target(path, query)).await?)
    }

    /// What this node is to the cluster.
    pub(crate) async fn swarm_info(&self) -> Result<SwarmInfo, Failure> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            swarm: SwarmInfo,
        }
        let info: Info = self.get(&["info"], &[]).await?;
        Ok(info.swarm)
    }

    /// This node's id where `name` is `self`, else the name as it is.
    pub(crate) async fn node_name(&self, name: &str) -> Result<String, Failure> {
        if name != "self" {
            return Ok(name.to_owned());
        }
        let info = self.swarm_info().await?;
        if info.node_id.is_empty() {
            return Err(
                Failure::new(Exit::Conflict, "this node is not part of a swarm")
                    .next("Use \"swarmr init\" or \"swarmr join\" first."),
            );
        }
        Ok(info.node_id)
    }

    /// Each object that can be had, and why the others cannot.
    pub(crate) async fn get_each<T: DeserializeOwned>(
        &self,
        kind: &str,
        names: &[String],
        query: &[(&str, &str)],
    ) -> (Vec<T>, Vec<Failure>) {
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            match self.get(&[kind, name], query).await {
                Ok(object) => found.push(object),
                Err(failure) => failures.push(failure),
            }
        }
        (found, failures)
    }

    /// Prints what could be inspected, then fails for what could not.
    pub(crate) fn print_inspected(
        &self,
        objects: &[Data],
        failures: Vec<Failure>,
        format: Option<&str>,
    ) -> Result<(), Failure> {
        self.print(&super::output::inspect::objects(objects, format)?)?;
        Failure::join(failures)
    }
}

/// `--filter key=value`, several times, as the API's `filters`; `None` for none.
pub(crate) fn filters(written: &[(String, String)]) -> Option<String> {
    if written.is_empty() {
        return None;
    }
    let mut all = serde_json::Map::new();
    for (key, value) in written {
        let values = all.entry(key).or_insert_with(|| serde_json::json!({}));
        if let Some(values) = values.as_object_mut() {
            values.insert(value.clone(), true.into());
        }
    }
    Some(serde_json::Value::Object(all).to_string())
}

/// The options of every list.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ListArgs {
    /// Show only what matches; may be repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = filter)]
    pub(crate) filters: Vec<(String, String)>,
    /// table, "table TEMPLATE", json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Show only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl ListArgs {
    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            format: self.format.as_deref(),
            quiet: self.quiet,
        }
    }
}

/// `key=value` of `--filter`.
pub(crate) fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_lowercase(), value.trim().to_owned()))
        }
        _ => Err("want KEY=VALUE, such as name=web".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_gathered_by_key() {
        let written = ["name=web", "name=db", "label=a=b"].map(|text| filter(text).unwrap());
        assert_eq!(
            filters(&written).unwrap(),
            r#"{"label":{"a=b":true},"name":{"db":true,"web":true}}"#
        );
        assert_eq!(filters(&[]), None);
        assert!(filter("web").is_err());
        assert!(filter("=web").is_err());
    }
}
