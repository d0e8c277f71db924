//! Hosts, containers and an outside client, each a network namespace, on one
//! switch. Everything goes away with the lab, also when a test panics.

use std::fs::{self, File};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use net::datapath::{DataPath, Want};
use nix::sched::{CloneFlags, setns};
use tokio::runtime::{Builder, Runtime};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

static LABS: AtomicU32 = AtomicU32::new(0);

/// A place for hosts.
pub(crate) struct Lab {
    prefix: String,
    spaces: Vec<String>,
    pub(crate) hosts: Vec<Host>,
}

/// A machine with a data path of its own.
pub(crate) struct Host {
    pub(crate) space: String,
    pub(crate) address: Ipv4Addr,
    runtime: Option<Runtime>,
    path: Option<DataPath>,
}

/// Whether this process may build labs; says why if not.
pub(crate) fn can_build() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    let tools = ["ip", "nft", "iptables"].iter().all(|tool| {
        let found = Command::new(tool).arg("-V").output();
        found.is_ok_and(|output| output.status.success())
    });
    if !root || !tools {
        eprintln!("skipped: needs root, ip, nft and iptables");
    }
    root && tools
}

impl Lab {
    /// `hosts` hosts at 192.168.77.1 and up, and an outside client.
    pub(crate) fn new(hosts: u8) -> Self {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let mut lab = Self {
            prefix: format!("dp{}-{number}", std::process::id()),
            spaces: Vec::new(),
            hosts: Vec::new(),
        };
        let switch = lab.space("sw");
        ip(&switch, "link add sw type bridge");
        ip(&switch, "link set sw up");
        for last in (1..=hosts).chain([99]) {
            let name = match last {
                99 => "x".to_owned(),
                host => format!("h{host}"),
            };
            let space = lab.space(&name);
            let port = format!("v-{name}");
            run(
                "ip",
                &format!("link add {port} netns {switch} type veth peer name eth0 netns {space}"),
            );
            ip(&switch, &format!("link set {port} master sw up"));
            ip(&space, &format!("addr add 192.168.77.{last}/24 dev eth0"));
            ip(&space, "link set eth0 up");
            if last != 99 {
                lab.hosts
                    .push(Host::new(space, Ipv4Addr::new(192, 168, 77, last)));
            }
        }
        lab
    }

    /// The namespace of the switch, where everything between hosts passes.
    pub(crate) fn switch(&self) -> String {
        format!("{}-sw", self.prefix)
    }

    /// The namespace of the outside client at 192.168.77.99.
    pub(crate) fn outside(&self) -> String {
        format!("{}-x", self.prefix)
    }

    /// A bridge as a container engine makes it.
    pub(crate) fn add_bridge(&self, host: usize, bridge: &str, gateway: Ipv4Addr) {
        let space = &self.hosts[host].space;
        ip(space, &format!("link add {bridge} type bridge"));
        ip(space, &format!("addr add {gateway}/24 dev {bridge}"));
        ip(space, &format!("link set {bridge} up"));
    }

    /// A container on a host; the first of `ports` carries its default route.
    pub(crate) fn add_container(&mut self, host: usize, ports: &[(&str, Ipv4Addr)]) -> String {
        let space = self.space(&format!("c{}", self.spaces.len()));
        for (number, (bridge, address)) in ports.iter().enumerate() {
            self.plug(host, bridge, &space, number, *address);
        }
        space
    }

    fn plug(&self, host: usize, bridge: &str, space: &str, number: usize, address: Ipv4Addr) {
        let outer = &self.hosts[host].space;
        let [a, b, c, d] = address.octets();
        let port = format!("v{a}.{b}.{c}.{d}");
        let inner = format!("eth{number}");
        run(
            "ip",
            &format!("link add {port} netns {outer} type veth peer name {inner} netns {space}"),
        );
        let mac = net::overlay::mac_of(address);
        ip(
            space,
            &format!("link set {inner} address {mac} mtu 1450 up"),
        );
        ip(space, &format!("addr add {address}/24 dev {inner}"));
        if number == 0 {
            let host = u8::try_from(host).unwrap();
            let gateway = Ipv4Addr::new(a, b, c, 1 + host);
            ip(space, &format!("route add default via {gateway}"));
        }
        ip(outer, &format!("link set {port} master {bridge} up"));
    }

