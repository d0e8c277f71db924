//! What the engine's refusals mean. Pure.

use bollard::errors::Error;
use swarmr_net::in_words;

use crate::agent::runtime::RuntimeError;

/// Which call failed: the same status means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    CreateContainer,
    Container,
    Pull,
    CreateNetwork,
    Network,
    Other,
}

pub(super) fn runtime_error(call: Call, error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => refusal(call, status_code, message),
        Error::DockerStreamError { error } if call == Call::Pull => pull_failure(error),
        Error::HyperLegacyError { .. }
        | Error::HyperResponseError { .. }
        | Error::IOError { .. }
        | Error::SocketNotFoundError(_) => RuntimeError::Unavailable(in_words(&error)),
        error => RuntimeError::Refused(in_words(&error)),
    }
}

fn refusal(call: Call, status: u16, message: String) -> RuntimeError {
    let lower = message.to_lowercase();
    let about_network = lower.contains("network");
    match (call, status) {
        // An engine that is shutting down.
        (_, 503) => RuntimeError::Unavailable(message),
        (Call::CreateContainer, 404) if lower.contains("no such image") => {
            RuntimeError::NoSuchImage(message)
        }
        (Call::CreateContainer | Call::Container, 404) if about_network => {
            RuntimeError::NoSuchNetwork(message)
        }
        (Call::Container, 404) => RuntimeError::NoSuchContainer(message),
        (Call::CreateContainer, 409) => RuntimeError::NameInUse(message),
        (Call::Pull, _) => pull_failure(message),
        (Call::Network, 404) => RuntimeError::NoSuchNetwork(message),
        (Call::Network, _) if lower.contains("active endpoints") => {
            RuntimeError::NetworkInUse(message)
        }
        (Call::CreateNetwork, _) => RuntimeError::NetworkConflict(message),
        _ => RuntimeError::Refused(message),
    }
}

fn pull_failure(message: String) -> RuntimeError {
    let lower = message.to_lowercase();
    let absent = ["not found", "manifest unknown", "access denied"];
    if absent.iter().any(|words| lower.contains(words)) {
        RuntimeError::NoSuchImage(message)
    } else {
        RuntimeError::Refused(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_mean_what_their_call_makes_of_them() {
        use Call::*;
        let rows = [
            (
                CreateContainer,
                404,
                "No such image: nope:latest",
                RuntimeError::NoSuchImage as fn(String) -> RuntimeError,
            ),
            (
                CreateContainer,
                404,
                "network swarmr-app not found",
                RuntimeError::NoSuchNetwork,
            ),
            (
                CreateContainer,
                409,
                "Conflict. The container name \"/a\" is already in use",
                RuntimeError::NameInUse,
            ),
            (
                Container,
                404,
                "No such container: a",
                RuntimeError::NoSuchContainer,
            ),
            (
                Container,
                404,
                "network abc not found",
                RuntimeError::NoSuchNetwork,
            ),
            (
                Network,
                403,
                "error while removing network: network a has active endpoints",
                RuntimeError::NetworkInUse,
            ),
            (
                CreateNetwork,
                403,
                "Pool overlaps with other one on this address space",
                RuntimeError::NetworkConflict,
            ),
            (
                CreateContainer,
                400,
                "invalid mount config",
                RuntimeError::Refused,
            ),
            (Container, 503, "shutting down", RuntimeError::Unavailable),
        ];
        for (call, status_code, message, want) in rows {
            let error = Error::DockerResponseServerError {
                status_code,
                message: message.to_owned(),
            };
            assert_eq!(
                runtime_error(call, error),
                want(message.to_owned()),
                "{call:?} {status_code}"
            );
        }
    }
}
