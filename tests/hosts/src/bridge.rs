//! The wire between test hosts, and the outside client on it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::http::{self, Reply};
use crate::namespace::{self, Namespace};
use crate::output::Output;

/// Hosts have the addresses from here on.
const FIRST_HOST: u8 = 10;
const CLIENT: u8 = 200;
const ROUTER: u8 = 1;

/// A bridge in a network namespace with nothing else in it.
#[derive(Debug)]
pub(crate) struct Bridge {
    namespace: Namespace,
    /// Third number of the addresses, of 198.18.0.0/15: set aside for tests of
    /// networks, so neither Docker nor Swarm ever chooses from it.
    subnet: u8,
}

impl Bridge {
    pub(crate) fn new(subnet: u8) -> Result<Self> {
        let bridge = Self {
            namespace: Namespace::network()?,
            subnet,
        };
        let router = bridge.address(ROUTER);
        bridge.ip(&format!(
            "link add sw type bridge; ip addr add {router}/24 dev sw; ip link set sw up; \
             ip link set lo up"
        ))?;
        Ok(bridge)
    }

    /// Address of the host with this number, from 0.
    pub(crate) fn host_address(&self, number: u8) -> Ipv4Addr {
        self.address(FIRST_HOST + number)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.subnet, last)
    }

    /// Gives `to` an `eth0` with `address`, joined to the bridge as `port`. Its
    /// MAC follows from the address, as a machine keeps its own when it is
    /// turned off and on, or its neighbours would look for the old one.
    pub(crate) fn plug(&self, port: &str, to: &Namespace, address: Ipv4Addr) -> Result<()> {
        let [_, _, subnet, last] = address.octets();
        let mac = format!("02:53:57:00:{subnet:02x}:{last:02x}");
        self.ip(&format!(
            "link add {port} type veth peer name eth0 address {mac} netns {}; ip link set {port} master sw up",
            to.pid()
        ))?;
        let router = self.address(ROUTER);
        let mut command = to.enter();
        command.args(["bash", "-ec"]).arg(format!(
            "ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up; \
             ip route add default via {router}"
        ));
        Output::of(&mut command)?.ok().map(drop)
    }

    /// Takes the port away; one that is gone already is no error.
    pub(crate) fn unplug(&self, port: &str) {
        let _ = self.ip(&format!("link del {port}"));
    }

    /// Sets a port `up` or `down`.
    pub(crate) fn set_port(&self, port: &str, state: &str) -> Result<()> {
        self.ip(&format!("link set {port} {state}"))
    }

    /// A client with an address of its own.
    pub(crate) fn client(&self) -> Result<Client> {
        let namespace = Namespace::network()?;
        let address = self.address(CLIENT);
        self.plug("client", &namespace, address)?;
        Ok(Client { namespace, address })
    }

    fn ip(&self, words: &str) -> Result<()> {
        let mut command = self.namespace.enter();
        command.args(["bash", "-ec"]).arg(format!("ip {words}"));
        Output::of(&mut command)?.ok().map(drop)
    }
}

/// Somebody outside of the cluster, on the same wire.
#[derive(Debug)]
pub struct Client {
    namespace: Namespace,
    address: Ipv4Addr,
}

impl Client {
    /// The address that servers should see.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// One GET on a new connection.
    pub fn get(
        &self,
        server: impl Into<SocketAddr>,
        path: &str,
        deadline: Duration,
    ) -> Result<Reply> {
        let server = server.into();
        self.inside(move || http::get(server, path, deadline))
    }

    /// Runs `work` on a thread whose sockets are the client's.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        namespace::inside(self.namespace.pid(), work)
    }

    /// A command with the client's network; the caller adds program and words.
    #[must_use]
    pub fn command(&self) -> Command {
        self.namespace.enter()
    }

    /// A process in the client's network.
    #[must_use]
    pub fn network_pid(&self) -> i32 {
        self.namespace.pid()
    }
}
