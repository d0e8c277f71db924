//! What every engine must do, the pretended one and the real one: one suite for both.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use swarmr::agent::container::{ContainerNetwork, ContainerWant, Networking};
use swarmr::agent::runtime::{
    EngineNetworkWant, EventKind, LABEL_CLUSTER, LABEL_TASK, Phase, PullPolicy, Runtime,
    RuntimeError,
};
use swarmr::agent::{Docker, FakeRuntime, bridge_name, engine_name};
use swarmr::spec::network::Subnet;
use swarmr::spec::service::Resources;
use swarmr::spec::{ClusterId, ContainerSpec, NetworkId, TaskId};

use super::engine;
use super::fixture::eventually;

/// An engine to test and how to get containers of each kind from it.
struct Subject {
    runtime: Arc<dyn Runtime>,
    cluster: ClusterId,
    /// Image and arguments.
    serve: Kind,
    broken: Kind,
    stubborn: Kind,
    missing: Kind,
}

type Kind = (&'static str, &'static [&'static str]);

impl Subject {
    fn fake() -> Self {
        Self {
            runtime: Arc::new(FakeRuntime::default()),
            cluster: ClusterId::from_bits(rand::random()),
            serve: ("serve:1", &[]),
            broken: ("broken:1", &[]),
            stubborn: ("stubborn:1", &[]),
            missing: ("missing:1", &[]),
        }
    }

    async fn docker() -> Option<Self> {
        let engine = engine::engine().await?;
        Some(Self {
            runtime: Arc::new(Docker::new(&engine.socket())),
            cluster: ClusterId::from_bits(rand::random()),
            serve: (engine::SERVE, &[]),
            broken: (engine::TOOLS, &["/bin/false"]),
            // Without a handler the first process of a container ignores SIGTERM.
            stubborn: (engine::TOOLS, &["/bin/sleep", "1000"]),
            missing: ("localhost:1/nowhere/nothing:1", &[]),
        })
    }

    fn want(&self, kind: Kind) -> (TaskId, ContainerWant) {
        let task = TaskId::from_bits(rand::random());
        let (image, args) = kind;
        let want = ContainerWant {
            name: format!("s.1.{task}"),
            labels: [
                (LABEL_TASK.to_owned(), task.to_string()),
                (LABEL_CLUSTER.to_owned(), self.cluster.to_string()),
                ("mine".to_owned(), "yes".to_owned()),
            ]
            .into(),
            spec: ContainerSpec {
                image: image.to_owned(),
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                ..ContainerSpec::default()
            },
            limits: Resources::default(),
            reservations: Resources::default(),
            log_driver: None,
            networking: Networking::None,
            name_servers: Vec::new(),
            host_ports: Vec::new(),
            devices: Vec::new(),
            device_requests: Vec::new(),
        };
        (task, want)
    }

    /// A network with a subnet that no other test uses.
    fn network(&self) -> EngineNetworkWant {
        let id = NetworkId::from_bits(rand::random());
        let [second, third, ..] = id.bits().to_be_bytes();
        let base = Ipv4Addr::new(10, second, third, 0);
        EngineNetworkWant {
            name: engine_name("app", id, false),
            bridge: bridge_name(id),
            cluster: self.cluster,
            network: id,
            subnet: Subnet::new(base, 24).unwrap(),
            gateway: Ipv4Addr::new(10, second, third, 3),
            mtu: 1450,
            internal: false,
        }
    }

    async fn started(&self, kind: Kind) -> (TaskId, ContainerWant, String) {
        let (task, want) = self.want(kind);
        let id = self.runtime.create(&want).await.unwrap();
        self.runtime.start(&id).await.unwrap();
        (task, want, id)
    }

    async fn phase(&self, id: &str) -> Phase {
        self.runtime.inspect(id).await.unwrap().unwrap().phase
    }

    async fn remove(&self, id: &str) {
        self.runtime.stop(id, Duration::from_secs(1)).await.unwrap();
        self.runtime.remove(id).await.unwrap();
    }
}

/// One test of each case for each engine.
macro_rules! conformance {
    ($($case:ident),+ $(,)?) => {
        mod on_the_fake {
            use super::*;

            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(&Subject::fake()).await;
                }
            )+
        }

        mod on_docker {
            use super::*;

            $(
                #[tokio::test]
                async fn $case() {
                    if let Some(subject) = Subject::docker().await {
                        super::$case(&subject).await;
                    }
                }
            )+
        }
    };
}

