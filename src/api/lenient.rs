//! Reading bodies as Docker's own server does: keys in any case, `null` as absent, whatever the
//! content type says.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;

/// Every key of a body that is read, as it is spelled here. A key that stands in a body in another
/// case (`HealthCheck`, `healthcheck`) is taken for the one in this list.
const KEYS: &[&str] = &[
    "AdvertiseAddr",
    "Affinities",
    "Aliases",
    "AntiAffinities",
    "Architecture",
    "Args",
    "Attachable",
    "AutoLockManagers",
    "AuxiliaryAddresses",
    "Availability",
    "Backoff",
    "BindOptions",
    "CAConfig",
    "Capabilities",
    "CapabilityAdd",
    "CapabilityDrop",
    "CgroupPermissions",
    "CheckDuplicate",
    "Command",
    "Concurrency",
    "Condition",
    "Config",
    "ConfigFrom",
    "ConfigOnly",
    "Configs",
    "Connections",
    "Constraints",
    "ContainerSpec",
    "Count",
    "Cron",
    "DNSConfig",
    "Data",
    "DataPathAddr",
    "DataPathPort",
    "DefaultAddrPool",
    "Delay",
    "DependsOn",
    "DeviceIDs",
    "DeviceRequests",
    "Devices",
    "Dir",
    "DiscreteResourceSpec",
    "Dispatcher",
    "Driver",
    "DriverOpts",
    "EnableIPv4",
    "EnableIPv6",
    "EncryptionConfig",
    "EndpointSpec",
    "Env",
    "FailureAction",
    "ForceNewCluster",
    "ForceUpdate",
    "Gateway",
    "GenericResources",
    "Global",
    "GlobalJob",
    "Groups",
    "Hard",
    "Healthcheck",
    "HeartbeatPeriod",
    "HistoryRuns",
    "Hostname",
    "Hosts",
    "IPAM",
    "IPRange",
    "Image",
    "Ingress",
    "Init",
    "InitContainers",
    "Internal",
    "Interval",
    "Isolation",
    "JoinToken",
    "Kind",
    "Labels",
    "Limits",
    "ListenAddr",
    "LogDriver",
    "MaxAttempts",
    "MaxConcurrent",
    "MaxDelay",
    "MaxFailureRatio",
    "MaxReplicas",
    "MemoryBytes",
    "MissedWindow",
    "Mode",
    "Monitor",
    "Mounts",
    "Name",
    "NamedResourceSpec",
    "Nameservers",
    "NanoCPUs",
    "Network",
    "NetworkAttachmentSpec",
    "Networks",
    "NodeCertExpiry",
    "OS",
    "OnUpdate",
    "OomScoreAdj",
    "OpenStdin",
    "Options",
    "Orchestration",
    "Order",
    "Parallelism",
    "PathInContainer",
    "PathOnHost",
    "Pids",
    "Placement",
    "Platforms",
    "PluginSpec",
    "Ports",
    "PreferLocal",
    "Preferences",
    "Privileges",
    "ProgressDeadline",
    "Protocol",
    "PublishMode",
    "PublishedPort",
    "Raft",
    "ReadOnly",
    "Rebalance",
    "RemoteAddrs",
    "Replicas",
    "Replicated",
    "ReplicatedJob",
    "Reservations",
    "Reset",
    "Resources",
    "Restart",
    "RestartPolicy",
    "Retries",
    "RevisionsLimit",
    "Role",
    "Rollback",
    "RollbackConfig",
    "Runtime",
    "Schedule",
    "Scope",
    "Search",
    "Secrets",
    "Service",
    "Soft",
    "Source",
    "Spec",
    "Spread",
    "SpreadDescriptor",
    "StartInterval",
    "StartPeriod",
    "StepDelay",
    "Steps",
    "Sticky",
    "StopGracePeriod",
    "StopSignal",
    "Strategy",
    "Strength",
    "Subnet",
    "SubnetSize",
    "Suspended",
    "Swarmr",
    "Sysctls",
    "TTY",
    "Target",
    "TargetPort",
    "TaskDefaults",
    "TaskHistoryRetentionLimit",
    "TaskTemplate",
    "Templating",
    "Test",
    "TimeZone",
    "Timeout",
    "TmpfsOptions",
    "Topology",
    "TotalCompletions",
    "Type",
    "Ulimits",
    "UnlockKey",
    "Update",
    "UpdateConfig",
    "User",
    "Value",
    "VolumeOptions",
    "WeightLabel",
    "Window",
];

