//! `swarmr service run-now`.

use clap::Args;
use serde_json::json;

use crate::api::client::target;
use crate::api::wire::RunStarted;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::progress::{self, Operation, ProgressFlags};

#[derive(Debug, Args)]
pub(crate) struct RunNowArgs {
    /// Id or name of a job
    service: String,
    #[command(flatten)]
    progress: ProgressFlags,
}

pub(super) async fn run(context: &Context, args: RunNowArgs) -> Result<(), Failure> {
    let started: RunStarted = context
        .client
        .post(
            &target(&["services", &args.service, "run"], &[]),
            &json!({}),
        )
        .await?;
    let Some(run) = started.run else {
        return context.print(&format!("{}\n", args.service));
    };
    context.print(&format!("{} run {run}\n", args.service))?;
    progress::wait(context, &args.service, Operation::run(run), &args.progress).await
}
