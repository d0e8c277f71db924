//! Which request is whose: a pure function from method and path to a route.

use hyper::Method;

use super::query::segments;
use super::steer::Verb;

/// What a request asks for. Names and ids are as the client wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Version,
    Info,
    Events,
    Distribution,

    SwarmInspect,
    SwarmInit,
    SwarmJoin,
    SwarmLeave,
    SwarmUpdate,
    SwarmUnlockKey,
    SwarmUnlock,

    NodeList,
    NodeInspect(String),
    NodeUpdate(String),
    NodeRemove(String),

    ServiceList,
    ServiceCreate,
    ServiceInspect(String),
    ServiceUpdate(String),
    ServiceRemove(String),
    ServiceRebalance(String),
    ServiceLogs(String),
    ServiceSteer(String, Verb),
    ServiceRevisions(String),
    ServiceRevision(String, String),
    ServiceRun(String),

    TaskList,
    TaskInspect(String),
    TaskLogs(String),

    NetworkList,
    NetworkCreate,
    NetworkPrune,
    NetworkInspect(String),
    NetworkRemove(String),
    NetworkConnect(String),

    ConfigList,
    ConfigCreate,
    ConfigInspect(String),
    ConfigUpdate(String),
    ConfigRemove(String),

    SecretList,
    SecretCreate,
    /// Any request for one secret: there are none.
    SecretOne(String),

    Status,
    NetworkDoctor,
    ServiceExplain(String),
    /// `None` for a service that there is not yet.
    ServicePlan(Option<String>),

    /// The local engine's.
    Engine,
    /// Nobody's.
    Unknown,
}

/// The route of `path`, which has lost its version already.
pub(super) fn route(method: &Method, path: &str) -> Route {
    let segments = segments(path);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET" | "HEAD", ["_ping"]) => Route::Ping,
        ("GET", ["version"]) => Route::Version,
        ("GET", ["info"]) => Route::Info,
        ("GET", ["events"]) => Route::Events,
        ("GET", ["distribution", _, .., "json"]) => Route::Distribution,
        (method, ["swarm", rest @ ..]) => swarm(method, rest),
        (method, ["nodes", rest @ ..]) => nodes(method, rest),
        (method, ["services", rest @ ..]) => services(method, rest),
        (method, ["tasks", rest @ ..]) => tasks(method, rest),
        (method, ["networks", rest @ ..]) => networks(method, rest),
        (method, ["configs", rest @ ..]) => configs(method, rest),
        (method, ["secrets", rest @ ..]) => secrets(method, rest),
        ("GET", ["swarmr", "v1", "status"]) => Route::Status,
        ("POST", ["swarmr", "v1", "network", "doctor"]) => Route::NetworkDoctor,
        ("GET", ["swarmr", "v1", "services", name, "explain"]) => {
            Route::ServiceExplain((*name).to_owned())
        }
        ("POST", ["swarmr", "v1", "services", "plan"]) => Route::ServicePlan(None),
        ("POST", ["swarmr", "v1", "services", name, "plan"]) => {
            Route::ServicePlan(Some((*name).to_owned()))
        }
        (method, ["swarmr", "v1", "services", rest @ ..]) => own_services(method, rest),
        (_, [] | ["swarmr", ..]) => Route::Unknown,
        _ => Route::Engine,
    }
}

fn swarm(method: &str, rest: &[&str]) -> Route {
    match (method, rest) {
        ("GET", []) => Route::SwarmInspect,
        ("POST", ["init"]) => Route::SwarmInit,
        ("POST", ["join"]) => Route::SwarmJoin,
        ("POST", ["leave"]) => Route::SwarmLeave,
        ("POST", ["update"]) => Route::SwarmUpdate,
        ("GET", ["unlockkey"]) => Route::SwarmUnlockKey,
        ("POST", ["unlock"]) => Route::SwarmUnlock,
        _ => Route::Unknown,
    }
}

fn nodes(method: &str, rest: &[&str]) -> Route {
    match (method, rest) {
        ("GET", []) => Route::NodeList,
        ("GET", [node]) => Route::NodeInspect((*node).to_owned()),
        ("DELETE", [node]) => Route::NodeRemove((*node).to_owned()),
        ("POST", [node, "update"]) => Route::NodeUpdate((*node).to_owned()),
        _ => Route::Unknown,
    }
}

fn services(method: &str, rest: &[&str]) -> Route {
    match (method, rest) {
        ("GET", []) => Route::ServiceList,
        ("POST", ["create"]) => Route::ServiceCreate,
        ("GET", [service]) => Route::ServiceInspect((*service).to_owned()),
        ("DELETE", [service]) => Route::ServiceRemove((*service).to_owned()),
        ("POST", [service, "update"]) => Route::ServiceUpdate((*service).to_owned()),
        ("POST", [service, "rebalance"]) => Route::ServiceRebalance((*service).to_owned()),
        ("GET", [service, "logs"]) => Route::ServiceLogs((*service).to_owned()),
        ("POST", [service, "run"]) => Route::ServiceRun((*service).to_owned()),
        _ => Route::Unknown,
    }
}