/// Objects whose keys are the user's own words.
const USERS_KEYS: &[&str] = &[
    "Labels",
    "Options",
    "DriverOpts",
    "Sysctls",
    "AuxiliaryAddresses",
];

/// A body as plain JSON: keys as this server spells them, no `null` in any object.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad_request(
            "invalid JSON: the request has no body",
        ));
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
    match value {
        Value::Object(map) => Ok(Value::Object(normalise(map))),
        other => Err(ApiError::bad_request(format!(
            "invalid JSON: got {}, want an object",
            kind_of(&other)
        ))),
    }
}

/// The type that a body stands for; an error says where in the body it is wrong.
pub(super) fn decode<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.into_inner();
        ApiError::bad_request(if path == "." {
            format!("invalid request: {problem}")
        } else {
            format!("invalid request: {path}: {problem}")
        })
    })
}

/// Both at once.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    decode(parse(bytes)?)
}

/// Whether a value says nothing: what clients send for settings that nobody set.
pub(super) fn is_trivial(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_trivial),
    }
}

fn normalise(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| {
            let key = canonical(key);
            let value = if USERS_KEYS.contains(&key.as_str()) && holds_texts(&value) {
                without_nulls(value)
            } else {
                normalise_value(value)
            };
            (key, value)
        })
        .collect()
}

fn normalise_value(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(normalise(map)),
        Value::Array(items) => Value::Array(items.into_iter().map(normalise_value).collect()),
        other => other,
    }
}

/// `Options` is the user's own map in a driver, but a list or an object of ours elsewhere.
fn holds_texts(value: &Value) -> bool {
    matches!(value, Value::Object(map) if map.values().all(|value| value.is_string() || value.is_null()))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
        ),
        other => other,
    }
}

fn canonical(key: String) -> String {
    if KEYS.binary_search(&key.as_str()).is_ok() {
        return key;
    }
    KEYS.iter()
        .find(|known| known.eq_ignore_ascii_case(&key))
        .map_or(key, |known| (*known).to_owned())
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ServiceSpec;

    #[test]
    fn the_list_of_keys_is_in_order() {
        assert!(KEYS.is_sorted());
    }

    #[test]
    fn keys_are_read_in_any_case_but_users_own_keys_stay() {
        let body = br#"{"name":"web","LABELS":{"Name":"x","image":"y"},
            "tasktemplate":{"ContainerSpec":{"image":"nginx","healthcheck":{"test":["NONE"]}}}}"#;
        let spec: ServiceSpec = read(body).unwrap();
        assert_eq!(spec.name, "web");
        assert_eq!(spec.labels.get("image").map(String::as_str), Some("y"));
        assert!(spec.labels.contains_key("Name"));
        let container = &spec.task_template.container_spec;
        assert_eq!(container.image, "nginx");
        assert_eq!(container.healthcheck.as_ref().unwrap().test, ["NONE"]);
    }

    #[test]
    fn null_is_absent_everywhere() {
        let body = br#"{"Name":"web","Labels":null,"Mode":{"Replicated":{"Replicas":null}},
            "TaskTemplate":{"ContainerSpec":{"Image":"a","Mounts":null,"Privileges":{"CredentialSpec":null}},
            "Resources":null,"Networks":null},"EndpointSpec":null}"#;
        let spec: ServiceSpec = read(body).unwrap();
        assert_eq!(spec.replicas(), Some(1));
        assert_eq!(spec.endpoint_spec, None);
        let other = &spec.task_template.container_spec.other;
        assert!(other.values().all(is_trivial));
    }

    #[test]
    fn errors_say_where() {
        let error = read::<ServiceSpec>(br#"{"EndpointSpec":{"Ports":[{"TargetPort":70000}]}}"#);
        let message = error.unwrap_err().body.message;
        assert!(
            message.contains("EndpointSpec.Ports[0].TargetPort"),
            "{message}"
        );
        assert!(read::<ServiceSpec>(b"").is_err());
        assert!(read::<ServiceSpec>(b"[]").is_err());
        assert!(read::<ServiceSpec>(b"{").is_err());
    }
}