conformance!(
    an_engine_describes_itself,
    a_container_is_created_started_stopped_and_removed,
    what_is_done_already_is_success,
    a_name_is_given_once,
    an_exit_code_is_seen,
    what_ignores_its_stop_signal_is_killed,
    what_is_not_there_is_said_to_be_absent,
    only_containers_of_the_cluster_are_listed,
    events_tell_of_starts_ends_and_removals,
    a_container_gets_the_addresses_that_it_asks_for,
    a_network_is_made_once_and_removed_when_nobody_uses_it,
    a_network_is_made_anew_for_other_settings,
    a_subnet_that_is_taken_is_a_conflict_with_its_name,
    a_container_cannot_be_created_on_a_network_that_is_not_there_and_started,
);

async fn an_engine_describes_itself(subject: &Subject) {
    let description = subject.runtime.describe().await.unwrap();
    assert_eq!(description.os, "linux");
    assert!(description.nano_cpus >= 1_000_000_000);
    assert!(description.memory_bytes > 1 << 20);
    assert!(!description.architecture.is_empty());
    assert!(!description.engine_version.is_empty());
    let bridge = ("Network".to_owned(), "bridge".to_owned());
    assert!(description.plugins.contains(&bridge));
}

async fn a_container_is_created_started_stopped_and_removed(subject: &Subject) {
    let (_, want) = subject.want(subject.serve);
    let id = subject.runtime.create(&want).await.unwrap();
    assert_eq!(subject.phase(&id).await, Phase::Created);
    subject.runtime.start(&id).await.unwrap();
    let running = subject.runtime.inspect(&want.name).await.unwrap().unwrap();
    assert!(matches!(running.phase, Phase::Running(_)), "{running:?}");
    assert_eq!((&running.id, &running.name), (&id, &want.name));
    assert!(running.pid > 0);
    for (name, value) in &want.labels {
        assert_eq!(running.labels.get(name), Some(value));
    }
    subject
        .runtime
        .stop(&id, Duration::from_secs(20))
        .await
        .unwrap();
    let stopped = subject.runtime.inspect(&id).await.unwrap().unwrap();
    assert!(matches!(stopped.phase, Phase::Exited { .. }), "{stopped:?}");
    assert_eq!(stopped.pid, 0);
    subject.runtime.remove(&id).await.unwrap();
    assert_eq!(subject.runtime.inspect(&id).await.unwrap(), None);
}

async fn what_is_done_already_is_success(subject: &Subject) {
    let (_, _, id) = subject.started(subject.serve).await;
    subject.runtime.start(&id).await.unwrap();
    subject.remove(&id).await;
    let (_, _, id) = subject.started(subject.broken).await;
    eventually("it ends", async || {
        matches!(subject.phase(&id).await, Phase::Exited { .. }).then_some(())
    })
    .await;
    subject.remove(&id).await;
}

async fn a_name_is_given_once(subject: &Subject) {
    let (_, want) = subject.want(subject.serve);
    let id = subject.runtime.create(&want).await.unwrap();
    let again = subject.runtime.create(&want).await.unwrap_err();
    assert!(matches!(again, RuntimeError::NameInUse(_)), "{again:?}");
    subject.runtime.remove(&id).await.unwrap();
}

async fn an_exit_code_is_seen(subject: &Subject) {
    let (_, _, id) = subject.started(subject.broken).await;
    let code = eventually("it ends", async || match subject.phase(&id).await {
        Phase::Exited { code, .. } => Some(code),
        _ => None,
    })
    .await;
    assert_eq!(code, 1);
    subject.runtime.remove(&id).await.unwrap();
}

async fn what_ignores_its_stop_signal_is_killed(subject: &Subject) {
    let (_, _, id) = subject.started(subject.stubborn).await;
    subject
        .runtime
        .stop(&id, Duration::from_millis(10))
        .await
        .unwrap();
    let phase = subject.phase(&id).await;
    assert!(
        matches!(phase, Phase::Exited { code: 137, .. }),
        "{phase:?}"
    );
    subject.runtime.remove(&id).await.unwrap();
}

