//! The cluster itself: init, join, leave, its settings and tokens.

use hyper::StatusCode;

use super::control::{Standing, Unavailable};
use super::error::ApiError;
use super::server::{Api, Asked};
use super::wire::{UnlockKey, cluster};
use super::{Answer, admit, lenient, reply};
use crate::state::Op;

pub(super) async fn inspect(api: &Api) -> Answer {
    let state = api.read().await?;
    let cluster = state.cluster().ok_or(Unavailable::NotInCluster)?;
    reply::ok(&cluster::render_with_tokens(cluster))
}

/// Answers the new node's id as a bare JSON string.
pub(super) async fn init(api: &Api, asked: &Asked) -> Answer {
    let request = admit::init(&asked.body)?;
    reply::ok(&api.control.init(request).await?)
}

pub(super) async fn join(api: &Api, asked: &Asked) -> Answer {
    let request = admit::join(&asked.body)?;
    api.control.join(request).await?;
    reply::empty(StatusCode::OK)
}

pub(super) async fn leave(api: &Api, asked: &Asked) -> Answer {
    api.control.leave(asked.query.loose_flag("force")).await?;
    reply::empty(StatusCode::OK)
}

pub(super) async fn update(api: &Api, asked: &Asked) -> Answer {
    let version = asked.query.version("swarm")?;
    let rotate_worker = asked.query.strict_flag("rotateWorkerToken")?;
    let rotate_manager = asked.query.strict_flag("rotateManagerToken")?;
    if asked.query.strict_flag("rotateManagerUnlockKey")? {
        return Err(ApiError::not_built(
            "locking managers (rotateManagerUnlockKey)",
        ));
    }
    let spec = admit::cluster(lenient::parse(&asked.body)?)?;
    let token = |rotate: bool| rotate.then(|| api.control.fresh_token()).transpose();
    let op = Op::UpdateCluster {
        version,
        spec: Box::new(spec),
        worker_token: token(rotate_worker)?,
        manager_token: token(rotate_manager)?,
    };
    api.propose(op).await?;
    reply::empty(StatusCode::OK)
}

/// Always an empty key: managers are not locked.
pub(super) async fn unlock_key(api: &Api) -> Answer {
    api.read().await?;
    reply::ok(&UnlockKey::default())
}

pub(super) fn unlock(api: &Api) -> Answer {
    match api.control.standing() {
        Standing::Inactive | Standing::Pending => Err(Unavailable::NotInCluster.into()),
        Standing::Member { .. } => Err(ApiError::new(StatusCode::CONFLICT, "swarm is not locked")),
    }
}
