//! Who a node is, and how others can be sure of it.
//!
//! One certificate authority per cluster ([`Ca`]) signs one certificate per node.
//! The node makes its own key ([`NodeKey`]) and sends a signing request; everything
//! else in the certificate comes from the manager that signs. A node that has no
//! certificate yet trusts the cluster by the digest inside its join [`Token`].
//!
//! Called by `quic` (handshakes) and by whoever creates, joins or renews. Nothing
//! here knows what a cluster runs.

mod base36;
mod ca;
mod crypto;
mod files;
mod key;
mod name;
mod node;
mod peer;
mod role;
mod token;

pub use base36::random_id;
pub use ca::{Ca, CaError, IssueError};
pub use key::{KeyError, NodeKey};
pub use name::{NameError, server_name};
pub use node::{IdentityError, NodeIdentity};
pub use peer::{CertificateError, PeerIdentity};
pub use role::Role;
pub use token::{Token, TokenError};

pub(crate) use crypto::{provider, sha256};

/// How far before the moment of signing a certificate begins to be valid, so that
/// a node whose clock is a little behind accepts it.
pub const BACKDATE: std::time::Duration = std::time::Duration::from_secs(3600);
