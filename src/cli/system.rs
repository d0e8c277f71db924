//! `swarmr info`, `version`, `completion`.

use std::fmt::Write as _;

use clap::{Args, CommandFactory as _};

use super::args::Cli;
use super::context::Context;
use super::failure::Failure;
use super::output::data::Data;
use super::output::template::{Missing, Template};
use super::output::text;
use crate::api::wire::{EngineVersion, SwarmInfo};

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(crate) async fn info(context: &Context, args: InfoArgs) -> Result<(), Failure> {
    let info: Data = context.get(&["info"], &[]).await?;
    match args.format.as_deref() {
        Some(format) => context.print(&formatted(&info, format)?),
        None => context.print(&info_screen(&info, &context.swarm_info().await?)),
    }
}

fn formatted(data: &Data, format: &str) -> Result<String, Failure> {
    let template = match format {
        "json" => "{{json .}}",
        template => template,
    };
    let text = Template::parse(template)?.render(data, Missing::NoValue)?;
    Ok(format!("{text}\n"))
}

fn info_screen(info: &Data, swarm: &SwarmInfo) -> String {
    text(|text| write_info(text, info, swarm))
}

fn write_info(text: &mut String, info: &Data, swarm: &SwarmInfo) -> std::fmt::Result {
    let fields = [
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
        ("Total Memory", "MemTotal"),
        ("Name", "Name"),
        ("ID", "ID"),
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Paused", "ContainersPaused"),
        (" Stopped", "ContainersStopped"),
        ("Images", "Images"),
        ("Live Restore Enabled", "LiveRestoreEnabled"),
    ];
    for (heading, field) in fields {
        if let Some(value) = info.get(field) {
            writeln!(text, "{heading}: {value}")?;
        }
    }
    write_swarm(text, swarm)
}

fn write_swarm(text: &mut String, swarm: &SwarmInfo) -> std::fmt::Result {
    writeln!(text, "Swarm: {}", swarm.local_node_state)?;
    if !swarm.error.is_empty() {
        writeln!(text, " Error: {}", swarm.error)?;
    }
    if swarm.node_id.is_empty() {
        return Ok(());
    }
    writeln!(text, " NodeID: {}", swarm.node_id)?;
    writeln!(text, " Is Manager: {}", swarm.control_available)?;
    if let Some(cluster) = &swarm.cluster {
        writeln!(text, " ClusterID: {}", cluster.id)?;
        writeln!(text, " Managers: {}", swarm.managers)?;
        writeln!(text, " Nodes: {}", swarm.nodes)?;
        let pools: Vec<String> = cluster
            .default_addr_pool
            .iter()
            .map(ToString::to_string)
            .collect();
        writeln!(text, " Default Address Pool: {}", pools.join("  "))?;
        writeln!(text, " SubnetSize: {}", cluster.subnet_size)?;
        writeln!(text, " Data Path Port: {}", cluster.data_path_port)?;
    }
    writeln!(text, " Node Address: {}", swarm.node_addr)?;
    if let Some(managers) = &swarm.remote_managers {
        writeln!(text, " Manager Addresses:")?;
        let mut addresses: Vec<&str> = managers
            .iter()
            .map(|manager| manager.addr.as_str())
            .collect();
        addresses.sort_unstable();
        for address in addresses {
            writeln!(text, "  {address}")?;
        }
    }
    for warning in &swarm.warnings {
        writeln!(text, "WARNING: {warning}")?;
    }
    Ok(())
}

pub(crate) async fn version(context: &Context, args: VersionArgs) -> Result<(), Failure> {
    let client = Data::Map(vec![
        ("Version".to_owned(), env!("CARGO_PKG_VERSION").into()),
        ("Os".to_owned(), std::env::consts::OS.into()),
        ("Arch".to_owned(), std::env::consts::ARCH.into()),
    ]);
    if let Some(format) = &args.format {
        let server = context.get::<Data>(&["version"], &[]).await;
        let both = Data::Map(vec![
            ("Client".to_owned(), client),
            (
                "Server".to_owned(),
                server.as_ref().cloned().unwrap_or_default(),
            ),
        ]);
        context.print(&formatted(&both, format)?)?;
        return server.map(drop);
    }
    context.print(&format!(
        "Client:\n Version:      {}\n OS/Arch:      {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    ))?;
    let server: EngineVersion = context.get(&["version"], &[]).await?;
    context.print(&server_version(&server))
}

fn server_version(server: &EngineVersion) -> String {
    text(|text| {
        writeln!(text, "\nServer:\n Version:      {}", server.version)?;
        writeln!(
            text,
            " API version:  {} (minimum version {})",
            server.api_version, server.min_api_version
        )?;
        writeln!(text, " OS/Arch:      {}/{}", server.os, server.arch)?;
        for component in &server.components {
            writeln!(text, " {}:", component.name)?;
            writeln!(text, "  Version:     {}", component.version)?;
        }
        Ok(())
    })
}

pub(crate) fn completion(context: &Context, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "swarmr", &mut script);
    context.print(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_is_stands_below_what_its_engine_is() {
        let info: Data =
            serde_json::from_str(r#"{"ServerVersion":"20.10.24","NCPU":2,"Swarm":{},"Name":"h1"}"#)
                .unwrap();
        let swarm = SwarmInfo {
            node_id: "abc".into(),
            node_addr: "10.0.0.1".into(),
            local_node_state: "active".into(),
            control_available: true,
            ..SwarmInfo::default()
        };
        assert_eq!(
            info_screen(&info, &swarm),
            "Server Version: 20.10.24\nCPUs: 2\nName: h1\nSwarm: active\n NodeID: abc\n \
             Is Manager: true\n Node Address: 10.0.0.1\n"
        );
        let outside = SwarmInfo {
            local_node_state: "inactive".into(),
            ..SwarmInfo::default()
        };
        assert!(info_screen(&info, &outside).ends_with("Swarm: inactive\n"));
    }
}
