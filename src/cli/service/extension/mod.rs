//! Flags of `service create` and `service update` that Docker's do not have, by subject.

use clap::Args;

use crate::cli::failure::Failure;
use crate::spec::ServiceSpec;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct ExtensionFlags {}

impl ExtensionFlags {
    /// Puts what was given into `spec`.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "no flag yet")]
    pub(super) const fn apply(&self, _spec: &mut ServiceSpec) -> Result<(), Failure> {
        Ok(())
    }
}
