//! `swarmr service ls`.

use crate::api::wire::Service;
use crate::cli::failure::Failure;
use crate::cli::output::data::Data;
use crate::cli::output::format::{self, Columns, Wanted};
use crate::cli::output::{familiar_image, natural, ports, short_id};
use crate::spec::Mode;
use crate::spec::service::PublishMode;

const COLUMNS: Columns = Columns {
    default: "{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Mode", "MODE"),
        ("Replicas", "REPLICAS"),
        ("Image", "IMAGE"),
        ("Ports", "PORTS"),
    ],
};

pub(super) fn table(mut services: Vec<Service>, wanted: Wanted<'_>) -> Result<String, Failure> {
    services.sort_by(|left, right| natural::compare(&left.spec.name, &right.spec.name));
    let rows: Vec<Data> = services.iter().map(row).collect();
    Ok(format::list(COLUMNS, &rows, wanted)?)
}

fn row(service: &Service) -> Data {
    let id = service.id.to_string();
    let image = &service.spec.task_template.container_spec.image;
    format::row([
        ("ID", short_id(&id).into()),
        ("Name", service.spec.name.clone().into()),
        ("Mode", mode(&service.spec.mode).into()),
        ("Replicas", replicas(service).into()),
        ("Image", familiar_image(image).into()),
        (
            "Ports",
            ports::published(&service.endpoint.ports, PublishMode::Ingress).into(),
        ),
    ])
}

const fn mode(mode: &Mode) -> &'static str {
    match mode {
        Mode::Replicated(_) => "replicated",
        Mode::Global(_) => "global",
        Mode::ReplicatedJob(_) => "replicated job",
        Mode::GlobalJob(_) => "global job",
    }
}

/// `4/6`, `4/6 (max 2 per node)`, `1/1 (3/5 completed)`.
fn replicas(service: &Service) -> String {
    let status = service.service_status.unwrap_or_default();
    let mut counts = format!("{}/{}", status.running_tasks, status.desired_tasks);
    if service.swarmr.stopped {
        counts.push_str(" (stopped)");
    }
    if status.crash_looping > 0 {
        counts.push_str(&format!(" ({} in a crash loop)", status.crash_looping));
    }
    match &service.spec.mode {
        Mode::Replicated(_) => match service.spec.task_template.placement().max_replicas {
            0 => counts,
            most => format!("{counts} (max {most} per node)"),
        },
        Mode::Global(_) => counts,
        Mode::ReplicatedJob(job) => format!(
            "{counts} ({}/{} completed)",
            status.completed_tasks,
            job.total_completions()
        ),
        Mode::GlobalJob(_) => format!(
            "{counts} ({}/{} completed)",
            status.completed_tasks, status.desired_tasks
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(id: &str, name: &str, mode: serde_json::Value, placement: u64) -> Service {
        serde_json::from_value(json!({
            "ID": id,
            "Version": {"Index": 33},
            "CreatedAt": "2026-11-23T02:29:50Z",
            "UpdatedAt": "2026-11-23T02:29:50Z",
            "Spec": {
                "Name": name,
                "Labels": {},
                "TaskTemplate": {
                    "ContainerSpec": {"Image": "web:1@sha256:abc"},
                    "Placement": {"MaxReplicas": placement}
                },
                "Mode": mode
            },
            "Endpoint": {"Spec": {}, "Ports": [
                {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"},
                {"Protocol": "tcp", "TargetPort": 81, "PublishedPort": 8081, "PublishMode": "host"}
            ]},
            "ServiceStatus": {"RunningTasks": 4, "DesiredTasks": 6, "CompletedTasks": 2}
        }))
        .unwrap()
    }

    #[test]
    fn services_are_listed_as_docker_lists_them() {
        let services = vec![
            service(
                "c9p59oes2f3wjhdmms15ynh99",
                "web",
                json!({"Replicated": {"Replicas": 6}}),
                0,
            ),
            service(
                "5z311640rt0bf3ahg7k6zec2d",
                "agent",
                json!({"Global": {}}),
                0,
            ),
            service(
                "6z311640rt0bf3ahg7k6zec2d",
                "capped",
                json!({"Replicated": {"Replicas": 6}}),
                2,
            ),
            service(
                "7z311640rt0bf3ahg7k6zec2d",
                "job",
                json!({"ReplicatedJob": {"TotalCompletions": 9}}),
                0,
            ),
        ];
        let want = [
            "ID             NAME      MODE             REPLICAS               IMAGE     PORTS",
            "5z311640rt0b   agent     global           4/6                    web:1     *:8080->80/tcp",
            "6z311640rt0b   capped    replicated       4/6 (max 2 per node)   web:1     *:8080->80/tcp",
            "7z311640rt0b   job       replicated job   4/6 (2/9 completed)    web:1     *:8080->80/tcp",
            "c9p59oes2f3w   web       replicated       4/6                    web:1     *:8080->80/tcp",
        ];
        assert_eq!(
            table(services, Wanted::default()).unwrap(),
            want.join("\n") + "\n"
        );
    }
}
