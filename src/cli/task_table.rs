//! The table of tasks: `service ps` and `node ps`.

use std::collections::BTreeMap;

use clap::Args;

use super::context::{Context, ListArgs, filters};
use super::failure::Failure;
use super::output::data::Data;
use super::output::format::{self, Columns};
use super::output::{age, capitalised, familiar_image, natural, ports, short_id, word};
use crate::api::wire::{Node, Service, Task};
use crate::spec::Timestamp;
use crate::spec::service::PublishMode;

/// Characters of an error that fit into its column.
const ERROR_WIDTH: usize = 30;

const COLUMNS: Columns = Columns {
    default: "{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t\
        {{.CurrentState}}\t{{.Error}}\t{{.Ports}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Image", "IMAGE"),
        ("Node", "NODE"),
        ("DesiredState", "DESIRED STATE"),
        ("CurrentState", "CURRENT STATE"),
        ("Error", "ERROR"),
        ("Ports", "PORTS"),
    ],
};

#[derive(Debug, Clone, Args)]
pub(crate) struct TaskListArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    /// Show ids instead of names
    #[arg(long)]
    pub(crate) no_resolve: bool,
    /// Show ids, images and errors whole
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// Prints the tasks that match `wanted` and the user's own filters.
pub(crate) async fn show(
    context: &Context,
    mut wanted: Vec<(String, String)>,
    args: &TaskListArgs,
) -> Result<(), Failure> {
    for (key, value) in &args.list.filters {
        let value = match key.as_str() {
            "node" => context.node_name(value).await?,
            _ => value.clone(),
        };
        wanted.push((key.clone(), value));
    }
    let filters = filters(&wanted).unwrap_or_default();
    let tasks: Vec<Task> = context.get(&["tasks"], &[("filters", &filters)]).await?;
    let names = if args.no_resolve {
        Names::default()
    } else {
        Names::fetch(context).await?
    };
    let shape = Shape {
        // Docker's -q shows ids whole.
        whole: args.no_trunc || args.list.quiet,
        indented: args
            .list
            .format
            .as_deref()
            .is_none_or(|format| format.trim_start().starts_with("table")),
    };
    let rows = rows(tasks, &names, shape, context.now());
    context.print(&format::list(COLUMNS, &rows, args.list.wanted())?)
}

/// What ids are called.
#[derive(Debug, Default)]
pub(crate) struct Names {
    services: BTreeMap<String, String>,
    nodes: BTreeMap<String, String>,
}

impl Names {
    pub(crate) async fn fetch(context: &Context) -> Result<Self, Failure> {
        let services: Vec<Service> = context.get(&["services"], &[]).await?;
        let nodes: Vec<Node> = context.get(&["nodes"], &[]).await?;
        Ok(Self {
            services: services
                .into_iter()
                .map(|service| (service.id.to_string(), service.spec.name.clone()))
                .collect(),
            nodes: nodes
                .into_iter()
                .map(|node| (node.id.to_string(), node.name().to_owned()))
                .collect(),
        })
    }

    /// The service's name, or its id where that is not known any more.
    pub(crate) fn service(&self, id: &str) -> String {
        self.services
            .get(id)
            .cloned()
            .unwrap_or_else(|| id.to_owned())
    }

