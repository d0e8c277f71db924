//! swarmr's own verbs for services: steering rollouts, stopping and starting, revisions.

use hyper::StatusCode;

use super::error::ApiError;
use super::server::{Api, Asked};
use super::{Answer, reply, wire};
use crate::state::Op;
use crate::state::command::Steer;

/// What `POST /swarmr/v1/services/NAME/VERB` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Promote,
    Pause,
    Resume,
    Rollback,
    Restart,
    Stop,
    Start,
}

impl Verb {
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "promote" => Self::Promote,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "rollback" => Self::Rollback,
            "restart" => Self::Restart,
            "stop" => Self::Stop,
            "start" => Self::Start,
            _ => return None,
        })
    }
}

pub(super) async fn steer(api: &Api, asked: &Asked, name: &str, verb: Verb) -> Answer {
    let state = api.read().await?;
    let service = state.find_service(name)?;
    let steer = match verb {
        Verb::Promote => Steer::Promote {
            from: service.rollout.as_ref().map_or(0, |rollout| rollout.step),
            to_the_end: asked.query.strict_flag("full")?,
        },
        Verb::Pause => Steer::Pause,
        Verb::Resume => Steer::Resume,
        Verb::Rollback => Steer::RollBackTo {
            revision: number(asked.query.get("revision").unwrap_or_default())?,
        },
        Verb::Restart => Steer::Restart {
            seen: state.index(),
        },
        Verb::Stop => Steer::Stop,
        Verb::Start => Steer::Start,
    };
    let id = service.id;
    api.propose(Op::SteerService { id, steer }).await?;
    reply::empty(StatusCode::OK)
}

/// All revisions, newest first.
pub(super) async fn revisions(api: &Api, name: &str) -> Answer {
    let state = api.read().await?;
    reply::ok(&wire::revision::list(state.find_service(name)?))
}

/// One revision with its spec.
pub(super) async fn revision(api: &Api, name: &str, revision: &str) -> Answer {
    let number = number(revision)?;
    let state = api.read().await?;
    let service = state.find_service(name)?;
    let found = wire::revision::one(service, number).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            format!(
                "service {0} has no revision {number}; swarmr service history {0} lists them",
                service.name()
            ),
        )
    })?;
    reply::ok(&found)
}

fn number(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "invalid revision: got {text:?}, want a number from 1 on"
        ))
    })
}