    fn space(&mut self, name: &str) -> String {
        let space = format!("{}-{name}", self.prefix);
        self.spaces.push(space.clone());
        run("ip", &format!("netns add {space}"));
        ip(&space, "link set lo up");
        space
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The data paths first: they hold sockets in the namespaces.
        self.hosts.clear();
        for space in &self.spaces {
            let _ = Command::new("ip").args(["netns", "del", space]).output();
        }
    }
}

impl Host {
    fn new(space: String, address: Ipv4Addr) -> Self {
        let inside = space.clone();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || enter(&inside))
            .enable_all()
            .build()
            .unwrap();
        Self {
            space,
            address,
            runtime: Some(runtime),
            path: None,
        }
    }

    /// Starts the data path, as the daemon does.
    pub(crate) fn start(&mut self, upstreams: &[SocketAddr]) {
        let upstreams = upstreams.to_vec();
        let path = self.run(async move { DataPath::start(&upstreams) });
        self.path = Some(path.unwrap());
    }

    /// Applies `want` and returns the problems in words.
    pub(crate) fn try_apply(&mut self, want: Want) -> Vec<String> {
        self.apply_timed(want).0
    }

    /// The same, and how long it took until `want` was in force.
    fn apply_timed(&mut self, want: Want) -> (Vec<String>, Duration) {
        if self.path.is_none() {
            self.start(&[]);
        }
        let path = self.path.take().unwrap();
        let (path, problems, time) = self.run(async move {
            let start = Instant::now();
            let problems = path.apply(want).await.unwrap();
            let time = start.elapsed();
            path.settle().await.unwrap();
            (path, problems, time)
        });
        self.path = Some(path);
        let problems = problems.iter().map(|problem| problem.explain());
        (problems.collect(), time)
    }

    /// Applies `want`, which must work. Returns how long it took until it was in
    /// force.
    pub(crate) fn apply(&mut self, want: Want) -> Duration {
        let (problems, time) = self.apply_timed(want);
        assert!(problems.is_empty(), "{problems:?}");
        time
    }

    pub(crate) fn reconcile(&mut self) {
        let path = self.path.take().unwrap();
        let (path, problems) = self.run(async move {
            let problems = path.reconcile().await.unwrap();
            (path, problems)
        });
        self.path = Some(path);
        assert!(problems.is_empty(), "{problems:?}");
    }

    /// Ends the data path and leaves the kernel as it is, like a daemon that
    /// is replaced.
    pub(crate) fn stop(&mut self) {
        let path = self.path.take().unwrap();
        self.run(async move { path.close().await }).unwrap();
    }

    /// Removes everything.
    pub(crate) fn remove(&mut self) {
        let path = self.path.take().unwrap();
        let problems = self.run(async move { path.remove().await }).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
    }

    /// Everything in this host's network that somebody could leave behind.
    pub(crate) fn state(&self) -> String {
        [
            "ip -o -4 addr show",
            "ip -o link show type vxlan",
            "ip neigh show nud permanent",
            "ip rule",
            "nft list ruleset",
            "bridge -d link",
            "sysctl -a --pattern route_localnet",
        ]
        .map(|line| {
            let (program, arguments) = line.split_once(' ').unwrap();
            exec(&self.space, program, arguments)
        })
        .join("---\n")
    }

    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        // Spawned, since only the runtime's own threads are in the namespace.
        let runtime = self.runtime.as_ref().unwrap();
        runtime.block_on(runtime.spawn(work)).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            self.run(async move { drop(path) });
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

/// Moves the calling thread into a namespace.
pub(crate) fn enter(space: &str) {
    let file = File::open(format!("/run/netns/{space}")).unwrap();
    setns(file, CloneFlags::CLONE_NEWNET).unwrap();
}

/// Runs `work` in a namespace.
pub(crate) fn inside<T: Send>(space: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(space);
            work()
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Waits until `ready`.
pub(crate) fn eventually(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// `ip` in a namespace.
pub(crate) fn ip(space: &str, arguments: &str) {
    run("ip", &format!("-n {space} {arguments}"));
}

/// A program in a namespace; returns what it printed.
pub(crate) fn exec(space: &str, program: &str, arguments: &str) -> String {
    run("ip", &format!("netns exec {space} {program} {arguments}"))
}

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