async fn what_is_not_there_is_said_to_be_absent(subject: &Subject) {
    let runtime = &subject.runtime;
    assert_eq!(runtime.inspect("nobody").await.unwrap(), None);
    let absent = RuntimeError::NoSuchContainer(String::new());
    let kind = std::mem::discriminant(&absent);
    for result in [
        runtime.start("nobody").await,
        runtime.stop("nobody", Duration::ZERO).await,
        runtime.remove("nobody").await,
    ] {
        let error = result.unwrap_err();
        assert_eq!(std::mem::discriminant(&error), kind, "{error:?}");
    }
    let (_, want) = subject.want(subject.missing);
    let create = runtime.create(&want).await.unwrap_err();
    assert!(matches!(create, RuntimeError::NoSuchImage(_)), "{create:?}");
    let image = &want.spec.image;
    assert!(runtime.pull(image, PullPolicy::Missing).await.is_err());
    let present = subject.want(subject.serve).1.spec.image;
    runtime.pull(&present, PullPolicy::Missing).await.unwrap();
}

async fn only_containers_of_the_cluster_are_listed(subject: &Subject) {
    let (task, _, id) = subject.started(subject.serve).await;
    let (_, mut want) = subject.want(subject.serve);
    let other = ClusterId::from_bits(rand::random());
    want.labels
        .insert(LABEL_CLUSTER.to_owned(), other.to_string());
    let foreign = subject.runtime.create(&want).await.unwrap();
    let listed = subject.runtime.list(subject.cluster).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, listed[0].task), (&id, Some(task)));
    assert!(listed[0].running);
    let listed = subject.runtime.list(other).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(!listed[0].running);
    subject.remove(&id).await;
    subject.runtime.remove(&foreign).await.unwrap();
}

async fn events_tell_of_starts_ends_and_removals(subject: &Subject) {
    let mut events = subject.runtime.watch(subject.cluster).await.unwrap();
    let (task, _, id) = subject.started(subject.serve).await;
    subject.remove(&id).await;
    let mut kinds = Vec::new();
    while kinds.last() != Some(&EventKind::Removed) {
        let event = tokio::time::timeout(Duration::from_secs(60), events.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((event.task, &event.container), (Some(task), &id));
        kinds.push(event.kind);
    }
    assert_eq!(
        kinds,
        [EventKind::Started, EventKind::Exited, EventKind::Removed]
    );
}

async fn a_container_gets_the_addresses_that_it_asks_for(subject: &Subject) {
    let (first, second) = (subject.network(), subject.network());
    let (_, mut want) = subject.want(subject.serve);
    let mut expected = std::collections::BTreeMap::new();
    let mut networks = Vec::new();
    for network in [&first, &second] {
        subject.runtime.ensure_network(network).await.unwrap();
        let address = network.subnet.host(77).unwrap();
        expected.insert(network.name.clone(), address);
        networks.push(ContainerNetwork {
            engine_name: network.name.clone(),
            address,
            internal: false,
        });
    }
    want.networking = Networking::Overlays(networks);
    want.name_servers = vec![first.gateway.to_string()];
    let id = subject.runtime.create(&want).await.unwrap();
    subject.runtime.start(&id).await.unwrap();
    let view = subject.runtime.inspect(&id).await.unwrap().unwrap();
    assert_eq!(view.addresses, expected);
    subject.remove(&id).await;
    for network in [&first, &second] {
        subject.runtime.remove_network(&network.name).await.unwrap();
    }
}

async fn a_network_is_made_once_and_removed_when_nobody_uses_it(subject: &Subject) {
    let network = subject.network();
    subject.runtime.ensure_network(&network).await.unwrap();
    subject.runtime.ensure_network(&network).await.unwrap();
    let listed = subject
        .runtime
        .list_networks(subject.cluster)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0].name, listed[0].network),
        (&network.name, Some(network.network))
    );
    let (_, mut want) = subject.want(subject.serve);
    want.networking = Networking::Overlays(vec![ContainerNetwork {
        engine_name: network.name.clone(),
        address: network.subnet.host(9).unwrap(),
        internal: false,
    }]);
    let id = subject.runtime.create(&want).await.unwrap();
    subject.runtime.start(&id).await.unwrap();
    let used = subject
        .runtime
        .remove_network(&network.name)
        .await
        .unwrap_err();
    assert!(matches!(used, RuntimeError::NetworkInUse(_)), "{used:?}");
    subject.remove(&id).await;
    subject.runtime.remove_network(&network.name).await.unwrap();
    subject.runtime.remove_network(&network.name).await.unwrap();
    let listed = subject
        .runtime
        .list_networks(subject.cluster)
        .await
        .unwrap();
    assert!(listed.is_empty());
}

