//! `swarmr node drain`, `pause`, `activate`.

use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::change;
use crate::api::wire::Node;
use crate::api::wire::node::{Drain, Leaving};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::progress::{Line, Painter};
use crate::spec::{Availability, Nanos, parse};

const POLL_PERIOD: Duration = Duration::from_millis(500);
/// For how many reads in a row the daemon may not answer: a new leader is found in far less.
const PATIENCE: u32 = 60;

#[derive(Debug, Args)]
#[command(
    after_help = "Tasks leave the node as an update would replace them: in their service's \
    order, as many at a time as it allows. What can run nowhere else stays and says why, until \
    there is room, the timeout ends, or --force."
)]
pub(crate) struct DrainArgs {
    /// Ids, names, or "self"
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
    /// Stop what is left after so long, whether it has another place or not
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, conflicts_with = "force")]
    timeout: Option<Nanos>,
    /// Stop everything at once
    #[arg(short, long)]
    force: bool,
    /// Show progress until nothing is left on the nodes
    #[arg(short, long)]
    wait: bool,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
}

impl DrainArgs {
    fn limit(&self) -> Option<Nanos> {
        if self.force {
            Some(Nanos::ZERO)
        } else {
            self.timeout
        }
    }
}

pub(super) async fn drain(context: &Context, args: &DrainArgs) -> Result<(), Failure> {
    let limit = args.limit();
    let mut failures = Vec::new();
    let mut drained = Vec::new();
    for node in &args.nodes {
        match change::set_availability(context, node, Availability::Drain, limit).await {
            Ok(()) => drained.push(node),
            Err(failure) => failures.push(failure),
        }
    }
    for node in drained {
        let done = if args.wait {
            wait(context, node, args.quiet).await
        } else {
            Ok(())
        };
        match done {
            Ok(()) => context.print(&format!("{node}\n"))?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::join(failures)
}

pub(super) async fn set(
    context: &Context,
    nodes: &[String],
    availability: Availability,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for node in nodes {
        match change::set_availability(context, node, availability, None).await {
            Ok(()) => context.print(&format!("{node}\n"))?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::join(failures)
}

/// Follows a drain until nothing is left on the node. A task that has no other place is waited for:
/// room may come, and a deadline ends it.
async fn wait(context: &Context, name: &str, quiet: bool) -> Result<(), Failure> {
    let name = context.node_name(name).await?;
    let mut painter = Painter::new(quiet);
    // From here on an interrupt is told of, not died of.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::error(format!("cannot listen for signals: {error}")))?;
    let mut silent = 0;
    loop {
        match context.get::<Node>(&["nodes", &name], &[]).await {
            Ok(node) => {
                silent = 0;
                let Some(drain) = node.swarmr.as_ref().and_then(|it| it.drain.as_ref()) else {
                    return Err(Failure::new(
                        Exit::Conflict,
                        format!(
                            "node {name} is no longer drained: somebody made it {}",
                            node.spec.availability
                        ),
                    ));
                };
                painter.paint(&lines(&name, drain));
                if drain.tasks.is_empty() {
                    return Ok(());
                }
            }
            // A leader may just be elected: this only reads, so it may be done again.
            Err(failure)
                if matches!(failure.exit, Exit::Unreachable | Exit::TimedOut)
                    && silent < PATIENCE =>
            {
                silent += 1;
            }
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_PERIOD) => {}
            _ = interrupt.recv() => {
                return Err(Failure::new(
                    Exit::Interrupted,
                    "interrupted: the drain goes on in the background",
                )
                .next(format!(
                    "\"swarmr node inspect --pretty {name}\" shows how far it is; \
                     \"swarmr node activate {name}\" ends it."
                )));
            }
        }
    }
}

/// What there is to say of a drain: how many tasks are left, and of each why.
fn lines(node: &str, drain: &Drain) -> Vec<Line> {
    let blocked = drain.tasks.iter().filter(|task| task.blocked).count();
    let left = drain.tasks.len();
    let text = match (left, blocked) {
        (0, _) => "drained".to_owned(),
        (1, 0) => "1 task left".to_owned(),
        (left, 0) => format!("{left} tasks left"),
        (left, blocked) => format!("{left} left, {blocked} blocked"),
    };
    std::iter::once(Line::plain(node, text))
        .chain(drain.tasks.iter().map(line))
        .collect()
}

fn line(task: &Leaving) -> Line {
    Line::plain(&task.name, task.reason.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaving(name: &str, reason: &str, blocked: bool) -> Leaving {
        Leaving {
            id: String::new(),
            name: name.to_owned(),
            reason: reason.to_owned(),
            blocked,
        }
    }

    #[test]
    fn progress_counts_what_is_left_and_what_is_blocked() {
        let drain = |tasks| Drain {
            deadline: None,
            tasks,
        };
        let texts = |drain: &Drain| -> Vec<String> {
            lines("h1", drain)
                .into_iter()
                .map(|line| format!("{}: {}", line.id, line.text))
                .collect()
        };
        assert_eq!(texts(&drain(Vec::new())), ["h1: drained"]);
        let some = drain(vec![
            leaving("db.1", "cannot leave its node", true),
            leaving("web.1", "waits for its turn", false),
        ]);
        assert_eq!(
            texts(&some),
            [
                "h1: 2 left, 1 blocked",
                "db.1: cannot leave its node",
                "web.1: waits for its turn"
            ]
        );
    }
}
