//! The cluster: `GET /swarm`, and the bodies of `init`, `join` and `unlock`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Meta;
use super::certificate::issuer_and_key;
use crate::spec::network::Subnet;
use crate::spec::nullable::nullable;
use crate::spec::{Availability, ClusterId, ClusterSpec, Nanos};
use crate::state;

/// What `GET /swarm` answers; `/info` shows the same without the tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Swarm {
    #[serde(rename = "ID")]
    pub id: ClusterId,
    #[serde(flatten)]
    pub meta: Meta,
    pub spec: ClusterSpec,
    #[serde(rename = "TLSInfo")]
    pub tls_info: TlsInfo,
    pub root_rotation_in_progress: bool,
    #[serde(deserialize_with = "nullable")]
    pub default_addr_pool: Vec<Subnet>,
    pub subnet_size: u8,
    pub data_path_port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_tokens: Option<JoinTokens>,
}

/// The root that certificates are signed by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TlsInfo {
    /// PEM.
    pub trust_root: String,
    /// DER in base 64.
    pub cert_issuer_subject: String,
    /// DER in base 64.
    pub cert_issuer_public_key: String,
}

impl TlsInfo {
    /// What there is to show of a root certificate.
    pub fn of(root_pem: &str) -> Self {
        let (issuer, key) = issuer_and_key(root_pem).unwrap_or_default();
        Self {
            trust_root: root_pem.to_owned(),
            cert_issuer_subject: STANDARD.encode(issuer),
            cert_issuer_public_key: STANDARD.encode(key),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JoinTokens {
    pub worker: String,
    pub manager: String,
}

impl std::fmt::Debug for JoinTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinTokens").finish_non_exhaustive()
    }
}

/// The body of `POST /swarm/init`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SwarmInit {
    #[serde(deserialize_with = "nullable")]
    pub listen_addr: String,
    #[serde(deserialize_with = "nullable")]
    pub advertise_addr: String,
    #[serde(deserialize_with = "nullable")]
    pub data_path_addr: String,
    #[serde(deserialize_with = "nullable")]
    pub data_path_port: u16,
    #[serde(deserialize_with = "nullable")]
    pub default_addr_pool: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub subnet_size: u8,
    #[serde(deserialize_with = "nullable")]
    pub force_new_cluster: bool,
    #[serde(deserialize_with = "nullable")]
    pub auto_lock_managers: bool,
    /// Empty for `active`.
    #[serde(deserialize_with = "empty_is_active")]
    pub availability: Availability,
    #[serde(deserialize_with = "nullable")]
    pub spec: ClusterSpec,
}

/// The body of `POST /swarm/join`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SwarmJoin {
    #[serde(deserialize_with = "nullable")]
    pub listen_addr: String,
    #[serde(deserialize_with = "nullable")]
    pub advertise_addr: String,
    #[serde(deserialize_with = "nullable")]
    pub data_path_addr: String,
    #[serde(deserialize_with = "nullable")]
    pub remote_addrs: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub join_token: String,
    #[serde(deserialize_with = "empty_is_active")]
    pub availability: Availability,
}

impl std::fmt::Debug for SwarmJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwarmJoin")
            .field("remote_addrs", &self.remote_addrs)
            .field("advertise_addr", &self.advertise_addr)
            .finish_non_exhaustive()
    }
}

/// What `GET /swarm/unlockkey` answers and `POST /swarm/unlock` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UnlockKey {
    /// Empty: managers are not locked.
    #[serde(deserialize_with = "nullable")]
    pub unlock_key: String,
}

/// Docker's clients send `""` where they mean the default.
fn empty_is_active<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Availability, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    match text.as_deref() {
        None | Some("" | "active") => Ok(Availability::Active),
        Some("pause") => Ok(Availability::Pause),
        Some("drain") => Ok(Availability::Drain),
        Some(other) => Err(serde::de::Error::custom(format_args!(
            "invalid availability {other:?}: want active, pause or drain"
        ))),
    }
}

/// The cluster without its tokens.
pub fn render(cluster: &state::Cluster) -> Swarm {
    Swarm {
        id: cluster.id,
        meta: cluster.meta.into(),
        spec: with_defaults(cluster.spec.clone()),
        tls_info: TlsInfo::of(&cluster.authority.root_pem),
        root_rotation_in_progress: false,
        default_addr_pool: cluster.address_pools.clone(),
        subnet_size: cluster.subnet_prefix,
        data_path_port: cluster.data_path_port,
        join_tokens: None,
    }
}

/// The cluster with its tokens: for managers' own clients only.
pub fn render_with_tokens(cluster: &state::Cluster) -> Swarm {
    Swarm {
        join_tokens: Some(JoinTokens {
            worker: cluster.join_tokens.worker.clone(),
            manager: cluster.join_tokens.manager.clone(),
        }),
        ..render(cluster)
    }
}

/// Docker shows every setting, set or not. The Raft settings are Docker's own numbers: clients
/// print them, nothing here follows them.
fn with_defaults(mut spec: ClusterSpec) -> ClusterSpec {
    spec.orchestration
        .task_history_retention_limit
        .get_or_insert(5);
    spec.dispatcher
        .heartbeat_period
        .get_or_insert(Nanos::from_secs(5));
    spec.ca_config
        .node_cert_expiry
        .get_or_insert(Nanos::from_secs(90 * 24 * 3600));
    let defaults = [
        (
            "Raft",
            json!({
                "SnapshotInterval": 10000,
                "KeepOldSnapshots": 0,
                "LogEntriesForSlowFollowers": 500,
                "ElectionTick": 10,
                "HeartbeatTick": 1
            }),
        ),
        ("TaskDefaults", json!({})),
        ("EncryptionConfig", json!({"AutoLockManagers": false})),
    ];
    for (name, value) in defaults {
        spec.other.entry(name.to_owned()).or_insert(value);
    }
    spec
}
