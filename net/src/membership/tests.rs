//! Real nodes in one process, on the loopback.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::*;
use crate::gossip::Phase;
use crate::identity::{Ca, NodeIdentity, NodeKey, Role};
use crate::quic::{Access, Credentials, Door, Limits, PoolOptions, Router};

const ALPN: &str = "test-gossip/1";
/// Long, for loaded machines: nothing waits for it to pass when all is well.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

struct Node {
    id: NodeId,
    door: Door,
    view: watch::Receiver<Arc<View>>,
    told: watch::Sender<Arc<Told>>,
    members: watch::Sender<Arc<Members>>,
    tracker: TaskTracker,
    stop: CancellationToken,
    _membership: Arc<Membership>,
}

struct Cluster {
    ca: Ca,
}

fn name(id: u128) -> String {
    format!("n{id}")
}

impl Cluster {
    fn new() -> Self {
        let ca = Ca::create("c1", SystemTime::now()).unwrap();
        Self { ca }
    }

    fn start(&self, id: u128, start: u64, address: SocketAddr) -> Node {
        let key = NodeKey::generate().unwrap();
        let day = std::time::Duration::from_secs(24 * 3_600);
        let csr = key.csr().unwrap();
        let chain = self
            .ca
            .issue(&csr, &name(id), Role::Worker, "c1", day, SystemTime::now())
            .unwrap();
        let identity = NodeIdentity::from_pem(&chain, key, self.ca.root_pem()).unwrap();
        let credentials = Credentials::new(identity).unwrap();
        let door = Door::bind_with(address, credentials, Limits::default()).unwrap();
        let pool = Pool::new(&door, PoolOptions::default());
        let settings = Settings {
            me: NodeId(id),
            start,
            seed: id as u64,
            alpn: ALPN,
            timing: Timing::default(),
        };
        let members = watch::Sender::new(Arc::default());
        let told = watch::Sender::new(Arc::default());
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let (of_members, of_told) = (members.subscribe(), told.subscribe());
        let membership = Membership::start(settings, pool, of_members, of_told, &tracker, &stop);
        let membership = Arc::new(membership);
        let serving = Arc::downgrade(&membership);
        let handler = move |connection| {
            let serving = serving.upgrade().map(|it| it.serve(connection));
            async move {
                if let Some(serving) = serving {
                    serving.await;
                }
            }
        };
        let router = Router::new().route(ALPN, Access::Node, handler);
        door.serve(router).unwrap();
        Node {
            id: NodeId(id),
            door,
            view: membership.view(),
            told,
            members,
            tracker,
            stop,
            _membership: membership,
        }
    }

    fn of(&self, count: u128) -> Vec<Node> {
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let nodes: Vec<Node> = (1..=count).map(|id| self.start(id, 1, anywhere)).collect();
        let members = list(&nodes);
        for node in &nodes {
            node.members.send_replace(Arc::clone(&members));
        }
        nodes
    }
}

fn list(nodes: &[Node]) -> Arc<Members> {
    let member = |node: &Node| Member {
        id: node.id,
        name: name(node.id.0),
        address: Some(node.door.local_addr().unwrap()),
    };
    Arc::new(Members::new(nodes.iter().map(member)))
}

impl Node {
    async fn end(self) -> SocketAddr {
        let address = self.door.local_addr().unwrap();
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(PATIENCE, self.tracker.wait())
            .await
            .expect("all tasks end");
        self.door.close(PATIENCE).await;
        address
    }

    async fn believes(&self, what: &str, mut holds: impl FnMut(&View) -> bool) {
        let mut view = self.view.clone();
        let believed = tokio::time::timeout(PATIENCE, view.wait_for(|view| holds(view))).await;
        assert!(believed.is_ok(), "{:?} does not believe: {what}", self.id);
    }
}

#[tokio::test]
async fn what_a_node_says_of_its_tasks_reaches_all_and_goes_again() {
    let cluster = Cluster::new();
    let nodes = cluster.of(12);
    let task = TaskId(77);
    let said = (nodes[3].id, task);
    nodes[3]
        .told
        .send_replace(Arc::new(Told::from([(task, Phase::Draining)])));
    for node in nodes.iter().filter(|node| node.id != said.0) {
        let draining = |view: &View| view.tasks.get(&said) == Some(&Phase::Draining);
        node.believes("the task drains", draining).await;
    }
    nodes[3].told.send_replace(Arc::default());
    for node in nodes.iter().filter(|node| node.id != said.0) {
        let gone = |view: &View| view.tasks.is_empty();
        node.believes("nothing is said any more", gone).await;
    }
    // Before the first ends, for the others soon miss it.
    for node in &nodes {
        node.believes("all are there", |view| view.absent.is_empty())
            .await;
    }
    for node in nodes {
        node.end().await;
    }
}

#[tokio::test]
async fn who_ends_is_suspected_then_given_up_and_met_again_when_it_comes_back() {
    let cluster = Cluster::new();
    let mut nodes = cluster.of(6);
    let members = list(&nodes);
    let lost = nodes.remove(2);
    let id = lost.id;
    for node in &nodes {
        node.believes("all are there", |view| view.absent.is_empty())
            .await;
    }
    let address = lost.end().await;
    let absence = |view: &View| view.absent.get(&id).copied();
    for node in &nodes {
        let mut seen = Vec::new();
        node.believes("it has ended", |view| {
            seen.extend(absence(view));
            // The kernel of this machine refuses connections to its port, which is an answer.
            absence(view) == Some(Absence::Unresponsive)
        })
        .await;
        assert!(!seen.contains(&Absence::Silent), "{seen:?}");
    }
    let again = cluster.start(id.0, 2, address);
    again.members.send_replace(members);
    for node in &nodes {
        node.believes("it is back", |view| view.absent.is_empty())
            .await;
    }
    again
        .believes("all are there", |view| view.absent.is_empty())
        .await;
}
