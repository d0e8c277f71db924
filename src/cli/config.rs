//! `swarmr config …`.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use clap::{Args, Subcommand};

use super::context::{Context, ListArgs, filters};
use super::failure::Failure;
use super::output::data::Data;
use super::output::format::{self, Columns};
use super::output::{age, natural, text};
use crate::api::client::target;
use crate::api::wire::{Config, Created};
use crate::spec::config::{Payload, Templating};
use crate::spec::{ConfigSpec, Timestamp, parse};

const COLUMNS: Columns = Columns {
    default: "{{.ID}}\t{{.Name}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("CreatedAt", "CREATED"),
        ("UpdatedAt", "UPDATED"),
        ("Labels", "LABELS"),
    ],
};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Store a file
    Create(CreateArgs),
    /// List the configs
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show configs in detail
    Inspect(InspectArgs),
    /// Remove configs that no service uses
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    name: String,
    /// The file; "-" reads standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// Label
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = parse::key_value)]
    label: Vec<(String, String)>,
    /// Expands templates in it
    #[arg(long, value_name = "DRIVER")]
    template_driver: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[arg(value_name = "CONFIG", required = true)]
    configs: Vec<String>,
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "pretty")]
    format: Option<String>,
    /// Show it for people
    #[arg(long)]
    pretty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[arg(value_name = "CONFIG", required = true)]
    configs: Vec<String>,
}

pub(crate) async fn run(context: &Context, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Create(args) => create(context, args).await,
        ConfigCommand::Ls(args) => list(context, args).await,
        ConfigCommand::Inspect(args) => inspect(context, args).await,
        ConfigCommand::Rm(args) => remove(context, args).await,
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<(), Failure> {
    let spec = ConfigSpec {
        name: args.name,
        labels: args.label.into_iter().collect(),
        data: Payload(read(&args.file)?.into()),
        templating: args.template_driver.map(|name| Templating { name }),
    };
    let created: Created = context
        .client
        .post(&target(&["configs", "create"], &[]), &spec)
        .await?;
    context.print(&format!("{}\n", created.id))
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let read = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(Path::new(file))
    };
    read.map_err(|error| Failure::error(format!("config file {file}: {error}")))
}

async fn list(context: &Context, args: ListArgs) -> Result<(), Failure> {
    let filters = filters(&args.filters);
    let query: Vec<(&str, &str)> = filters
        .as_deref()
        .map(|filters| ("filters", filters))
        .into_iter()
        .collect();
    let configs: Vec<Config> = context.get(&["configs"], &query).await?;
    let rows = rows(configs, context.now());
    context.print(&format::list(COLUMNS, &rows, args.wanted())?)
}

fn rows(mut configs: Vec<Config>, now: Timestamp) -> Vec<Data> {
    configs.sort_by(|left, right| natural::compare(&left.spec.name, &right.spec.name));
    configs
        .iter()
        .map(|config| {
            let labels: Vec<String> = config
                .spec
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format::row([
                ("ID", config.id.to_string().into()),
                ("Name", config.spec.name.clone().into()),
                ("CreatedAt", aged(config.meta.created_at, now).into()),
                ("UpdatedAt", aged(config.meta.updated_at, now).into()),
                ("Labels", labels.join(",").into()),
            ])
        })
        .collect()
}

/// As tables of tasks write it, but for the first letter, which Docker leaves large here.
fn aged(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", age::in_words(now - then))
}

async fn inspect(context: &Context, args: InspectArgs) -> Result<(), Failure> {
    if args.pretty || args.format.as_deref() == Some("pretty") {
        let (configs, failures) = context.get_each("configs", &args.configs, &[]).await;
        let texts: Vec<String> = configs.iter().map(pretty).collect();
        context.print(&texts.join("\n"))?;
        return Failure::join(failures);
    }
    let (configs, failures) = context
        .get_each::<Data>("configs", &args.configs, &[])
        .await;
    context.print_inspected(&configs, failures, args.format.as_deref())
}

fn pretty(config: &Config) -> String {
    text(|text| write_config(text, config))
}

fn write_config(text: &mut String, config: &Config) -> std::fmt::Result {
    writeln!(text, "ID:\t\t\t{}", config.id)?;
    writeln!(text, "Name:\t\t\t{}", config.spec.name)?;
    if !config.spec.labels.is_empty() {
        writeln!(text, "Labels:")?;
        for (key, value) in &config.spec.labels {
            writeln!(text, " - {key}={value}")?;
        }
    }
    let created = age::go_instant(config.meta.created_at);
    writeln!(text, "Created at:            \t{created}")?;
    let updated = age::go_instant(config.meta.updated_at);
    writeln!(text, "Updated at:            \t{updated}")?;
    let data = String::from_utf8_lossy(&config.spec.data.0);
    writeln!(text, "Data:\n{data}")
}

async fn remove(context: &Context, args: RemoveArgs) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for config in &args.configs {
        match context
            .client
            .delete(&target(&["configs", config], &[]))
            .await
        {
            Ok(()) => context.print(&format!("{config}\n"))?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::format::Wanted;

    fn config() -> Config {
        serde_json::from_value(json!({
            "ID": "5z311640rt0bf3ahg7k6zec2d",
            "Version": {"Index": 11},
            "CreatedAt": "2026-11-23T02:29:50Z",
            "UpdatedAt": "2026-11-23T02:29:52Z",
            "Spec": {"Name": "site", "Labels": {"a": "b"}, "Data": "aGVsbG8="}
        }))
        .unwrap()
    }

    #[test]
    fn configs_are_listed_with_their_ages() {
        let now = "2026-11-23T02:30:52Z".parse().unwrap();
        let rows = rows(vec![config()], now);
        assert_eq!(
            format::list(COLUMNS, &rows, Wanted::default()).unwrap(),
            "ID                          NAME      CREATED              UPDATED\n\
             5z311640rt0bf3ahg7k6zec2d   site      About a minute ago   About a minute ago\n"
        );
    }

    #[test]
    fn a_config_is_shown_for_people_with_its_data() {
        assert_eq!(
            pretty(&config()),
            "ID:\t\t\t5z311640rt0bf3ahg7k6zec2d\nName:\t\t\tsite\nLabels:\n - a=b\n\
             Created at:            \t2026-11-23 02:29:50 +0000 utc\n\
             Updated at:            \t2026-11-23 02:29:52 +0000 utc\nData:\nhello\n"
        );
    }
}
