//! The word with which an accepting node says: you are in.
//!
//! In TLS 1.3 the side that dials is done before the other side has looked at its
//! certificate. So the accepting side, once it has decided, opens a stream and
//! sends this; only then does the dialling side count the connection as up.

use quinn::ConnectionError;

/// Raised only when nodes of the old version could not go on from here.
const VERSION: u8 = 1;

/// What later versions may append is ignored, up to this many bytes.
const MAX_LEN: usize = 1024;

#[derive(Debug)]
pub(crate) enum HelloError {
    /// The connection is over; before the hello the reason may be a TLS alert.
    Lost(ConnectionError),
    /// The peer speaks, but not like this.
    Strange { reason: String },
}

pub(crate) async fn send(connection: &quinn::Connection) -> Result<(), ConnectionError> {
    let mut stream = connection.open_uni().await?;
    if stream.write_all(&[VERSION]).await.is_ok() && stream.finish().is_ok() {
        return Ok(());
    }
    Err(connection
        .close_reason()
        .unwrap_or(ConnectionError::LocallyClosed))
}

pub(crate) async fn receive(connection: &quinn::Connection) -> Result<(), HelloError> {
    let mut stream = connection.accept_uni().await.map_err(HelloError::Lost)?;
    let hello = stream.read_to_end(MAX_LEN).await.map_err(|error| {
        connection.close_reason().map_or_else(
            || HelloError::Strange {
                reason: error.to_string(),
            },
            HelloError::Lost,
        )
    })?;
    match hello.first() {
        Some(&VERSION) => Ok(()),
        other => Err(HelloError::Strange {
            reason: format!("it greets with version {other:?}, expected {VERSION}"),
        }),
    }
}
