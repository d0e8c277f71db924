//! What agents report of their tasks.

use super::Applied;
use crate::spec::Timestamp;
use crate::state::command::{Reply, TaskReport};
use crate::state::task::TaskState;
use crate::state::{State, Task};

impl State {
    pub(super) fn report(
        &mut self,
        index: u64,
        at: Timestamp,
        reports: Vec<TaskReport>,
    ) -> Applied {
        for report in reports {
            let news = self.tasks.get(report.task).is_some_and(|task| {
                task.node == Some(report.node)
                    && (report.state > task.status.state
                        || (report.state == task.status.state && differs(task, &report)))
            });
            if news {
                self.change_task(index, at, report.task, |task| take_report(task, at, report));
            }
        }
        Ok(Reply::Done)
    }
}

fn differs(task: &Task, report: &TaskReport) -> bool {
    task.status.container.as_deref() != report.container.as_ref()
        || task.status.err != report.err
        || task.status.message != report.message
}

fn take_report(task: &mut Task, at: Timestamp, report: TaskReport) {
    if report.state > task.status.state {
        task.status.applied_at = at;
        if report.state == TaskState::Running {
            task.running_since = Some(at);
        }
    }
    task.status.state = report.state;
    task.status.at = report.at;
    task.status.message = report.message.into();
    task.status.err = report.err.into();
    if let Some(container) = report.container {
        task.status.container = Some(Box::new(container));
    }
}
