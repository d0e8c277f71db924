//! What a script's `explain` and `service plan` print.

use std::fmt::Write as _;

use swarmr::daemon::planning;
use swarmr::spec::{ServiceId, ServiceSpec};
use swarmr::state::Op;
use swarmr::state::command::ServiceChange;

use super::world::World;

impl World {
    pub(super) fn explain(&self, name: &str) -> String {
        let Ok(service) = self.state.find_service(name) else {
            return format!("no service {name}\n");
        };
        let explanation = planning::explain(&self.state, service, self.now);
        let mut text = String::new();
        for wait in explanation.rollout {
            let _ = writeln!(text, "rollout: {}", self.without_ids(&wait));
        }
        for waiting in explanation.waiting {
            let reason = self.without_ids(&waiting.reason);
            let _ = writeln!(text, "{}: {reason}", waiting.tasks.join(" "));
            for verdict in waiting.nodes {
                let reasons: Vec<String> =
                    verdict.obstacles.into_iter().map(|it| it.reason).collect();
                let reasons = if reasons.is_empty() {
                    "takes the task".to_owned()
                } else {
                    reasons.join("; ")
                };
                let _ = writeln!(text, "  {:<3} {reasons}", verdict.node);
            }
            for remedy in waiting.remedies {
                let _ = writeln!(text, "  -> {remedy}");
            }
        }
        if text.is_empty() {
            text.push_str("waits for nothing\n");
        }
        text
    }

    pub(super) fn rehearse(&self, name: &str, spec: ServiceSpec) -> String {
        let (id, op) = match self.state.find_service(name) {
            Ok(service) => (
                service.id,
                Op::UpdateService {
                    id: service.id,
                    version: service.meta.version,
                    change: Box::new(ServiceChange::Spec(spec)),
                },
            ),
            Err(_) => {
                let id = ServiceId::from_bits(u128::MAX);
                let spec = Box::new(spec);
                (id, Op::CreateService { id, spec })
            }
        };
        let rehearsal = match planning::rehearse(&self.state, op, (id, name), self.now) {
            Ok(rehearsal) => rehearsal,
            Err(why) => return format!("refused: {why}\n"),
        };
        let mut text = String::new();
        for step in &rehearsal.steps {
            let node = if step.node.is_empty() {
                String::new()
            } else {
                format!(" on {}", step.node)
            };
            // Tasks of a rehearsal are in no state that could name them.
            let message = match step.message.strip_prefix("waiting for task ") {
                Some(_) => "waiting for the former task to stop",
                None => &step.message,
            };
            let line = format!(
                "+{}s {:<6} {:<7} {}{node}{message}",
                step.after.0 / 1_000_000_000,
                step.task,
                step.action,
                step.image
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        if rehearsal.steps.is_empty() {
            text.push_str("nothing would happen\n");
        }
        for waiting in &rehearsal.waiting {
            let _ = writeln!(
                text,
                "in the end {} waits: {}",
                waiting.task, waiting.reason
            );
        }
        text
    }
}
