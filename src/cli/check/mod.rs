//! `swarmr check`, and what `init` and `join` refuse to start a daemon without.
//!
//! `gather` reads the machine into [`facts::Facts`]; `judge` is a pure function over them.

mod facts;
mod gather;
mod judge;

use clap::Args;

use super::args::Global;
use super::context::Context;
use super::failure::Failure;
use super::options::MachineFlags;
use crate::spec::network::Subnet;
use judge::{Finding, Level};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Print the findings as a JSON array
    #[arg(long)]
    json: bool,
    /// The address pool that a cluster would use
    #[arg(long, value_name = "SUBNET", value_delimiter = ',')]
    default_addr_pool: Vec<Subnet>,
    /// What the daemon would listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:2377")]
    listen_addr: String,
    #[command(flatten)]
    machine: MachineFlags,
}

/// What a daemon that is about to start would need free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// `ADDRESS:PORT`, an interface, or empty.
    pub(crate) listen_addr: String,
    /// 0 for 4789.
    pub(crate) data_path_port: u16,
    /// As the user named them; empty for the default.
    pub(crate) address_pools: Vec<Subnet>,
}

pub(crate) async fn run(
    context: &Context,
    _global: &Global,
    args: &CheckArgs,
) -> Result<(), Failure> {
    let expected = Expected {
        listen_addr: args.listen_addr.clone(),
        data_path_port: 0,
        address_pools: args.default_addr_pool.clone(),
    };
    let running = context.client.ping().await.is_ok();
    let facts = gather::facts(context, &args.machine, &expected, running).await;
    let findings = judge::judge(&facts, &expected, args.machine.alongside_swarm);
    if args.json {
        let text = serde_json::to_string_pretty(&findings)
            .map_err(|error| Failure::error(error.to_string()))?;
        context.print(&format!("{text}\n"))?;
    } else {
        let lines: String = findings
            .iter()
            .map(|finding| format!("{finding}\n"))
            .collect();
        context.print(&lines)?;
    }
    match findings
        .iter()
        .filter(|it| it.level == Level::Failed)
        .count()
    {
        0 => Ok(()),
        1 => Err(Failure::error("one check failed")),
        failed => Err(Failure::error(format!("{failed} checks failed"))),
    }
}

/// Fails with everything that a daemon here would lack; tells of what is merely odd.
pub(crate) async fn refuse_unfit(
    context: &Context,
    machine: &MachineFlags,
    expected: &Expected,
) -> Result<(), Failure> {
    let facts = gather::facts(context, machine, expected, false).await;
    let findings = judge::judge(&facts, expected, machine.alongside_swarm);
    for finding in findings.iter().filter(|it| it.level == Level::Warning) {
        context.say(&finding.to_string());
    }
    refuse(&findings)
}

/// The pools that a running daemon is to use must not overlap the routes that it sees.
pub(crate) async fn pools_of_running_daemon(
    context: &Context,
    expected: &Expected,
) -> Result<(), Failure> {
    if expected.address_pools.is_empty() {
        return Ok(());
    }
    let routes = gather::routes(context.client.server_pid().await);
    refuse(&judge::pools(&routes, &expected.address_pools))
}

fn refuse(findings: &[Finding]) -> Result<(), Failure> {
    let failed: Vec<Failure> = findings
        .iter()
        .filter(|finding| finding.level == Level::Failed)
        .map(|finding| Failure::error(finding.sentence()))
        .collect();
    Failure::join(failed).map_err(|failure| {
        failure.next("Nothing was started or changed. \"swarmr check\" shows all checks.")
    })
}
