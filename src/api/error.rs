//! The one place where a refusal becomes a status and a body.

use http_body_util::{BodyExt, Full};
use hyper::{Response, StatusCode};

use super::Body;
use super::control::{LifecycleError, ProposeError, Unavailable};
use super::wire::{ErrorBody, ErrorCode};
use crate::spec::validate::Problem;
use crate::state::rejected::Kind;
use crate::state::{FindError, Rejected};

/// An answer with a status of 400 and up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) body: ErrorBody,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody {
                message: message.into(),
                ..ErrorBody::default()
            },
        }
    }

    fn coded(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        let mut error = Self::new(status, message);
        error.body.code = Some(code);
        error
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Docker's answer to a path it does not know.
    pub(super) fn page_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found")
    }

    /// Docker knows it, swarmr does not do it yet.
    pub(super) fn not_built(what: &str) -> Self {
        Self::coded(
            StatusCode::NOT_IMPLEMENTED,
            ErrorCode::NotBuilt,
            format!("swarmr does not do this yet: {what}"),
        )
    }

    pub(super) fn engine_unreachable(message: impl Into<String>) -> Self {
        Self::coded(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::EngineUnreachable,
            message,
        )
    }

    /// Every problem of a spec at once.
    pub(super) fn invalid(what: &str, problems: Vec<Problem>) -> Self {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let mut error = Self::bad_request(match lines.as_slice() {
            [line] => format!("invalid {what}: {line}"),
            _ => format!("invalid {what}:\n  {}", lines.join("\n  ")),
        });
        error.body.problems = problems;
        error
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let json = serde_json::to_vec(&self.body).unwrap_or_default();
        let mut response = Response::new(
            Full::from(json)
                .map_err(|never| match never {})
                .boxed_unsync(),
        );
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            hyper::header::CONTENT_TYPE,
            hyper::header::HeaderValue::from_static("application/json"),
        );
        response
    }
}

impl From<FindError> for ApiError {
    fn from(error: FindError) -> Self {
        let status = match error {
            FindError::NotFound { .. } => StatusCode::NOT_FOUND,
            FindError::Ambiguous { .. } => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        let code = match error {
            Unavailable::NotInCluster => ErrorCode::NotInCluster,
            Unavailable::NotManager => ErrorCode::NotManager,
            Unavailable::NoQuorum(_) => ErrorCode::NoQuorum,
        };
        Self::coded(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string())
    }
}

impl From<ProposeError> for ApiError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Unavailable(unavailable) => unavailable.into(),
            ProposeError::Unknown(_) => Self::coded(
                StatusCode::INTERNAL_SERVER_ERROR,
                ErrorCode::OutcomeUnknown,
                error.to_string(),
            ),
            ProposeError::TooLarge(message) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, message),
        }
    }
}

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        let status = match &rejected {
            Rejected::NoCluster | Rejected::ClusterExists | Rejected::OldTerm { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Rejected::NotFound { .. } | Rejected::NoSuchRevision { .. } => StatusCode::NOT_FOUND,
            Rejected::NameTaken { .. }
            | Rejected::Stale { .. }
            | Rejected::NotNow { .. }
            | Rejected::RunGoesOn { .. } => StatusCode::CONFLICT,
            Rejected::InUse {
                kind: Kind::Network,
                ..
            } => StatusCode::FORBIDDEN,
            Rejected::Unchangeable { .. } => StatusCode::NOT_IMPLEMENTED,
            Rejected::InUse { .. }
            | Rejected::PortTaken { .. }
            | Rejected::PortsExhausted { .. }
            | Rejected::SubnetOverlaps { .. }
            | Rejected::PoolExhausted { .. }
            | Rejected::AddressesExhausted { .. }
            | Rejected::LastManager { .. }
            | Rejected::StillManager { .. }
            | Rejected::NodeNotDown { .. }
            | Rejected::DependencyCircle { .. }
            | Rejected::NoPreviousSpec { .. }
            | Rejected::NotAJob { .. }
            | Rejected::Immutable { .. }
            | Rejected::Invalid { .. } => StatusCode::BAD_REQUEST,
        };
        let mut error = Self::new(status, rejected.to_string());
        error.body.code = match rejected {
            Rejected::Stale { .. } => Some(ErrorCode::Stale),
            Rejected::NoCluster => Some(ErrorCode::NotInCluster),
            Rejected::ClusterExists => Some(ErrorCode::AlreadyInCluster),
            Rejected::InUse { .. }
            | Rejected::NotNow { .. }
            | Rejected::RunGoesOn { .. }
            | Rejected::PortTaken { .. }
            | Rejected::SubnetOverlaps { .. }
            | Rejected::LastManager { .. }
            | Rejected::StillManager { .. }
            | Rejected::NodeNotDown { .. } => Some(ErrorCode::Conflict),
            _ => None,
        };
        error
    }
}

impl From<LifecycleError> for ApiError {
    fn from(error: LifecycleError) -> Self {
        let (status, code) = match error {
            LifecycleError::AlreadyMember => (
                StatusCode::SERVICE_UNAVAILABLE,
                Some(ErrorCode::AlreadyInCluster),
            ),
            LifecycleError::NotMember => (
                StatusCode::SERVICE_UNAVAILABLE,
                Some(ErrorCode::NotInCluster),
            ),
            LifecycleError::Invalid(_) => (StatusCode::BAD_REQUEST, None),
            LifecycleError::Denied(_) => (StatusCode::FORBIDDEN, Some(ErrorCode::Denied)),
            LifecycleError::Unreachable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                Some(ErrorCode::Unreachable),
            ),
            LifecycleError::Unsafe(_) => (StatusCode::SERVICE_UNAVAILABLE, Some(ErrorCode::Unsafe)),
            LifecycleError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        let mut answer = Self::new(status, error.to_string());
        answer.body.code = code;
        answer
    }
}