/// What services can do beside Docker's verbs.
fn own_services(method: &str, rest: &[&str]) -> Route {
    match (method, rest) {
        ("GET", [service, "revisions"]) => Route::ServiceRevisions((*service).to_owned()),
        ("GET", [service, "revisions", revision]) => {
            Route::ServiceRevision((*service).to_owned(), (*revision).to_owned())
        }
        ("POST", [service, verb]) => Verb::parse(verb).map_or(Route::Unknown, |verb| {
            Route::ServiceSteer((*service).to_owned(), verb)
        }),
        _ => Route::Unknown,
    }
}

fn tasks(method: &str, rest: &[&str]) -> Route {
    match (method, rest) {
        ("GET", []) => Route::TaskList,
        ("GET", [task]) => Route::TaskInspect((*task).to_owned()),
        ("GET", [task, "logs"]) => Route::TaskLogs((*task).to_owned()),
        _ => Route::Unknown,
    }
}

fn networks(method: &str, rest: &[&str]) -> Route {
    match (method, rest) {
        ("GET", []) => Route::NetworkList,
        ("POST", ["create"]) => Route::NetworkCreate,
        ("POST", ["prune"]) => Route::NetworkPrune,
        ("GET", [network]) => Route::NetworkInspect((*network).to_owned()),
        ("DELETE", [network]) => Route::NetworkRemove((*network).to_owned()),
        ("POST", [network, "connect" | "disconnect"]) => {
            Route::NetworkConnect((*network).to_owned())
        }
        _ => Route::Unknown,
    }
}

fn configs(method: &str, rest: &[&str]) -> Route {
    match (method, rest) {
        ("GET", []) => Route::ConfigList,
        ("POST", ["create"]) => Route::ConfigCreate,
        ("GET", [config]) => Route::ConfigInspect((*config).to_owned()),
        ("DELETE", [config]) => Route::ConfigRemove((*config).to_owned()),
        ("POST", [config, "update"]) => Route::ConfigUpdate((*config).to_owned()),
        _ => Route::Unknown,
    }
}

fn secrets(method: &str, rest: &[&str]) -> Route {
    match (method, rest) {
        ("GET", []) => Route::SecretList,
        ("POST", ["create"]) => Route::SecretCreate,
        ("GET" | "DELETE", [secret]) | ("POST", [secret, "update"]) => {
            Route::SecretOne((*secret).to_owned())
        }
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_ours_the_engines_or_nobodys() {
        for (method, path, wanted) in [
            (Method::HEAD, "/_ping", Route::Ping),
            (Method::GET, "/services", Route::ServiceList),
            (
                Method::GET,
                "/services/web",
                Route::ServiceInspect("web".to_owned()),
            ),
            (Method::PUT, "/services/web", Route::Unknown),
            (Method::GET, "/services/web/foo", Route::Unknown),
            (
                Method::GET,
                "/distribution/host:1/a/b:c/json",
                Route::Distribution,
            ),
            (Method::GET, "/containers/json", Route::Engine),
            (Method::POST, "/networks/prune", Route::NetworkPrune),
            (
                Method::POST,
                "/networks/a/disconnect",
                Route::NetworkConnect("a".to_owned()),
            ),
            (Method::GET, "/swarmr/v1/nothing", Route::Unknown),
            (Method::GET, "/swarmr/v1/status", Route::Status),
            (
                Method::GET,
                "/swarmr/v1/services/web/explain",
                Route::ServiceExplain("web".to_owned()),
            ),
            (
                Method::POST,
                "/swarmr/v1/services/web/plan",
                Route::ServicePlan(Some("web".to_owned())),
            ),
            (
                Method::POST,
                "/swarmr/v1/services/plan",
                Route::ServicePlan(None),
            ),
            (
                Method::POST,
                "/swarmr/v1/services/web/promote",
                Route::ServiceSteer("web".to_owned(), Verb::Promote),
            ),
            (
                Method::GET,
                "/swarmr/v1/services/web/revisions/3",
                Route::ServiceRevision("web".to_owned(), "3".to_owned()),
            ),
            (
                Method::POST,
                "/swarmr/v1/services/web/explode",
                Route::Unknown,
            ),
            (Method::GET, "/", Route::Unknown),
            (Method::GET, "/no/such/page", Route::Engine),
        ] {
            assert_eq!(route(&method, path), wanted, "{method} {path}");
        }
    }
}
