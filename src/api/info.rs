//! `/_ping`, `/version` and `/info`: the engine's own answers with the cluster's part put in, or,
//! when the engine is silent, as much as this machine can say of itself.

use std::time::Duration;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, PRAGMA};
use hyper::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::query::ApiVersion;
use super::server::Api;
use super::wire::version::{Component, Platform};
use super::wire::{self, EngineVersion};
use super::{Answer, reply};

/// `docker info` waits for this; an engine that is busy answers late.
const ENGINE_DEADLINE: Duration = Duration::from_secs(5);
const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn ping(method: &Method) -> Answer {
    let body = if method == Method::HEAD { "" } else { "OK" };
    let mut response = Response::new(reply::whole(body));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

pub(super) async fn version(api: &Api) -> Answer {
    let engine = ask_engine(api, "/version")
        .await
        .ok()
        .and_then(|value| serde_json::from_value::<EngineVersion>(value).ok());
    reply::ok(&merged_version(engine))
}

pub(super) async fn info(api: &Api) -> Answer {
    let engine = ask_engine(api, "/info").await;
    let swarm = wire::info::render(
        &api.control.standing(),
        &api.control.local_state(),
        &api.control.consensus(),
    );
    let mut info = match engine {
        Ok(Value::Object(info)) => info,
        Ok(_) => own_info("the engine's answer was no object"),
        Err(reason) => own_info(&reason),
    };
    let swarm = serde_json::to_value(&swarm).unwrap_or_default();
    info.insert("Swarm".to_owned(), swarm);
    reply::ok(&info)
}

async fn ask_engine(api: &Api, path: &str) -> Result<Value, String> {
    match api
        .engine
        .ask(Method::GET, path, HeaderMap::new(), ENGINE_DEADLINE)
        .await
    {
        Ok((StatusCode::OK, value)) => Ok(value),
        Ok((status, _)) => Err(format!("the Docker engine answered {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The engine's versions under ours. Without an engine, our own alone.
fn merged_version(engine: Option<EngineVersion>) -> EngineVersion {
    let mut version = engine.unwrap_or_else(|| EngineVersion {
        version: OUR_VERSION.to_owned(),
        os: "linux".to_owned(),
        arch: docker_arch().to_owned(),
        kernel_version: kernel_version(),
        ..EngineVersion::default()
    });
    version.api_version = ApiVersion::OURS.to_string();
    version.min_api_version = ApiVersion::OLDEST.to_string();
    version.platform = Platform {
        name: format!("swarmr {OUR_VERSION}"),
    };
    let details = [
        ("ApiVersion", ApiVersion::OURS.to_string()),
        ("MinAPIVersion", ApiVersion::OLDEST.to_string()),
        ("Os", "linux".to_owned()),
        ("Arch", docker_arch().to_owned()),
    ];
    version.components.insert(
        0,
        Component {
            name: "swarmr".to_owned(),
            version: OUR_VERSION.to_owned(),
            details: details
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        },
    );
    version
}

/// What `/info` says when no engine does.
fn own_info(reason: &str) -> Map<String, Value> {
    let hostname = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let machine = json!({
        "KernelVersion": kernel_version(),
        "OperatingSystem": "linux",
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "NCPU": cpus,
        "MemTotal": memory_bytes(),
        "Name": hostname,
        "ServerVersion": format!("swarmr {OUR_VERSION}"),
        "Warnings": [format!("WARNING: {reason}")]
    });
    let abilities = json!({
        "MemoryLimit": true,
        "SwapLimit": true,
        "CpuCfsPeriod": true,
        "CpuCfsQuota": true,
        "CPUShares": true,
        "CPUSet": true,
        "PidsLimit": true,
        "IPv4Forwarding": true,
        "Debug": false,
        "OomKillDisable": false,
        "ExperimentalBuild": false,
        "LiveRestoreEnabled": false
    });
    let engine = json!({
        "ID": "",
        "Containers": 0,
        "ContainersRunning": 0,
        "ContainersPaused": 0,
        "ContainersStopped": 0,
        "Images": 0,
        "Driver": "",
        "DriverStatus": [],
        "Plugins": {"Volume": [], "Network": ["overlay"], "Authorization": null, "Log": []},
        "LoggingDriver": "",
        "CgroupDriver": "",
        "IndexServerAddress": "",
        "RegistryConfig": null,
        "GenericResources": null,
        "DockerRootDir": "",
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Labels": [],
        "Runtimes": {},
        "DefaultRuntime": "",
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": []
    });
    [machine, abilities, engine]
        .into_iter()
        .filter_map(|part| match part {
            Value::Object(part) => Some(part),
            _ => None,
        })
        .flatten()
        .collect()
}

fn kernel_version() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn memory_bytes() -> u64 {
    std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?;
            line.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kib| kib * 1024)
}

/// As Docker's version output names machines.
const fn docker_arch() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}
