//! Members in one process, on real files and a network that misbehaves when told to.

mod chaos;
mod cluster;
mod crash;
mod membership;
mod snapshots;
mod support;