async fn a_network_is_made_anew_for_other_settings(subject: &Subject) {
    let network = subject.network();
    subject.runtime.ensure_network(&network).await.unwrap();
    let moved = EngineNetworkWant {
        gateway: network.subnet.host(4).unwrap(),
        ..network
    };
    subject.runtime.ensure_network(&moved).await.unwrap();
    let listed = subject
        .runtime
        .list_networks(subject.cluster)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    // The former gateway is a container's to have now.
    let (_, mut want) = subject.want(subject.serve);
    want.networking = Networking::Overlays(vec![ContainerNetwork {
        engine_name: moved.name.clone(),
        address: moved.subnet.host(3).unwrap(),
        internal: false,
    }]);
    let id = subject.runtime.create(&want).await.unwrap();
    subject.runtime.start(&id).await.unwrap();
    subject.remove(&id).await;
    subject.runtime.remove_network(&moved.name).await.unwrap();
}

async fn a_subnet_that_is_taken_is_a_conflict_with_its_name(subject: &Subject) {
    let network = subject.network();
    subject.runtime.ensure_network(&network).await.unwrap();
    let other = EngineNetworkWant {
        subnet: network.subnet,
        gateway: network.gateway,
        ..subject.network()
    };
    let conflict = subject.runtime.ensure_network(&other).await.unwrap_err();
    assert!(
        matches!(&conflict, RuntimeError::NetworkConflict(message)
            if message.contains(&network.subnet.to_string())),
        "{conflict:?}"
    );
    subject.runtime.remove_network(&network.name).await.unwrap();
}

async fn a_container_cannot_be_created_on_a_network_that_is_not_there_and_started(
    subject: &Subject,
) {
    let (_, mut want) = subject.want(subject.serve);
    want.networking = Networking::Overlays(vec![ContainerNetwork {
        engine_name: "swarmr-nowhere".to_owned(),
        address: Ipv4Addr::new(10, 0, 0, 9),
        internal: false,
    }]);
    // Engines differ in which of the two they refuse.
    let error = match subject.runtime.create(&want).await {
        Ok(id) => {
            let error = subject.runtime.start(&id).await.unwrap_err();
            subject.runtime.remove(&id).await.unwrap();
            error
        }
        Err(error) => error,
    };
    assert!(matches!(error, RuntimeError::NoSuchNetwork(_)), "{error:?}");
}

/// With a made-up device node, which has the numbers of /dev/null.
#[tokio::test]
async fn a_device_reaches_its_container_on_docker() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    use swarmr::spec::device::DeviceMapping;

    let Some(subject) = Subject::docker().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fake0");
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&path, SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
    let given = DeviceMapping {
        path_on_host: path.to_str().unwrap().to_owned(),
        path_in_container: "/dev/given".to_owned(),
        cgroup_permissions: "rwm".to_owned(),
    };
    let look = (
        engine::TOOLS,
        &["/bin/sh", "-c", "test -c /dev/given && echo x > /dev/given"][..],
    );
    for (devices, wanted) in [(vec![given], 0), (Vec::new(), 1)] {
        let (_, mut want) = subject.want(look);
        want.devices = devices;
        let id = subject.runtime.create(&want).await.unwrap();
        subject.runtime.start(&id).await.unwrap();
        let code = eventually("it ends", async || match subject.phase(&id).await {
            Phase::Exited { code, .. } => Some(code),
            _ => None,
        })
        .await;
        assert_eq!(code, wanted);
        subject.runtime.remove(&id).await.unwrap();
    }
}
