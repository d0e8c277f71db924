//! What a door allows, and the transport settings that follow from it.

use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};

/// Bounds of a door. The defaults suit a cluster's control traffic.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From a peer's first packet until it is admitted or refused.
    pub handshake_timeout: Duration,
    /// With so many handshakes of unproven source under way, others must first
    /// show that they can receive at their address (one round trip, no state here).
    pub validate_above: usize,
    /// Handshakes under way from proven addresses, in all.
    pub max_pending: usize,
    /// The same from one IPv4 address or IPv6 /64.
    pub max_pending_per_address: usize,
    /// Admitted connections without a certificate, in all.
    pub max_anonymous: usize,
    /// The same from one IPv4 address or IPv6 /64.
    pub max_anonymous_per_address: usize,
    /// A connection without a certificate is closed after this time.
    pub anonymous_lifetime: Duration,
    /// Connections with one node, counted when it opens another.
    pub max_connections_per_node: usize,
    /// A packet is sent after so much silence, so that live connections stay up.
    pub keep_alive: Duration,
    /// A connection is lost after so much silence. Longer than `keep_alive`.
    pub idle_timeout: Duration,
    /// How long an acknowledgement may wait for something to travel with, when only one packet is
    /// owed one. Longer than what is said regularly, it costs no packet of its own.
    pub ack_delay: Duration,
    /// Round trip assumed before one is measured: how soon a lost first packet
    /// is sent again (after three times this).
    pub initial_rtt: Duration,
    /// Bytes that one stream may be ahead of its reader.
    pub stream_window: u32,
    /// Bytes that all streams of a connection may be ahead of their readers.
    pub connection_window: u32,
    /// The same for peers without a certificate and for those not yet admitted.
    pub anonymous_window: u32,
    /// Streams in both directions that a peer may have open at once.
    pub max_bidi_streams: u32,
    /// Streams in one direction that a peer may have open at once.
    pub max_uni_streams: u32,
    /// Bytes of datagrams held for a reader, and the same for sending.
    pub datagram_buffer: usize,
    /// Bytes asked for as the UDP socket's buffers; the kernel may give less.
    pub socket_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(3),
            validate_above: 32,
            max_pending: 1024,
            max_pending_per_address: 64,
            max_anonymous: 256,
            max_anonymous_per_address: 32,
            anonymous_lifetime: Duration::from_secs(60),
            max_connections_per_node: 64,
            keep_alive: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(5),
            ack_delay: Duration::from_millis(175),
            initial_rtt: Duration::from_millis(50),
            stream_window: 4 << 20,
            connection_window: 16 << 20,
            anonymous_window: 128 << 10,
            max_bidi_streams: 256,
            max_uni_streams: 32,
            datagram_buffer: 128 << 10,
            socket_buffer: 4 << 20,
        }
    }
}

/// Streams a peer without a certificate may have open at once.
pub(crate) const ANONYMOUS_STREAMS: u32 = 4;

/// Packets kept for one handshake that this side has not looked at yet, bytes.
const INCOMING_BUFFER: u64 = 32 << 10;

impl Limits {
    /// For connections we open: we know whom we called before it can send.
    pub(crate) fn client_transport(&self) -> Arc<TransportConfig> {
        let mut transport = self.transport();
        transport
            .max_concurrent_bidi_streams(self.max_bidi_streams.into())
            .max_concurrent_uni_streams(self.max_uni_streams.max(1).into())
            .receive_window(self.connection_window.into());
        Arc::new(transport)
    }

    /// For connections that others open: no stream at all until the peer is
    /// admitted, and little room for what it sends.
    pub(crate) fn server_transport(&self) -> Arc<TransportConfig> {
        let mut transport = self.transport();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .receive_window(self.anonymous_window.into());
        Arc::new(transport)
    }

    pub(crate) fn apply_to(&self, server: &mut quinn::ServerConfig) {
        server
            .transport_config(self.server_transport())
            .max_incoming(self.max_pending)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(64 * INCOMING_BUFFER)
            // The address that was checked at the start is the one that stays.
            .migration(false);
    }

    fn transport(&self) -> TransportConfig {
        let mut transport = TransportConfig::default();
        let mut acks = AckFrequencyConfig::default();
        acks.max_ack_delay(Some(self.ack_delay));
        let idle = IdleTimeout::try_from(self.idle_timeout)
            .unwrap_or_else(|_| IdleTimeout::from(VarInt::MAX));
        transport
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.keep_alive))
            .initial_rtt(self.initial_rtt)
            .ack_frequency_config(Some(acks))
            .stream_receive_window(self.stream_window.into())
            .send_window(self.connection_window.into())
            .datagram_receive_buffer_size(Some(self.datagram_buffer))
            .datagram_send_buffer_size(self.datagram_buffer);
        transport
    }
}
