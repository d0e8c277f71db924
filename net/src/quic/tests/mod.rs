//! Doors on the loopback, talking to each other.

mod access;
mod door;
mod flood;
mod framed;
mod join;
mod live;
mod pool;
mod rpc;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;
use crate::identity::{Ca, NodeIdentity, NodeKey, Role};

const ECHO: &str = "test-echo/1";
const CONTROL: &str = "test-control/1";
const OPEN: &str = "test-open/1";

/// Long, for loaded machines: nothing waits for it to pass when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

struct Cluster {
    ca: Ca,
    id: &'static str,
}

impl Cluster {
    fn new(id: &'static str) -> Self {
        let ca = Ca::create(id, SystemTime::now()).unwrap();
        Self { ca, id }
    }

    fn identity(&self, node: &str, role: Role) -> NodeIdentity {
        self.identity_trusting(node, role, self.ca.root_pem())
    }

    fn identity_trusting(&self, node: &str, role: Role, roots_pem: &str) -> NodeIdentity {
        let key = NodeKey::generate().unwrap();
        let csr = key.csr().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let chain = self
            .ca
            .issue(&csr, node, role, self.id, day, SystemTime::now())
            .unwrap();
        NodeIdentity::from_pem(&chain, key, roots_pem).unwrap()
    }

    fn door(&self, node: &str, role: Role) -> Door {
        door_with(self.identity(node, role), Limits::default())
    }

    /// A manager that echoes calls on all three routes.
    fn serving_manager(&self, node: &str) -> Door {
        let door = self.door(node, Role::Manager);
        door.serve(echo_routes()).unwrap();
        door
    }
}

fn door_with(identity: NodeIdentity, limits: Limits) -> Door {
    let credentials = Credentials::new(identity).unwrap();
    Door::bind_with(loopback(), credentials, limits).unwrap()
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn address(door: &Door) -> SocketAddr {
    door.local_addr().unwrap()
}

async fn echo(connection: Connection) {
    serve_calls(connection, 16, 1 << 20, |_peer, request| async { request }).await;
}

fn echo_routes() -> Router {
    Router::new()
        .route(OPEN, Access::Anonymous, echo)
        .route(ECHO, Access::Node, echo)
        .route(CONTROL, Access::Manager, echo)
}

async fn ask(connection: &Connection, question: &'static str) -> Result<Bytes, CallError> {
    call(
        connection,
        Bytes::from_static(question.as_bytes()),
        PATIENCE,
        1 << 20,
    )
    .await
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, waiting).await;
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// A route that counts how often its handler was run.
fn counting(router: Router, alpn: &'static str, access: Access) -> (Router, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let router = router.route(alpn, access, move |connection: Connection| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            connection.closed().await;
        }
    });
    (router, count)
}

/// A manager in a runtime of its own, which can be ended without a farewell.
struct Killable {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
    door: Door,
}

impl Killable {
    fn start(identity: NodeIdentity, limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let door = {
            let _inside = runtime.enter();
            let door = door_with(identity, limits);
            door.serve(echo_routes()).unwrap();
            door
        };
        Self {
            runtime,
            address: address(&door),
            door,
        }
    }

    /// The runtime first: what the door says afterwards, nobody sends.
    fn kill(self) {
        let runtime = self.runtime;
        let ended = std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE)).join();
        assert!(ended.is_ok());
        drop(self.door);
    }
}
