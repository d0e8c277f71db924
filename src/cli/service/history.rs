//! `swarmr service history`.

use clap::Args;

use crate::api::wire::revision::Revision;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::age;
use crate::cli::output::data::Data;
use crate::cli::output::format::{self, Columns, Wanted};
use crate::spec::Timestamp;

const COLUMNS: Columns = Columns {
    default: "{{.Revision}}\t{{.Created}}\t{{.Cause}}\t{{.Changes}}",
    quiet: "{{.Revision}}",
    headings: &[
        ("Revision", "REVISION"),
        ("Created", "CREATED"),
        ("Cause", "CAUSE"),
        ("Changes", "CHANGES"),
        ("Current", "CURRENT"),
    ],
};

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Id or name
    service: String,
    /// json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the numbers only
    #[arg(short, long)]
    quiet: bool,
}

pub(super) async fn run(context: &Context, args: HistoryArgs) -> Result<(), Failure> {
    let path = ["swarmr", "v1", "services", &args.service, "revisions"];
    let revisions: Vec<Revision> = context.get(&path, &[]).await?;
    let wanted = Wanted {
        format: args.format.as_deref(),
        quiet: args.quiet,
    };
    context.print(&table(&revisions, wanted, context.now())?)
}

fn table(revisions: &[Revision], wanted: Wanted<'_>, now: Timestamp) -> Result<String, Failure> {
    let rows: Vec<Data> = revisions
        .iter()
        .map(|revision| row(revision, now))
        .collect();
    Ok(format::list(COLUMNS, &rows, wanted)?)
}

fn row(revision: &Revision, now: Timestamp) -> Data {
    let number = revision.revision;
    let shown = if revision.current {
        format!("{number} (current)")
    } else {
        number.to_string()
    };
    format::row([
        ("Revision", shown.into()),
        ("Created", age::ago(revision.created_at, now).into()),
        ("Cause", revision.cause.clone().into()),
        ("Changes", revision.changes.join(", ").into()),
        ("Current", revision.current.to_string().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_revision_is_marked() {
        let now: Timestamp = "2026-11-23T03:00:00Z".parse().unwrap();
        let revision = |revision, cause: &str, changes: &[&str], current| Revision {
            revision,
            created_at: "2026-11-23T02:00:00Z".parse().unwrap(),
            cause: cause.to_owned(),
            current,
            changes: changes.iter().map(|text| (*text).to_owned()).collect(),
            spec: None,
        };
        let revisions = [
            revision(3, "rolled back to 1", &["image web:2 to web:1"], true),
            revision(2, "updated", &["image web:1 to web:2", "env LOG"], false),
            revision(1, "created", &[], false),
        ];
        let want = [
            "REVISION      CREATED             CAUSE              CHANGES",
            "3 (current)   about an hour ago   rolled back to 1   image web:2 to web:1",
            "2             about an hour ago   updated            image web:1 to web:2, env LOG",
            "1             about an hour ago   created            ",
        ];
        let shown = table(&revisions, Wanted::default(), now).unwrap();
        assert_eq!(shown, want.join("\n") + "\n");
    }
}
