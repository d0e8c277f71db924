//! The listening half of the door: from a first packet to a running handler.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::crypto::rustls::HandshakeData;
use quinn::{Incoming, VarInt};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::connection::{Connection, Peer};
use super::dial::certificates;
use super::door::Shared;
use super::gate::{Pass, Verdict};
use super::hello;
use super::limits::ANONYMOUS_STREAMS;
use super::refusal::{Refusal, RefusalCode};
use super::router::{Access, Route, check_access};
use crate::identity::PeerIdentity;

/// Runs until the door closes.
pub(crate) async fn accept_loop(shared: Arc<Shared>) {
    loop {
        let incoming = tokio::select! {
            () = shared.stopping.cancelled() => return,
            incoming = shared.endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else {
            return;
        };
        greet(&shared, incoming);
    }
}

/// Decides about a first packet without waiting for anything.
fn greet(shared: &Arc<Shared>, incoming: Incoming) {
    let address = incoming.remote_address().ip();
    match shared
        .gate
        .knock(address, incoming.remote_address_validated())
    {
        Ok(pass) => {
            let task = serve(Arc::clone(shared), incoming, pass);
            let killed = shared.killed.clone();
            shared.tracker.spawn(async move {
                tokio::select! {
                    () = killed.cancelled() => {}
                    () = task => {}
                }
            });
        }
        Err(Verdict::Validate) => {
            shared.counters.validated.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
        }
        Err(Verdict::Refuse | Verdict::Admit) => {
            shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            incoming.refuse();
        }
    }
}

async fn serve(shared: Arc<Shared>, incoming: Incoming, pass: Pass) {
    let address = incoming.remote_address();
    let Some((connection, route)) = welcome(&shared, incoming).await else {
        shared.counters.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    // Up now, so the place in the doorway is free again.
    drop(pass);
    let handler = (route.handler)(connection.clone());
    if connection.peer().identity.is_some() {
        drop(connection);
        return handler.await;
    }
    if timeout(shared.limits.anonymous_lifetime, handler)
        .await
        .is_err()
    {
        debug!(%address, "a connection without a certificate lasted too long");
    }
    connection.refuse(&Refusal::new(
        RefusalCode::LifetimeOver,
        "this connection was for one exchange",
    ));
}

/// Handshake, decision and hello, all within one deadline.
async fn welcome(shared: &Arc<Shared>, incoming: Incoming) -> Option<(Connection, Route)> {
    let address = incoming.remote_address();
    let until = Instant::now() + shared.limits.handshake_timeout;
    let handshake = match incoming.accept() {
        Ok(handshake) => handshake,
        Err(error) => {
            debug!(%address, %error, "handshake refused");
            return None;
        }
    };
    let quic = match timeout_at(until, handshake).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => {
            debug!(%address, %error, "handshake failed");
            return None;
        }
        Err(_) => {
            debug!(%address, "handshake took too long");
            return None;
        }
    };
    let (connection, route) = match admit(shared, &quic) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            debug!(%address, %refusal, "connection refused");
            let (code, text) = refusal.wire();
            quic.close(code, text);
            return None;
        }
    };
    open_up(shared, &quic, &connection);
    match timeout_at(until, hello::send(&quic)).await {
        Ok(Ok(())) => Some((connection, route)),
        _ => None,
    }
}

/// Registers before it asks the admission hook, so that a node removed at this
/// very moment is refused here or disconnected there.
fn admit(shared: &Arc<Shared>, quic: &quinn::Connection) -> Result<(Connection, Route), Refusal> {
    let (alpn, route) = protocol(quic)
        .and_then(|alpn| shared.router.load().find(&alpn))
        .ok_or_else(|| {
            Refusal::new(
                RefusalCode::UnknownProtocol,
                "this node does not speak that protocol",
            )
        })?;
    let peer = peer(quic)?;
    let pass = take_place(shared, &peer, route.access)?;
    let connection = Connection::register(
        quic.clone(),
        peer,
        alpn,
        route.access,
        pass,
        &shared.registry,
    );
    if let Err(refusal) = shared.check_admission(&connection) {
        // Now, or dropping the connection would say that all is well.
        connection.refuse(&refusal);
        return Err(refusal);
    }
    Ok((connection, route))
}

fn take_place(shared: &Shared, peer: &Peer, access: Access) -> Result<Option<Pass>, Refusal> {
    let busy = |text: &str| Refusal::new(RefusalCode::Busy, text);
    let identity = peer.identity.as_ref();
    let ours = shared.credentials.identity();
    let cluster = ours.as_ref().map_or("", |identity| identity.cluster_id());
    check_access(access, identity, cluster)?;
    let Some(identity) = identity else {
        return shared
            .gate
            .stay_anonymous(peer.addr.ip())
            .map(Some)
            .ok_or_else(|| busy("too many connections without a certificate"));
    };
    if shared.registry.count(&identity.node_id) >= shared.limits.max_connections_per_node {
        return Err(busy("too many connections from this node"));
    }
    Ok(None)
}

/// Until now the peer could not open a single stream.
fn open_up(shared: &Shared, quic: &quinn::Connection, connection: &Connection) {
    let limits = &shared.limits;
    if connection.peer().identity.is_none() {
        quic.set_max_concurrent_bi_streams(VarInt::from_u32(ANONYMOUS_STREAMS));
        return;
    }
    quic.set_receive_window(limits.connection_window.into());
    quic.set_max_concurrent_bi_streams(limits.max_bidi_streams.into());
    quic.set_max_concurrent_uni_streams(limits.max_uni_streams.into());
}

fn protocol(quic: &quinn::Connection) -> Option<Vec<u8>> {
    quic.handshake_data()?
        .downcast::<HandshakeData>()
        .ok()?
        .protocol
}

/// TLS has verified the certificate, if there is one; here it is only read.
fn peer(quic: &quinn::Connection) -> Result<Peer, Refusal> {
    let chain = certificates(quic);
    let identity =
        match chain.is_empty() {
            true => None,
            false => Some(PeerIdentity::from_chain(&chain).map_err(|error| {
                Refusal::new(RefusalCode::CertificateRequired, error.to_string())
            })?),
        };
    Ok(Peer {
        identity,
        addr: canonical(quic.remote_address()),
    })
}

/// An IPv4 peer on a socket that serves both families shows as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
