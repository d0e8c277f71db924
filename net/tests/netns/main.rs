//! The data path on hosts made of network namespaces: needs root, `ip`,
//! `nft` and `iptables`. Every test builds its own lab, so they run side by side; a test that
//! cannot build one says so and ends.

#[cfg(test)]
mod balance;
#[cfg(test)]
mod containers;
mod draws;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod names;
#[cfg(test)]
mod overlay;
#[cfg(test)]
mod tunnel;
#[cfg(test)]
mod wants;
