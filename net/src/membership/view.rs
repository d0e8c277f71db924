//! What this node believes of the others, as far as somebody acts on it.

use std::collections::BTreeMap;

use super::Members;
use crate::gossip::{Change, Event, Fact, FactKey, NodeId, Phase, Reason, TaskId};

/// Why no new traffic should go to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It was silent for longer than it should be. It may refute that.
    Suspected,
    /// Several of its neighbours agree that neither it nor its kernel answers.
    Silent,
    /// It has said nothing for as long as a suspected node is given; its kernel may answer.
    Unresponsive,
}

/// Small while all is well, whatever the size of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Who is not there; all other members are.
    pub absent: BTreeMap<NodeId, Absence>,
    /// What nodes say of their tasks.
    pub tasks: BTreeMap<(NodeId, TaskId), Phase>,
}

impl View {
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Suspect(node) => {
                self.absent.insert(node, Absence::Suspected);
            }
            Event::Dead { node, reason } => {
                let absence = match reason {
                    Reason::Silent => Absence::Silent,
                    Reason::Unresponsive => Absence::Unresponsive,
                };
                self.absent.insert(node, absence);
            }
            Event::Alive(node) => {
                self.absent.remove(&node);
            }
            Event::Changed { node, change } => match change {
                Change::Set(Fact::Task(task, phase)) => {
                    self.tasks.insert((node, task), phase);
                }
                Change::Gone(FactKey::Task(task)) => {
                    self.tasks.remove(&(node, task));
                }
                Change::Set(_) | Change::Gone(_) => {}
            },
        }
    }

    /// Of whoever has left nothing is believed.
    pub(super) fn keep(&mut self, members: &Members) {
        self.absent.retain(|node, _| members.get(*node).is_some());
        self.tasks
            .retain(|(node, _), _| members.get(*node).is_some());
    }
}
