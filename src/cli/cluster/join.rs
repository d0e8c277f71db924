//! `swarmr join`.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;

use super::LIFECYCLE_DEADLINE;
use super::init::AddressFlags;
use crate::api::client::target;
use crate::api::wire::SwarmJoin;
use crate::cli::args::Global;
use crate::cli::check::Expected;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::launch;
use crate::cli::options::MachineFlags;

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Any manager of the cluster
    #[arg(value_name = "HOST[:PORT]", required = true)]
    remotes: Vec<String>,
    /// The token that "swarmr join-token" shows; "-" reads it from standard input
    #[arg(long, value_name = "TOKEN", required_unless_present = "token_file")]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    addresses: AddressFlags,
    /// Print the node's id only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    machine: MachineFlags,
}

pub(crate) async fn run(context: &Context, global: &Global, args: JoinArgs) -> Result<(), Failure> {
    let request = SwarmJoin {
        listen_addr: args.addresses.listen_addr.clone(),
        advertise_addr: args.addresses.advertise_addr.clone(),
        data_path_addr: args.addresses.data_path_addr.clone(),
        remote_addrs: args
            .remotes
            .iter()
            .map(|remote| with_port(remote))
            .collect(),
        join_token: token(&args)?,
        availability: args.addresses.availability,
    };
    let expected = Expected {
        listen_addr: args.addresses.listen_addr.clone(),
        ..Expected::default()
    };
    launch::ensure_daemon(context, global, &args.machine, &expected).await?;
    context
        .client
        .with_deadline(LIFECYCLE_DEADLINE)
        .post_bytes(&target(&["swarm", "join"], &[]), &request)
        .await?;
    let info = context.swarm_info().await?;
    if args.quiet {
        return context.print(&format!("{}\n", info.node_id));
    }
    let role = if info.control_available {
        "manager"
    } else {
        "worker"
    };
    context.print(&format!("This node joined a swarm as a {role}.\n"))
}

fn token(args: &JoinArgs) -> Result<String, Failure> {
    let text = match (&args.token, &args.token_file) {
        (Some(token), _) if token != "-" => token.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| Failure::error(format!("token file {}: {error}", file.display())))?,
        _ => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::error(format!("standard input: {error}")))?;
            text
        }
    };
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::usage("the join token is empty")
            .next("Copy the whole token that \"swarmr join-token worker\" shows on a manager."));
    }
    Ok(token.to_owned())
}

/// The address of a manager with Docker's port where it has none.
fn with_port(remote: &str) -> String {
    let has_port = match remote.strip_prefix('[') {
        Some(bracketed) => bracketed.contains("]:"),
        None => remote.matches(':').count() == 1,
    };
    match has_port {
        true => remote.to_owned(),
        false if remote.matches(':').count() > 1 && !remote.starts_with('[') => {
            format!("[{remote}]:2377")
        }
        false => format!("{remote}:2377"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_dialled_on_dockers_port_unless_told_otherwise() {
        let table = [
            ("10.0.0.1", "10.0.0.1:2377"),
            ("10.0.0.1:2400", "10.0.0.1:2400"),
            ("host", "host:2377"),
            ("[::1]:2400", "[::1]:2400"),
            ("[::1]", "[::1]:2377"),
            ("fd00::1", "[fd00::1]:2377"),
        ];
        for (remote, want) in table {
            assert_eq!(with_port(remote), want);
        }
    }
}
