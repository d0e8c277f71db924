//! A real engine for tests, in namespaces of its own, with images made of a static busybox.
//!
//! One engine serves all tests of the process. It ends with the process, however that ends: its
//! supervisor reads orders from a pipe whose other end only we have.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{Mutex, OnceCell};

use super::fixture::eventually;

/// Runs until it is told to stop, which it obeys.
pub(super) const SERVE: &str = "swarmr-test/serve:1";
/// The same programs, for whoever gives arguments of its own.
pub(super) const TOOLS: &str = "swarmr-test/tools:1";

/// A running engine.
#[derive(Debug)]
pub(super) struct Engine {
    dir: PathBuf,
    supervisor: Mutex<Supervisor>,
}

#[derive(Debug)]
struct Supervisor {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What a test engine needs of the machine, and what is missing.
fn missing() -> Option<&'static str> {
    let has = |program: &str| {
        Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !nix::unistd::Uid::effective().is_root() {
        return Some("not root");
    }
    [
        ("dockerd", "no dockerd"),
        ("unshare", "no unshare"),
        ("ip", "no ip (Debian: iproute2)"),
        ("busybox", "no static busybox (Debian: busybox-static)"),
    ]
    .into_iter()
    .find_map(|(program, lack)| (!has(program)).then_some(lack))
}

/// The engine of this process; `None`, with the reason printed, where there can be none.
pub(super) async fn engine() -> Option<Arc<Engine>> {
    static ENGINE: OnceCell<Arc<Engine>> = OnceCell::const_new();
    if let Some(lack) = missing() {
        assert!(
            std::env::var_os("SWARMR_REQUIRE_ENGINE").is_none(),
            "an engine is required: {lack}"
        );
        eprintln!("skipped: {lack}");
        return None;
    }
    Some(ENGINE.get_or_init(own_engine).await.clone())
}

/// An engine of one's own: for tests that kill it.
pub(super) async fn own_engine() -> Arc<Engine> {
    let engine = Engine::launch();
    engine.order("start").await;
    engine.wait_until_it_answers().await;
    engine.import_images().await;
    Arc::new(engine)
}

impl Engine {
    fn launch() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("swarmr-ag-")
            .tempdir()
            .unwrap()
            .keep();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/engine.sh");
        let cgroup = format!("/{}", dir.file_name().unwrap().to_str().unwrap());
        // The outer shell outlives everything in the namespaces and clears up after it.
        let mut child = tokio::process::Command::new("sh")
            .args([
                "-c",
                "unshare --net --mount --uts --pid --fork --kill-child --mount-proc \
                     sh \"$1\" \"$2\" \"$3\"; \
                 rm -rf \"$2\"; \
                 find \"/sys/fs/cgroup$3\" -depth -type d -exec rmdir {} + 2> /dev/null",
                "engine",
                script,
                dir.to_str().unwrap(),
                &cgroup,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            dir,
            supervisor: Mutex::new(Supervisor {
                _child: child,
                orders,
                answers,
            }),
        }
    }

    pub(super) fn socket(&self) -> String {
        format!("unix://{}/docker.sock", self.dir.display())
    }

    /// A process of the engine's, to find its namespaces by.
    pub(super) fn pid(&self) -> i32 {
        let path = self.dir.join("docker.sock");
        let connection = std::os::unix::net::UnixStream::connect(path).unwrap();
        nix::sys::socket::getsockopt(&connection, nix::sys::socket::sockopt::PeerCredentials)
            .unwrap()
            .pid()
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) async fn kill(&self) {
        self.order("kill").await;
    }

    pub(super) async fn start(&self) {
        self.order("start").await;
        self.wait_until_it_answers().await;
    }

    async fn order(&self, order: &str) {
        let mut supervisor = self.supervisor.lock().await;
        let line = format!("{order}\n");
        supervisor.orders.write_all(line.as_bytes()).await.unwrap();
        let answer = supervisor.answers.next_line().await.unwrap();
        assert!(answer.is_some(), "the engine's supervisor ended");
    }

    async fn wait_until_it_answers(&self) {
        eventually("the engine answers", async || {
            let client =
                bollard::Docker::connect_with_unix(&self.socket(), 5, bollard::API_DEFAULT_VERSION)
                    .ok()?;
            client.ping().await.ok()
        })
        .await;
    }

    async fn import_images(&self) {
        let root = self.dir.join("root");
        let script = "mkdir -p \"$1/bin\" \"$1/tmp\" && cp \"$(command -v busybox)\" \"$1/bin/busybox\" && \
             for name in sh sleep true false nc nslookup sed echo; do ln -s busybox \"$1/bin/$name\"; done && \
             tar -C \"$1\" -cf \"$1.tar\" .";
        let made = tokio::process::Command::new("sh")
            .args(["-c", script, "root", root.to_str().unwrap()])
            .status()
            .await
            .unwrap();
        assert!(made.success());
        let tar = bytes::Bytes::from(std::fs::read(root.with_extension("tar")).unwrap());
        // A shell that waits obeys SIGTERM only if it is told how.
        let serve =
            r#"CMD ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]"#;
        self.import(SERVE, tar.clone(), &[serve]).await;
        self.import(TOOLS, tar, &[]).await;
    }

    async fn import(&self, name: &str, tar: bytes::Bytes, changes: &[&str]) {
        use futures::TryStreamExt as _;
        let client =
            bollard::Docker::connect_with_unix(&self.socket(), 60, bollard::API_DEFAULT_VERSION)
                .unwrap()
                .negotiate_version()
                .await
                .unwrap();
        let (repo, tag) = name.split_once(':').unwrap();
        let options = bollard::query_parameters::CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .changes(changes.iter().map(|change| (*change).to_owned()).collect())
            .build();
        client
            .create_image(Some(options), Some(bollard::body_full(tar)), None)
            .try_for_each(|_| async { Ok(()) })
            .await
            .unwrap();
    }
}