    pub(crate) fn node(&self, id: &str) -> String {
        self.nodes.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    /// `web.1`, or `web.<node>` for a task of a global service.
    pub(crate) fn task(&self, task: &Task) -> String {
        let service = self.service(&task.service_id.to_string());
        match (task.slot, task.node_id) {
            (Some(slot), _) => format!("{service}.{slot}"),
            (None, Some(node)) => format!("{service}.{node}"),
            (None, None) => format!("{service}.{}", task.id),
        }
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Ids, images and errors are not cut.
    whole: bool,
    /// History stands below what replaced it.
    indented: bool,
}

fn rows(tasks: Vec<Task>, names: &Names, shape: Shape, now: Timestamp) -> Vec<Data> {
    let mut tasks: Vec<(String, Task)> = tasks
        .into_iter()
        .map(|task| (names.task(&task), task))
        .collect();
    tasks.sort_by(|(left_name, left), (right_name, right)| {
        natural::compare(left_name, right_name)
            .then_with(|| right.meta.created_at.cmp(&left.meta.created_at))
            .then_with(|| left.id.cmp(&right.id))
    });
    let mut previous = String::new();
    tasks
        .iter()
        .map(|(name, task)| {
            let is_history = *name == previous;
            previous.clone_from(name);
            let shown = if is_history && shape.indented {
                format!(" \\_ {name}")
            } else {
                name.clone()
            };
            row(task, shown, names, shape.whole, now)
        })
        .collect()
}

fn row(task: &Task, name: String, names: &Names, whole: bool, now: Timestamp) -> Data {
    let id = task.id.to_string();
    let image = &task.spec.container_spec.image;
    let node = task.node_id.map(|node| names.node(&node.to_string()));
    let current_state = format!(
        "{} {}",
        capitalised(&word(&task.status.state)),
        age::ago(task.status.timestamp, now)
    );
    format::row([
        ("ID", if whole { id.as_str() } else { short_id(&id) }.into()),
        ("Name", name.into()),
        (
            "Image",
            if whole { image } else { familiar_image(image) }.into(),
        ),
        ("Node", node.unwrap_or_default().into()),
        (
            "DesiredState",
            capitalised(&word(&task.desired_state)).into(),
        ),
        ("CurrentState", current_state.into()),
        ("Error", quoted(&task.status.err, whole).into()),
        (
            "Ports",
            ports::published(&task.status.port_status.ports, PublishMode::Host).into(),
        ),
    ])
}

/// An error in quotes, cut to its column.
fn quoted(error: &str, whole: bool) -> String {
    if error.is_empty() {
        return String::new();
    }
    if whole || error.chars().count() <= ERROR_WIDTH {
        return format!("\"{error}\"");
    }
    let cut: String = error.chars().take(ERROR_WIDTH - 1).collect();
    format!("\"{cut}…\"")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::format::Wanted;

    const SERVICE: &str = "c9p59oes2f3wjhdmms15ynh99";
    const NODE: &str = "d84zq49y3q1bkq6fne00uydd8";

    fn task(id: char, slot: Option<u64>, at: &str, state: &str, desired: &str, err: &str) -> Task {
        serde_json::from_value(json!({
            "ID": id.to_string().repeat(25),
            "Version": {"Index": 1},
            "CreatedAt": at,
            "UpdatedAt": at,
            "Labels": {},
            "Spec": {"ContainerSpec": {"Image": "nginx:1@sha256:abc"}},
            "ServiceID": SERVICE,
            "Slot": slot,
            "NodeID": NODE,
            "Status": {
                "Timestamp": at, "State": state, "Err": err, "PortStatus":
                    {"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080,
                        "PublishMode": "host"}]}
            },
            "DesiredState": desired
        }))
        .unwrap()
    }

    fn names() -> Names {
        Names {
            services: [(SERVICE.to_owned(), "web".to_owned())].into(),
            nodes: [(NODE.to_owned(), "h1".to_owned())].into(),
        }
    }

    fn shown(tasks: Vec<Task>, names: &Names, whole: bool) -> String {
        let now = "2026-11-23T02:30:00Z".parse().unwrap();
        let shape = Shape {
            whole,
            indented: true,
        };
        let rows = rows(tasks, names, shape, now);
        format::list(COLUMNS, &rows, Wanted::default()).unwrap()
    }

    #[test]
    fn history_stands_below_the_task_that_replaced_it() {
        let tasks = vec![
            task(
                'b',
                Some(10),
                "2026-11-23T02:29:58Z",
                "running",
                "running",
                "",
            ),
            task(
                'c',
                Some(2),
                "2026-11-23T02:20:00Z",
                "failed",
                "shutdown",
                "task: non-zero exit (1): and much more to read here",
            ),
            task(
                'a',
                Some(2),
                "2026-11-23T02:29:55Z",
                "running",
                "running",
                "",
            ),
        ];
        let want = [
            "ID             NAME        IMAGE     NODE      DESIRED STATE   CURRENT STATE           ERROR                              PORTS",
            "aaaaaaaaaaaa   web.2       nginx:1   h1        Running         Running 5 seconds ago                                      *:8080->80/tcp",
            "cccccccccccc    \\_ web.2   nginx:1   h1        Shutdown        Failed 10 minutes ago   \"task: non-zero exit (1): and …\"   *:8080->80/tcp",
            "bbbbbbbbbbbb   web.10      nginx:1   h1        Running         Running 2 seconds ago                                      *:8080->80/tcp",
        ];
        assert_eq!(shown(tasks, &names(), false), want.join("\n") + "\n");
    }

    #[test]
    fn ids_and_errors_are_whole_when_asked_for() {
        let tasks = vec![task(
            'c',
            None,
            "2026-11-23T02:20:00Z",
            "failed",
            "shutdown",
            "task: non-zero exit (1): and much more to read here",
        )];
        let text = shown(tasks, &Names::default(), true);
        assert!(text.contains(&"c".repeat(25)), "{text}");
        assert!(text.contains(&format!("{SERVICE}.{NODE}")), "{text}");
        assert!(text.contains("nginx:1@sha256:abc"), "{text}");
        assert!(text.contains("and much more to read here\""), "{text}");
    }
}
