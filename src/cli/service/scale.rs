//! `swarmr service scale`.

use clap::Args;

use super::update;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::progress::{self, Operation, ProgressFlags};
use crate::spec::{Mode, ServiceSpec, parse};

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    #[arg(value_name = "SERVICE=REPLICAS", required = true, value_parser = parse::scale)]
    scales: Vec<(String, u64)>,
    #[command(flatten)]
    progress: ProgressFlags,
}

pub(super) async fn run(context: &Context, args: ScaleArgs) -> Result<(), Failure> {
    let mut failures = Vec::new();
    let mut scaled = Vec::new();
    for (service, replicas) in &args.scales {
        let written = update::write(context, service, &[], |spec| {
            scale(service, *replicas, spec)
        })
        .await;
        match written {
            Ok(before) => {
                context.print(&format!("{service} scaled to {replicas}\n"))?;
                scaled.push(before);
            }
            Err(failure) => failures.push(failure),
        }
    }
    for before in scaled {
        let id = before.id.to_string();
        let operation = Operation::update(before.update_status);
        if let Err(failure) = progress::wait(context, &id, operation, &args.progress).await {
            failures.push(failure);
        }
    }
    Failure::join(failures)
}

fn scale(service: &str, replicas: u64, spec: &mut ServiceSpec) -> Result<(), Failure> {
    match &mut spec.mode {
        Mode::Replicated(mode) => mode.replicas = Some(replicas),
        Mode::ReplicatedJob(job) => job.total_completions = Some(replicas),
        Mode::Global(_) | Mode::GlobalJob(_) => {
            return Err(Failure::error(format!(
                "{service}: scale can only be used with the modes replicated and replicated-job"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::service::GlobalMode;

    #[test]
    fn only_services_with_replicas_scale() {
        let mut spec = ServiceSpec::default();
        scale("web", 7, &mut spec).unwrap();
        assert_eq!(spec.replicas(), Some(7));
        spec.mode = Mode::Global(GlobalMode {});
        assert!(scale("web", 7, &mut spec).is_err());
    }
}
