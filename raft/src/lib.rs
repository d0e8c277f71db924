//! Bytes in consensus.
