//! Flags of `service create` and `service update` that Docker's do not have, by subject.

mod balance;
mod connections;
mod devices;
mod placement;
mod restart;
mod rolling;
mod schedule;
mod start;

use clap::Args;

use crate::cli::failure::Failure;
use crate::spec::ServiceSpec;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct ExtensionFlags {
    #[command(flatten)]
    devices: devices::DeviceFlags,
    #[command(flatten)]
    placement: placement::PlacementFlags,
    #[command(flatten)]
    restart: restart::RestartFlags,
    #[command(flatten)]
    rolling: rolling::RollingFlags,
    #[command(flatten)]
    pub(super) schedule: schedule::ScheduleFlags,
    #[command(flatten)]
    start: start::StartFlags,
    #[command(flatten)]
    balance: balance::BalanceFlags,
    #[command(flatten)]
    connections: connections::ConnectionFlags,
}

impl ExtensionFlags {
    /// Puts what was given into `spec`.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        self.devices.apply(spec);
        self.placement.apply(spec);
        self.restart.apply(spec);
        self.rolling.apply(spec);
        self.start.apply(spec);
        self.balance.apply(spec);
        self.connections.apply(spec);
        self.schedule.apply(spec)
    }
}
