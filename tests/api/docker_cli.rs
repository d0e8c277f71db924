//! The docker CLI, as it is, against our socket: an old one and a new one where both are there.

use std::path::{Path, PathBuf};

use swarmr::state::task::{Slot, TaskState};
use tokio::process::Command;
use tokio::time::timeout;

use super::fake_control::FakeControl;
use super::harness::{PATIENCE, Recorded, Server, eventually};

/// The CLIs of this machine. None of them is a reason to fail only where no engine is required.
fn clients() -> Vec<PathBuf> {
    let found: Vec<PathBuf> = ["/usr/local/bin/docker", "/usr/bin/docker"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|path| path.is_file())
        .collect();
    assert!(
        !found.is_empty() || std::env::var_os("SWARMR_REQUIRE_ENGINE").is_none(),
        "SWARMR_REQUIRE_ENGINE is set and there is no docker CLI in /usr/bin or /usr/local/bin"
    );
    if found.is_empty() {
        println!("nothing tried: there is no docker CLI in /usr/bin or /usr/local/bin");
    }
    found
}

struct Docker<'a> {
    client: &'a Path,
    server: &'a Server,
    home: tempfile::TempDir,
}

impl<'a> Docker<'a> {
    fn new(client: &'a Path, server: &'a Server) -> Self {
        Self {
            client,
            server,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs one command: whether it succeeded, and what it said on both outputs.
    async fn try_run(&self, arguments: &[&str]) -> (bool, String, String) {
        let running = Command::new(self.client)
            .arg("-H")
            .arg(format!("unix://{}", self.server.socket.display()))
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .kill_on_drop(true)
            .output();
        let output = timeout(PATIENCE, running).await.unwrap().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// Runs one command that must succeed, and gives what it said.
    async fn run(&self, arguments: &[&str]) -> String {
        let (success, stdout, stderr) = self.try_run(arguments).await;
        assert!(
            success,
            "{} {arguments:?}\n{stdout}{stderr}",
            self.client.display()
        );
        stdout.trim().to_owned()
    }
}

#[tokio::test]
async fn services_are_made_shown_scaled_and_removed() {
    for client in clients() {
        let server = Server::manager();
        let docker = Docker::new(&client, &server);
        let node = Recorded::load("api-1.41").node;
        docker
            .run(&["network", "create", "-d", "overlay", "app"])
            .await;
        let id = docker
            .run(&[
                "service",
                "create",
                "--detach",
                "--no-resolve-image",
                "--name",
                "web",
                "--replicas",
                "2",
                "--network",
                "app",
                "-p",
                "8080:80",
                "--label",
                "tier=front",
                "nginx:1",
            ])
            .await;
        assert_eq!(id.len(), 25);
        let web = server.control.state().find_service("web").unwrap().id;
        assert_eq!(web.to_string(), id);
        for number in 1..=2 {
            server
                .control
                .run_task(web, Slot::Replica(number), node, TaskState::Running);
        }

        let list = docker.run(&["service", "ls"]).await;
        let row = list.lines().nth(1).unwrap();
        for word in ["web", "replicated", "2/2", "nginx:1", "*:8080->80/tcp"] {
            assert!(row.contains(word), "{list}");
        }
        let format = "{{.Spec.Name}} {{.Spec.Mode.Replicated.Replicas}} {{(index .Endpoint.Ports 0).PublishedPort}}";
        assert_eq!(
            docker
                .run(&["service", "inspect", "web", "--format", format])
                .await,
            "web 2 8080"
        );
        let pretty = docker.run(&["service", "inspect", "--pretty", "web"]).await;
        for line in [
            "Name:\t\tweb",
            "Replicas:\t2",
            "Parallelism:\t1",
            "Networks: app",
            "PublishedPort = 8080",
        ] {
            assert!(pretty.contains(line), "{line}\n{pretty}");
        }
        let tasks = docker
            .run(&[
                "service",
                "ps",
                "web",
                "--format",
                "{{.Name}} {{.Node}} {{.CurrentState}}",
            ])
            .await;
        assert!(tasks.contains("web.1 eco1 Running"), "{tasks}");
        let tasks = docker
            .run(&["node", "ps", "self", "--format", "{{.Name}}"])
            .await;
        assert_eq!(tasks.lines().count(), 2);

        docker.run(&["service", "scale", "--detach", "web=5"]).await;
        assert_eq!(
            server.control.state().service(web).unwrap().spec.replicas(),
            Some(5)
        );
        docker
            .run(&[
                "service",
                "update",
                "--detach",
                "--no-resolve-image",
                "--image",
                "nginx:2",
                "web",
            ])
            .await;
        let inspected = docker
            .run(&[
                "service",
                "inspect",
                "web",
                "--format",
                "{{.UpdateStatus.State}} {{.Spec.TaskTemplate.ContainerSpec.Image}}",
            ])
            .await;
        assert_eq!(inspected, "updating nginx:2");
        docker
            .run(&["service", "rollback", "--detach", "web"])
            .await;
        let image = docker
            .run(&[
                "service",
                "inspect",
                "web",
                "--format",
                "{{.Spec.TaskTemplate.ContainerSpec.Image}}",
            ])
            .await;
        assert_eq!(image, "nginx:1");

        assert_eq!(docker.run(&["service", "rm", "web"]).await, "web");
        let (success, _, stderr) = docker.try_run(&["service", "inspect", "web"]).await;
        assert!(
            !success && stderr.contains("no such service: web"),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn a_client_that_waits_sees_its_service_converge() {
    for client in clients() {
        let server = Server::manager();
        let docker = Docker::new(&client, &server);
        let node = Recorded::load("api-1.41").node;
        let control = server.control.clone();
        // What a planner and two agents would do.
        let planning = tokio::spawn(async move {
            let web = eventually(|| Some(control.state().find_service("web").ok()?.id)).await;
            for number in 1..=2 {
                control.run_task(web, Slot::Replica(number), node, TaskState::Running);
            }
        });
        let arguments = [
            "service",
            "create",
            "--no-resolve-image",
            "--name",
            "web",
            "--replicas",
            "2",
            "--update-monitor",
            "1s",
            "nginx",
        ];
        let said = docker.run(&arguments).await;
        assert!(said.contains("onverged"), "{said}");
        timeout(PATIENCE, planning).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn nodes_networks_configs_and_the_cluster_are_shown() {
    for client in clients() {
        let server = Server::manager();
        let docker = Docker::new(&client, &server);
        let node = Recorded::load("api-1.41").node.to_string();
        let nodes = docker.run(&["node", "ls"]).await;
        for word in [
            format!("{node} *").as_str(),
            "eco1",
            "Ready",
            "Active",
            "Leader",
        ] {
            assert!(nodes.contains(word), "{nodes}");
        }
        assert_eq!(
            docker
                .run(&[
                    "node",
                    "inspect",
                    "self",
                    "--format",
                    "{{.ManagerStatus.Addr}}"
                ])
                .await,
            "10.99.0.1:2377"
        );
        docker
            .run(&[
                "node",
                "update",
                "--label-add",
                "zone=a",
                "--availability",
                "drain",
                "eco1",
            ])
            .await;
        let shown = docker
            .run(&[
                "node",
                "inspect",
                "eco1",
                "--format",
                "{{.Spec.Availability}} {{.Spec.Labels.zone}} {{.Spec.Role}}",
            ])
            .await;
        assert_eq!(shown, "drain a manager");

        docker
            .run(&[
                "network",
                "create",
                "-d",
                "overlay",
                "--subnet",
                "10.50.0.0/24",
                "app",
            ])
            .await;
        let networks = docker
            .run(&[
                "network",
                "ls",
                "--format",
                "{{.Name}} {{.Driver}} {{.Scope}}",
            ])
            .await;
        assert!(
            networks.contains("app overlay swarm") && networks.contains("ingress overlay swarm"),
            "{networks}"
        );
        let subnet = docker
            .run(&[
                "network",
                "inspect",
                "app",
                "--format",
                "{{(index .IPAM.Config 0).Subnet}}",
            ])
            .await;
        assert_eq!(subnet, "10.50.0.0/24");
        docker.run(&["network", "rm", "app"]).await;

        let file = docker.home.path().join("payload");
        std::fs::write(&file, "hello").unwrap();
        docker
            .run(&[
                "config",
                "create",
                "-l",
                "a=b",
                "greeting",
                file.to_str().unwrap(),
            ])
            .await;
        assert_eq!(
            docker
                .run(&["config", "ls", "--format", "{{.Name}} {{.Labels}}"])
                .await,
            "greeting a=b"
        );
        let pretty = docker
            .run(&["config", "inspect", "--pretty", "greeting"])
            .await;
        assert!(pretty.ends_with("hello"), "{pretty}");
        docker.run(&["config", "rm", "greeting"]).await;
        assert_eq!(docker.run(&["config", "ls", "-q"]).await, "");
        assert_eq!(docker.run(&["secret", "ls", "-q"]).await, "");

        let info = docker
            .run(&[
                "info",
                "--format",
                "{{.Swarm.LocalNodeState}} {{.Swarm.Managers}} {{.Swarm.NodeID}}",
            ])
            .await;
        assert_eq!(info, format!("active 1 {node}"));
        let token = docker.run(&["swarm", "join-token", "-q", "worker"]).await;
        assert_eq!(token, super::fake_control::WORKER_TOKEN);
        let joining = docker.run(&["swarm", "join-token", "worker"]).await;
        assert!(joining.contains("10.99.0.1:2377"), "{joining}");
        docker
            .run(&["swarm", "join-token", "--rotate", "-q", "worker"])
            .await;
        docker
            .run(&["swarm", "update", "--task-history-limit", "7"])
            .await;
        let version = docker
            .run(&["version", "--format", "{{.Server.APIVersion}}"])
            .await;
        assert_eq!(version, "1.53");
    }
}

#[tokio::test]
async fn refusals_reach_the_user() {
    for client in clients() {
        let server = Server::manager();
        let docker = Docker::new(&client, &server);
        for (arguments, message) in [
            (
                [
                    "service",
                    "create",
                    "-d",
                    "--no-resolve-image",
                    "--name",
                    "a b",
                    "nginx",
                ]
                .as_slice(),
                "DNS name component",
            ),
            (
                &[
                    "service",
                    "create",
                    "-d",
                    "--no-resolve-image",
                    "--mode",
                    "replicated-job",
                    "--replicas",
                    "2",
                    "--max-concurrent",
                    "0",
                    "nginx",
                ],
                "MaxConcurrent",
            ),
            (
                &[
                    "service",
                    "create",
                    "-d",
                    "--no-resolve-image",
                    "--network",
                    "nowhere",
                    "nginx",
                ],
                "nowhere",
            ),
            (
                &[
                    "service",
                    "create",
                    "-d",
                    "--no-resolve-image",
                    "--limit-memory",
                    "1m",
                    "nginx",
                ],
                "4MiB",
            ),
            (
                &[
                    "network",
                    "create",
                    "-d",
                    "overlay",
                    "--opt",
                    "encrypted=maybe",
                    "n",
                ],
                "encrypted",
            ),
            (&["node", "demote", "eco1"], "last manager"),
            (&["node", "rm", "eco1"], "last manager"),
            (&["swarm", "leave"], "last manager"),
            (&["swarm", "init"], "already part of a swarm"),
            (&["swarm", "update", "--autolock"], "AutoLockManagers"),
            (&["ps"], "--engine fake"),
        ] {
            let (success, stdout, stderr) = docker.try_run(arguments).await;
            assert!(!success, "{arguments:?}\n{stdout}{stderr}");
            let said = format!("{stdout}{stderr}");
            assert!(
                said.contains(message),
                "{} {arguments:?}\n{said}",
                client.display()
            );
        }
    }
}

#[tokio::test]
async fn a_cluster_is_made_and_left_by_the_docker_cli() {
    for client in clients() {
        let server = Server::start(FakeControl::outside(), swarmr::api::EngineAddress::Fake);
        let docker = Docker::new(&client, &server);
        let said = docker
            .run(&["swarm", "init", "--advertise-addr", "10.99.0.1"])
            .await;
        assert!(said.contains("is now a manager"), "{said}");
        assert_eq!(server.control.state().nodes().count(), 1);
        docker.run(&["swarm", "leave", "--force"]).await;
        let (success, _, stderr) = docker.try_run(&["node", "ls"]).await;
        assert!(
            !success && stderr.contains("not a swarm manager"),
            "{stderr}"
        );
    }
}
