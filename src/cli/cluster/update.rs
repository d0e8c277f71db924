//! `swarmr swarm update`.

use clap::Args;
use serde_json::json;

use super::get_swarm;
use super::init::SettingFlags;
use crate::api::client::target;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Encrypt the managers' keys with a key that is shown once
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    autolock: Option<bool>,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(crate) async fn run(context: &Context, args: UpdateArgs) -> Result<(), Failure> {
    if args.autolock.is_none() && !args.settings.any() {
        return Err(
            Failure::usage("nothing to change: give at least one option")
                .next("\"swarmr swarm update --help\" lists them."),
        );
    }
    let swarm = get_swarm(context).await?;
    let mut spec = swarm.spec;
    args.settings.apply(&mut spec)?;
    if let Some(autolock) = args.autolock {
        spec.other.insert(
            "EncryptionConfig".to_owned(),
            json!({"AutoLockManagers": autolock}),
        );
    }
    let version = swarm.meta.version.index.to_string();
    context
        .client
        .post_bytes(
            &target(&["swarm", "update"], &[("version", &version)]),
            &spec,
        )
        .await?;
    context.print("Swarm updated.\n")
}
