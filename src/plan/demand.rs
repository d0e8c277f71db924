//! What tasks of one spec ask of nodes and networks, worked out once for a look that places many.

use super::board::Board;
use crate::spec::{NetworkId, NodeId, ServiceSpec};
use crate::state::State;
use crate::state::claims::{Ask, Claims};
use crate::state::usage::Reserved;

#[derive(Debug)]
pub(super) struct Demand<'a> {
    pub(super) reserved: Reserved,
    pub(super) networks: Vec<NetworkId>,
    pub(super) ask: Ask<'a>,
}

impl<'a> Demand<'a> {
    pub(super) fn of(state: &State, spec: &'a ServiceSpec) -> Self {
        Self {
            reserved: Reserved::of(spec),
            networks: state.networks_of(spec),
            ask: Ask::of(spec),
        }
    }

    /// What the task will be given there, as the state gives it out.
    pub(super) fn claims_on(
        &self,
        state: &State,
        node: NodeId,
        board: &Board<'_>,
    ) -> Option<Box<Claims>> {
        if self.ask.is_empty() {
            return None;
        }
        let description = &state.node(node)?.description;
        let claims = self.ask.claim(description, &board.usage(node).taken).ok()?;
        Some(Box::new(claims))
    }
}
