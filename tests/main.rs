//! All integration tests of the root package, in one binary.

mod cluster;
