//! Members in one process, on real files and a network that misbehaves when told to.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic as tests do; the lint only knows the tests themselves"
)]

mod chaos;
mod cluster;
mod crash;
mod membership;
mod snapshots;
mod support;
