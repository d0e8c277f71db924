//! Why one side will not talk to the other, in a form both understand.

use std::fmt;

use quinn::VarInt;

/// Longest explanation that is sent or believed, bytes.
const MAX_TEXT: usize = 200;

/// Sent as the reason for which a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    /// For people; no control characters, at most 200 bytes.
    pub text: String,
}

/// The kinds of refusal. The numbers are part of the protocol: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The peer is done; not a refusal.
    Done,
    /// The protocol is for nodes of the cluster, and no certificate was shown.
    CertificateRequired,
    /// The protocol is for managers, and the certificate says worker.
    ManagerRequired,
    /// The certificate is good, but its node was removed or demoted.
    NotAdmitted,
    /// Too many connections; worth another try later.
    Busy,
    /// The certificate is of another cluster.
    OtherCluster,
    /// The peer does not speak this protocol (now).
    UnknownProtocol,
    /// The peer is stopping.
    ShuttingDown,
    /// The peer closed all connections with this node.
    Disconnected,
    /// A connection without a certificate lasted too long.
    LifetimeOver,
    /// A number that this version does not know.
    Other(u64),
}

impl Refusal {
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// For admission hooks: this node was removed, or is no longer what its
    /// certificate says.
    pub fn not_admitted(text: impl Into<String>) -> Self {
        Self::new(RefusalCode::NotAdmitted, text)
    }

    pub(crate) fn received(code: VarInt, text: &[u8]) -> Self {
        Self::new(RefusalCode::from_number(code.into_inner()), printable(text))
    }

    pub(crate) fn wire(&self) -> (VarInt, &[u8]) {
        let end = self.text.floor_char_boundary(MAX_TEXT);
        (self.code.number(), &self.text.as_bytes()[..end])
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return write!(f, "{:?}", self.code);
        }
        f.write_str(&self.text)
    }
}

impl RefusalCode {
    pub(crate) fn number(self) -> VarInt {
        let number = match self {
            Self::Done => 0,
            Self::CertificateRequired => 1,
            Self::ManagerRequired => 2,
            Self::NotAdmitted => 3,
            Self::Busy => 4,
            Self::OtherCluster => 5,
            Self::UnknownProtocol => 6,
            Self::ShuttingDown => 7,
            Self::Disconnected => 8,
            Self::LifetimeOver => 9,
            Self::Other(number) => number,
        };
        VarInt::from_u64(number).unwrap_or(VarInt::MAX)
    }

    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Done,
            1 => Self::CertificateRequired,
            2 => Self::ManagerRequired,
            3 => Self::NotAdmitted,
            4 => Self::Busy,
            5 => Self::OtherCluster,
            6 => Self::UnknownProtocol,
            7 => Self::ShuttingDown,
            8 => Self::Disconnected,
            9 => Self::LifetimeOver,
            other => Self::Other(other),
        }
    }
}

/// What a peer says ends up in logs and terminals: no control characters.
pub(crate) fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)])
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for number in 0..20 {
            let code = RefusalCode::from_number(number);
            assert_eq!(code.number().into_inner(), number);
        }
    }

    #[test]
    fn what_a_peer_says_is_cut_and_cleaned() {
        let got = Refusal::received(VarInt::from_u32(4), b"\x1b[31mred\n");
        assert_eq!(got.code, RefusalCode::Busy);
        assert!(!got.text.contains(char::is_control));
        let long = Refusal::new(RefusalCode::Busy, "ä".repeat(500));
        assert!(long.wire().1.len() <= MAX_TEXT);
        assert!(std::str::from_utf8(long.wire().1).is_ok());
    }
}
