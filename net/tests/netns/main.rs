//! The data path on hosts made of network namespaces: needs root, `ip` and
//! `nft`. Every test builds its own lab, so they run side by side; a test that
//! cannot build one says so and ends.

mod balance;
mod containers;
mod lab;
mod names;
mod overlay;
mod wants;
