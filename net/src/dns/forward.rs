//! Asking the host's resolvers.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{Name, Record, RecordType};
use tokio::sync::Semaphore;

/// Queries under way at one time. What is more is answered as a failure.
const AT_ONCE: usize = 512;
/// For one question, with all repetitions.
const DEADLINE: Duration = Duration::from_secs(8);
/// For one try at one resolver.
const TRY: Duration = Duration::from_secs(2);
/// Answers kept.
const CACHED: u64 = 2048;

/// The host's resolvers.
pub(super) struct Forwarder {
    resolver: Option<TokioResolver>,
    under_way: Semaphore,
}

impl Forwarder {
    /// Asks `upstreams` in turn. Without any, everything fails.
    pub(super) fn new(upstreams: &[SocketAddr]) -> Result<Self, NetError> {
        let resolver = match upstreams {
            [] => None,
            some => Some(resolver(some)?),
        };
        Ok(Self {
            resolver,
            under_way: Semaphore::new(AT_ONCE),
        })
    }

    /// The records of `name`, or the code to answer with.
    pub(super) async fn ask(
        &self,
        name: Name,
        kind: RecordType,
    ) -> Result<Vec<Record>, ResponseCode> {
        let resolver = self.resolver.as_ref().ok_or(ResponseCode::ServFail)?;
        let Ok(_permit) = self.under_way.try_acquire() else {
            return Err(ResponseCode::ServFail);
        };
        let answer = tokio::time::timeout(DEADLINE, resolver.lookup(name, kind)).await;
        match answer.map_err(|_| ResponseCode::ServFail)? {
            Ok(lookup) => Ok(lookup.answers().to_vec()),
            Err(error) if error.is_nx_domain() => Err(ResponseCode::NXDomain),
            Err(error) if error.is_no_records_found() => Err(ResponseCode::NoError),
            Err(error) => {
                tracing::debug!(%error, "the host's resolvers failed");
                Err(ResponseCode::ServFail)
            }
        }
    }
}

fn resolver(upstreams: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let servers = upstreams.iter().map(|upstream| {
        let with_port = |mut connection: ConnectionConfig| {
            connection.port = upstream.port();
            connection
        };
        let mut server = NameServerConfig::udp_and_tcp(upstream.ip());
        server.connections = server.connections.into_iter().map(with_port).collect();
        server
    });
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
    let provider = TokioRuntimeProvider::default();
    let mut builder = TokioResolver::builder_with_config(config, provider);
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = TRY;
    options.attempts = 2;
    options.cache_size = CACHED;
    // The host's own file is not meant for containers.
    options.use_hosts_file = ResolveHosts::Never;
    // A name that fails for a moment should not fail for an hour.
    options.negative_max_ttl = Some(Duration::from_secs(10));
    builder.build()
}
